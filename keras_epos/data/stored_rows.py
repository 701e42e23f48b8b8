"""Rows of an object that is not in memory, read when a batch asks for them."""

import threading

import numpy as np


class StoredRows:
    """Reads an `h5py.Dataset`, or any object with `len(stored)` and `stored[i]`, as an array is read: `rows[indices]`.

    What has a shape and a dtype is asked for all rows of a batch at once, each of them once and in rising order, as
    h5py wants them. Anything else is asked for one row after the other. One thread reads at a time: a file has one
    position.

    Args:
        stored: The object. It is asked for its first row at once, where it has no shape or dtype.
    """

    def __init__(self, stored):
        self._stored = stored
        self._reading = threading.Lock()
        self._reads_many = hasattr(stored, "shape") and hasattr(stored, "dtype")
        if self._reads_many:
            self.shape, self.dtype = tuple(stored.shape), np.dtype(stored.dtype)
        else:
            first = np.asarray(stored[0]) if len(stored) else np.empty(0)
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
            else:
                rows = np.stack([np.asarray(self._stored[int(index)]) for index in distinct])
        return rows[places.reshape(np.shape(indices))]


def is_stored(part):
    """Return whether `part` is to be read row by row: it has rows, and is neither a list nor in memory."""
    if isinstance(part, (list, tuple, dict, str, bytes, range)) or not hasattr(part, "__getitem__"):
        return False
    # Tensors of TensorFlow and PyTorch, of JAX, and tables of pandas; `len` of an object may not be defined.
    if any(hasattr(part, name) for name in ("numpy", "__dlpack__", "iloc")) or not hasattr(part, "__len__"):
        return False
    return hasattr(part, "shape") or not hasattr(part, "__array__")
