"""The samples of a batch in Python: read, loaded, and replaced where that fails."""

from keras import tree

from keras_epos.data._inputs import UNREADABLE, as_text, read_rows, stacked, takes_seed
from keras_epos.data._recovery import Replacement


class Samples:
    """Reads batches whose rows an index stream names, and loads their samples one by one.

    It can be sent to another process, which reads the same batches.

    Args:
        inputs: Of `as_arrays`.
        labels: `(N,)`, or rows.
        indices: `BatchIndices`, or what has its methods.
        load: Function of one input, or `None`.
        replace: Whether another sample takes the place of one that `load` fails on.
    """

    def __init__(self, inputs, labels, indices, load, replace):
        self._inputs, self._labels, self._indices = inputs, labels, indices
        self._load = load and _of_text(load)
        self._recover = load and Replacement(inputs, labels, self._load, indices, replace)

    @property
    def are_loaded(self):
        """Whether samples are loaded one by one: `to_load` and `load`, else `gather`."""
        return self._load is not None

    def gather(self, step):
        """The batch `(x, y)` of a step, as the inputs are."""
        rows = self._indices(step)
        return tree.map_structure(lambda part: part[rows], self._inputs), self._labels[rows]

    def to_load(self, step):
        """Read a batch, and return what `load` takes for each of its samples."""
        rows = self._indices(step)
        read = [read_rows(part, rows) for part in tree.flatten(self._inputs)]
        return [
            (tree.pack_sequence_as(self._inputs, element), self._labels[row], seed, step, place)
            for place, (*element, row, seed) in enumerate(
                zip(*read, rows, self._indices.load_seeds([step])[0], strict=True)
            )
        ]

    def load(self, element, label, seed, step, place):
        """The example and the label of one sample, or of the one that takes its place."""
        if any(isinstance(part, bytes) and part == UNREADABLE for part in tree.flatten(element)):
            return self._recover(step, place)
        try:
            return (self._load(element, seed=seed) if takes_seed(self._load) else self._load(element)), label
        except Exception:
            return self._recover(step, place)

    def batch(self, step):
        """The batch `(x, y)` of a step, in the calling thread."""
        return stacked([self.load(*sample) for sample in self.to_load(step)]) if self.are_loaded else self.gather(step)


def _of_text(load):
    """Return `load` for paths that are bytes, as `as_arrays` makes them."""
    if takes_seed(load):
        return lambda element, seed: load(tree.map_structure(as_text, element), seed=seed)
    return lambda element: load(tree.map_structure(as_text, element))
