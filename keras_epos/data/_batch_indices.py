"""Which samples stand in which batch: a pure function of the labels, a seed and the step."""

import warnings

import numpy as np

from keras_epos._checks import integer
from keras_epos.data._class_members import members_of
from keras_epos.data._shuffle import fold, seed_key, shuffled

_CLASS_STREAM, _MEMBER_STREAM, _SPARE_STREAM, _LOAD_STREAM = range(4)


class BatchIndices:
    """Indices of batches of P distinct classes x K distinct samples, computed from the step alone.

    `indices(step)` needs no state and no earlier step, so a run resumes anywhere and workers take the steps they like.
    One epoch (`steps_per_epoch` batches) visits every class once in random order, except for the `num_classes % P` that
    do not fill a batch; they differ from epoch to epoch. The visits to a class walk through a shuffle of its samples, K
    at a time, and reshuffle at its end, so rare samples are seen as often as common ones.

    NumPy only. Memory: the labels, four bytes a sample and two integers a class; while it is made, 12 bytes a sample
    where the labels lie close together, as class numbers do.

    Args:
        labels: Integers `(N,)` or `(N, 1)`, copied; any value is a class, negative ones too. A file of them that
            nobody writes to, `np.load("labels.npy", mmap_mode="r")`, stays where it is. Or rows of zeros and ones,
            integers or booleans `(N, L)`: each column is a class, and a sample belongs to all in which it has a one.
            Memory then grows with the number of ones.
        classes_per_batch: P, at least 1.
        samples_per_class: K, at least 1. With K=1 a batch has no positives (a warning says so).
        small_classes: What to do with classes of fewer than K samples, see `balanced_batches`.
        seed: Integer.

    Attributes:
        labels: The copy, or the file, `(N,)` or `(N, L)`: what `batches` gives as y.

    Raises:
        ValueError: If the labels are not integers, a number is a float, or fewer than P classes are left.

    Examples:
        >>> indices = keras_epos.data.BatchIndices(labels, classes_per_batch=4, samples_per_class=2)
        >>> np.bincount(labels[indices(0)])
        array([2, 2, 2, 2])
    """

    def __init__(
        self,
        labels,
        classes_per_batch=16,
        samples_per_class=8,
        *,
        small_classes="skip",
        seed=0,
    ):
        self.classes_per_batch = integer("classes_per_batch", classes_per_batch, least=1)
        self.samples_per_class = integer("samples_per_class", samples_per_class, least=1)
        self.seed = integer("seed", seed)
        self._key = seed_key(self.seed)
        self.labels = labels = integer_labels(labels)
        # Sample indices grouped by class: class c owns members[starts[c] : starts[c] + sizes[c]].
        self._members, sizes = members_of(labels)
        kept = _kept_classes(sizes, self.classes_per_batch, self.samples_per_class, small_classes)
        self._starts = (np.cumsum(sizes) - sizes)[kept]
        self._sizes = sizes[kept]
        self.may_overlap = labels.ndim == 2
        self._keep_copies = small_classes == "repeat"
        self.num_classes = len(kept)
        self.num_samples = int(self._sizes.sum())
        if self.may_overlap:
            self.num_samples = int(np.any(labels[:, kept], axis=1).sum())
        if self.samples_per_class == 1:
            warnings.warn(
                "samples_per_class=1 makes batches without positives; use 2 or more for a loss "
                "that pulls positives together.",
                stacklevel=3,
            )
        if self.classes_per_batch == 1:
            warnings.warn(
                "classes_per_batch=1 makes batches without negatives; use 2 or more for a loss that pushes "
                "negatives apart.",
                stacklevel=3,
            )

    @property
    def batch_size(self):
        """P * K."""
        return self.classes_per_batch * self.samples_per_class

    @property
    def steps_per_epoch(self):
        """Batches that visit every class once, but for the `num_classes % P` left over."""
        return self.num_classes // self.classes_per_batch

    @property
    def class_names(self):
        """The label of each class to draw from, `(num_classes,)`, for one label a sample."""
        return self.labels[self._members[self._starts]]

    def __call__(self, steps):
        """The sample indices of one or several batches.

        Args:
            steps: Integer of at least 0, or an array of them `(T,)`.

        Returns:
            int64 `(P * K,)`, or `(T, P * K)`. The K samples of a class stand side by side. A sample of several classes
            stands for one of them; the others take their next samples in its place. A class whose samples all stand in
            the batch leaves the rest of its places to another (with small_classes='repeat' they hold copies).
        """
        check_steps(steps)
        numbers = np.atleast_1d(steps)
        classes = self.classes(numbers)
        indices = self.samples(classes, numbers // self.steps_per_epoch)
        if self.may_overlap:
            indices = np.stack([self._distinct(*one) for one in zip(numbers, classes, indices, strict=True)])
        return indices.reshape((*np.shape(steps), self.batch_size))

    def __getitem__(self, step):
        raise TypeError(f"The batches of {type(self).__name__} come by a call: indices(step) instead of indices[step].")

    def spares(self, step, row):
        """All samples of the class at `row` of a batch, int64 `(n,)`, shuffled."""
        place = row // self.samples_per_class
        return self.samples_of_class(self.classes(np.array([step]))[0, place], step, place)

    def load_seeds(self, steps):
        """A seed for each sample drawn, int32 `(T, P * K, 2)`, for stateless random ops."""
        key = fold(fold(self._key, _LOAD_STREAM), steps)
        seeds = fold(key[:, None], np.arange(self.batch_size))
        return seeds.view(np.int32).reshape(len(key), self.batch_size, 2)

    # For streams that choose the classes of a batch in another way, such as `AnchorNeighborIndices`.

    def classes(self, steps):
        """The class numbers of batches, int64 `(T, P)`, for steps `(T,)`."""
        epoch, place = np.divmod(steps, self.steps_per_epoch)
        positions = place[:, None] * self.classes_per_batch + np.arange(self.classes_per_batch)
        keys = fold(fold(self._key, _CLASS_STREAM), epoch)[:, None]
        return shuffled(positions, self.num_classes, keys)

    def samples(self, classes, visits):
        """K samples of each class, int64 `(T, P, K)`, at its visit number `visits`, `(T,)`."""
        sizes = self._sizes[classes][..., None]
        visits_per_cycle = np.maximum(sizes // self.samples_per_class, 1)
        cycle, block = np.divmod(visits[:, None, None], visits_per_cycle)
        positions = block * self.samples_per_class + np.arange(self.samples_per_class)
        keys = fold(fold(fold(self._key, _MEMBER_STREAM), classes)[..., None], cycle)
        # The remainder only bites in classes smaller than K, which then repeat their samples.
        return self._at(self._starts[classes, None] + shuffled(positions % sizes, sizes, keys))

    def samples_of_class(self, number, step, place):
        """All samples of the class `number`, shuffled for the place `place` of the batch `step`."""
        size = self._sizes[number]
        key = fold(fold(fold(self._key, _SPARE_STREAM), step), place)
        return self._at(self._starts[number] + shuffled(np.arange(size), size, key))

    def _at(self, places):
        return self._members[places].astype(np.int64)

    def _distinct(self, step, classes, drawn):
        """The `(P, K)` indices of a batch with no sample twice."""
        if len(np.unique(drawn)) == drawn.size:
            return drawn
        return without_repeats(
            drawn,
            self._sizes[classes],
            lambda place: self.samples_of_class(classes[place], step, place),
            self._keep_copies,
        )


def check_steps(steps):
    """Refuse what is neither a step nor an array of steps."""
    found = np.asarray(steps)
    if found.dtype.kind not in "iu" or found.ndim > 1 or (found.size and found.min() < 0):
        raise ValueError(
            f"`steps` must be an integer of at least 0, or an array (T,) of them. Received: steps={steps!r}."
        )


def integer_labels(labels):
    """A copy of `labels`: integers `(N,)` of their own dtype, or rows `(N, L)` of zeros and ones.

    A file of them that is open for reading only is not copied.

    Raises:
        ValueError: If they are neither.
    """
    # A copy: the labels of the batches must stay those that they were drawn by.
    labels = labels if isinstance(labels, np.memmap) and not labels.flags.writeable else np.array(labels)
    if labels.ndim in (1, 2) and not len(labels):
        raise ValueError(f"`labels` must have at least one sample. Received: labels of shape {labels.shape}.")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.dtype.kind in "iub" and np.isin(labels, (0, 1)).all():
        return labels.astype(np.int32) if labels.dtype.kind == "b" else labels
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise ValueError(
            "`labels` must be integers of shape (N,) or (N, 1), or zeros and ones of shape (N, L) for several "
            f"labels a sample. Received: labels of dtype {labels.dtype} and shape {labels.shape}. "
            "For names use `np.unique(names, return_inverse=True)[1]`."
        )
    return labels


def _kept_classes(sizes, classes_per_batch, samples_per_class, small_classes):
    """The class numbers to draw from, int64, by the policy `small_classes`."""
    if small_classes not in ("skip", "repeat", "error"):
        raise ValueError(
            f"`small_classes` must be 'skip', 'repeat' or 'error'. Received: small_classes={small_classes!r}."
        )
    small = sizes < samples_per_class
    kept = np.flatnonzero(sizes > 0) if small_classes == "repeat" else np.flatnonzero(~small)
    if small_classes == "error" and small.any():
        raise ValueError(
            "`labels` must have at least `samples_per_class` samples of every class when small_classes='error'. "
            f"Received: labels in which {_shortage(sizes, small, samples_per_class)}. Lower `samples_per_class`."
        )
    if len(kept) < classes_per_batch:
        raise ValueError(_too_few(sizes, len(kept), classes_per_batch, samples_per_class, small_classes))
    if small.any() and small_classes == "skip":
        warnings.warn(
            f"{_shortage(sizes, small, samples_per_class)} and are left out. Lower `samples_per_class` to use them.",
            stacklevel=4,
        )
    return kept


def _shortage(sizes, small, samples_per_class):
    return (
        f"{small.sum()} of {len(sizes)} classes ({sizes[small].sum()} of {sizes.sum()} samples) "
        f"have fewer than samples_per_class={samples_per_class} samples"
    )


def _too_few(sizes, num_kept, classes_per_batch, samples_per_class, small_classes):
    """The message for a batch of more classes than there are, with numbers that would do."""
    message = f"`classes_per_batch` must be at most the number of classes to draw from, {num_kept}. Received: "
    message += f"classes_per_batch={classes_per_batch}, and labels of {len(sizes)} class{'es' * (len(sizes) != 1)}"
    classes = max(1, min(classes_per_batch, np.count_nonzero(sizes)))
    if num_kept == len(sizes):
        remedy = f"classes_per_batch={classes} would do."
    else:
        message += f", of which {num_kept} have samples_per_class={samples_per_class} samples or more"
        samples = max(1, min(samples_per_class, np.sort(sizes)[-classes]))
        remedy = f"classes_per_batch={classes} with samples_per_class={samples} would do"
        remedy += (
            ", or small_classes='repeat', which fills up small classes with copies" * (small_classes == "skip") + "."
        )
    return f"{message}. {remedy} (Classes that `image_folder` holds out for validation or test do not count.)"


def without_repeats(drawn, sizes, samples_of, keep_copies):
    """A batch in which no sample stands twice, as long as its classes have enough samples together.

    Small classes are served first, since large ones have others to offer. A class whose samples all stand in the batch
    already leaves its place to the next class that has one.

    Args:
        drawn: `(P, K)` sample indices.
        sizes: `(P,)` samples of each class.
        samples_of: Function of a place in `range(P)` that returns all samples of that class, shuffled.
        keep_copies: Whether such a place is filled with a copy instead.

    Returns:
        `(P, K)` sample indices.
    """
    batch, taken, unfilled = drawn.copy(), set(), []
    order = np.argsort(sizes, kind="stable")
    for place in order:
        own, others = set(drawn[place].tolist()), None
        for column, sample in enumerate(drawn[place].tolist()):
            if sample in taken:
                others = iter(samples_of(place).tolist()) if others is None else others
                sample = next((other for other in others if other not in taken and other not in own), None)
            if sample is None:
                unfilled.append((place, column))
            else:
                taken.add(sample)
                batch[place, column] = sample
    if unfilled and not keep_copies:
        left = (sample for place in order for sample in samples_of(place).tolist() if sample not in taken)
        for (place, column), sample in zip(unfilled, dict.fromkeys(left), strict=False):
            batch[place, column] = sample
    return batch
