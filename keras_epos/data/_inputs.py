"""What users pass as inputs: paths, arrays, rows that are not in memory, and the functions that load them."""

import contextlib
import inspect
import os
import re

import numpy as np
from keras import ops, tree

from keras_epos.data._own_lock import OwnLock
from keras_epos.data._records import Records

_PATH = (str, bytes, os.PathLike)
# What stands for a record that could not be read with the others of its batch; see `read_rows`.
UNREADABLE = b"\0keras_epos: this record cannot be read"
# What a message shows of a name or an error that came from outside.
_LONGEST = 400


def as_arrays(inputs, num_samples):
    """Return `inputs` as arrays of N entries on the first axis, or raise `ValueError`.

    Args:
        inputs: Paths, an array or what becomes one, an `h5py.Dataset` or another object with `len(inputs)` and
            `inputs[i]`, or a tuple, list or dict of such parts. A list is one of parts if each of its entries has N
            rows itself, as in `fit([left, right], y)`.
        num_samples: N.

    Returns:
        An array, or a tuple or dict of arrays. Paths become bytes objects, as TensorFlow has them. What is not in
        memory stays where it is, as a `np.memmap` or `StoredRows`.
    """
    if isinstance(inputs, dict):
        return {name: _as_array(part, num_samples) for name, part in inputs.items()}
    if isinstance(inputs, tuple) and inputs and not isinstance(inputs[0], _PATH):
        return tuple(_as_array(part, num_samples) for part in inputs)
    if _is_list_of_parts(inputs, num_samples):
        return tuple(_as_array(part, num_samples) for part in inputs)
    return _as_array(inputs, num_samples)


def _is_list_of_parts(inputs, num_samples):
    if not isinstance(inputs, list) or not inputs or len(inputs) == num_samples:
        return False
    return all(hasattr(part, "shape") and np.shape(part)[:1] == (num_samples,) for part in inputs)


def refuse_stream(inputs):
    """Raise `ValueError` for a `tf.data.Dataset`, a generator, or what else comes one after the other."""
    has_rows = hasattr(inputs, "__len__") and hasattr(inputs, "__getitem__")
    if hasattr(inputs, "__iter__") and not has_rows and not hasattr(inputs, "__array__"):
        raise ValueError(
            f"`inputs` must be N inputs that can be read in any order. Received: a {type(inputs).__name__}, which "
            "comes one after the other. Use keras_epos.data.balanced_stream, which balances a stream through a buffer."
        )


def _as_array(part, num_samples):
    refuse_stream(part)
    array = part if isinstance(part, np.ndarray) else None
    if array is None and isinstance(part, (list, tuple)) and part and isinstance(part[0], _PATH):
        array = _paths(part)
    elif array is None and _is_stored(part):
        array = StoredRows(part)
    elif array is None:
        try:
            array = np.asarray(part)
        except ValueError as error:
            raise ValueError(
                "`inputs` must be N inputs of one shape, or a tuple or dict of such inputs for a model of several. "
                f"Received: a {type(part).__name__} that makes no array: {error}"
            ) from error
    if array.dtype.kind == "U":
        array = _paths(array[np.arange(len(array))].tolist())
    if array.ndim == 0 or len(array) != num_samples:
        what = f"a {type(part).__name__}" if array.ndim == 0 else "inputs"
        raise ValueError(
            "`inputs` must have one entry for each label. "
            f"Received: {what} of shape {array.shape}, {num_samples} labels."
        )
    return array


def _paths(part):
    try:
        paths = [os.fsencode(path) for path in part]
    except TypeError as error:
        raise ValueError(f"`inputs` must be paths where the first one is a path. Received: {error}.") from error
    array = np.empty(len(paths), dtype=object)
    array[:] = paths
    return array


def as_text(element):
    """A path as `str`, for functions of Python; encoded images stay bytes, arrays what they are."""
    return os.fsdecode(element) if isinstance(element, bytes) and not is_encoded(element) else element


def takes_seed(load):
    """Whether the callable `load` has a parameter named `seed`."""
    try:
        return "seed" in inspect.signature(load).parameters
    except (TypeError, ValueError):  # a callable written in C
        return False


def is_encoded(element):
    """Whether these bytes are an image and not its path, which has no zero byte as the head of an image has."""
    return b"\0" in element[:32] or element[:2] == b"\xff\xd8" or element[:4] == b"\x89PNG"


def describe_input(element, index):
    """What to call an input in a message: its path in quotes, else its number."""
    if isinstance(element, str) or (isinstance(element, bytes) and not is_encoded(element)):
        return repr(os.fsdecode(element)[-_LONGEST:])
    return f"input number {index}"


def describe_error(error):
    """The kind of an error and what it says, short, without TensorFlow's node names and contents of files."""
    text = re.sub(r"\{\{function_node .*?\}\}\s*| \[Op:\w+\]( name: *)?", "", str(error)).strip()
    if "in user code:" in text:
        # AutoGraph puts the stack before the message.
        return next(line.strip() for line in reversed(text.splitlines()) if re.match(r"\s+\w+: ", line))[:_LONGEST]
    text = "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return f"{type(error).__name__}: {cut.removesuffix('.')}"


def read_rows(part, rows):
    """The array `part[rows]`. A record that cannot be read is `UNREADABLE` in it, for the others of its batch can be.

    Who takes it has to look for that, and read the record alone to be told what is wrong with it.
    """
    try:
        return part[rows]
    except ValueError:
        if not isinstance(part, StoredRows) or part.dtype != object:
            raise
    found = np.full(np.shape(rows), UNREADABLE, object)
    for place, row in np.ndenumerate(rows):
        with contextlib.suppress(ValueError):
            found[place] = part[row]
    return found


class StoredRows:
    """Reads an `h5py.Dataset`, or any object with `len(stored)` and `stored[i]`, as an array is read: `rows[indices]`.

    What has a shape and a dtype is asked for all rows of a batch at once, each of them once and in rising order, as
    h5py wants them. Anything else is asked for one row after the other. One thread reads at a time: a file has one
    position. Rows of `bytes` are an array of objects, as NumPy's own strings would lose the zeros at their ends. Only
    `Records` are asked for several of them at once.

    Args:
        stored: The object. It is asked for its first row at once, where shape or dtype are not known.
    """

    def __init__(self, stored):
        self._stored = stored
        self._reading = OwnLock()
        self._reads_many = hasattr(stored, "shape") and hasattr(stored, "dtype")
        if self._reads_many:
            self.shape, self.dtype = tuple(stored.shape), np.dtype(stored.dtype)
        elif isinstance(stored, Records):
            self.shape, self.dtype = (len(stored),), np.dtype(object)
        else:
            first = stored[0] if len(stored) else np.empty(0)
            first = np.asarray(first, object if isinstance(first, bytes) else None)
            self.shape, self.dtype = (len(stored), *first.shape), first.dtype
        self.ndim = len(self.shape)

    def __len__(self):
        return self.shape[0]

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[np.arange(len(self))], dtype)

    def tolist(self):
        """All rows, as `np.ndarray.tolist`."""
        return np.asarray(self).tolist()

    def __getitem__(self, indices):
        distinct, places = np.unique(np.asarray(indices), return_inverse=True)
        with self._reading:
            if self._reads_many:
                rows = np.asarray(self._stored[distinct])
            elif isinstance(self._stored, Records):
                rows = np.array(self._stored.read(distinct.tolist()), object)
            else:
                dtype = object if self.dtype == object else None
                rows = np.stack([np.asarray(self._stored[int(index)], dtype) for index in distinct])
        return rows[places.reshape(np.shape(indices))]


def _is_stored(part):
    """Whether `part` is to be read row by row: it has rows, and is neither a list nor in memory."""
    if isinstance(part, (list, tuple, dict, str, bytes, range)) or not hasattr(part, "__getitem__"):
        return False
    # Tensors of TensorFlow and PyTorch, of JAX, and tables of pandas; `len` of an object may not be defined.
    if any(hasattr(part, name) for name in ("numpy", "__dlpack__", "iloc")) or not hasattr(part, "__len__"):
        return False
    return hasattr(part, "shape") or not hasattr(part, "__array__")


def stacked(samples):
    """Return the batch of `samples`, a list of `(example, label)` or of examples, as NumPy arrays.

    Raises:
        ValueError: If their shapes differ.
    """

    def stack(*values):
        values = [ops.convert_to_numpy(value) for value in values]
        if len({value.shape for value in values}) > 1:
            raise ValueError(
                "`load` must give examples of one shape. Received: examples of shapes "
                f"{', '.join(str(shape) for shape in sorted({value.shape for value in values})[:4])}."
            )
        return np.stack(values)

    return tree.map_structure(stack, *samples)
