import h5py
import keras
import numpy as np
import pytest

from keras_epos.curriculum import StagedBatches
from keras_epos.data import BatchIndices, balanced_batches, image_batches
from keras_epos.data._inputs import StoredRows, as_arrays

LABELS = np.tile(np.arange(10), 30)
ROWS = np.random.default_rng(0).normal(size=(300, 2, 3)).astype("float32")


class MapStyle:
    """What can be asked for one row, and counts which ones were read."""

    def __init__(self):
        self.read = []

    def __len__(self):
        return len(ROWS)

    def __getitem__(self, index):
        assert isinstance(index, int)
        self.read.append(index)
        return ROWS[index]


class OnDisk(MapStyle):
    """What has a shape as well, and is asked for rising rows, as an `h5py.Dataset` is."""

    shape, dtype = ROWS.shape, ROWS.dtype

    def __getitem__(self, indices):
        assert (np.diff(indices) > 0).all()
        self.read += list(indices)
        return ROWS[indices]

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("read whole")


def first(batches):
    x, y = next(iter(batches))
    return np.asarray(x), np.asarray(y)


@pytest.mark.parametrize("load", [None, lambda row: row])
@pytest.mark.parametrize("kind", [MapStyle, OnDisk])
def test_a_batch_reads_its_own_rows(kind, load):
    stored = kind()
    planned = BatchIndices(LABELS, 4, 3)(0)
    x, _ = first(balanced_batches(stored, LABELS, 4, 3, load=load, steps=1))
    np.testing.assert_array_equal(x, ROWS[planned])
    # The first row tells shape and dtype where the object does not; tf.data may prepare a second batch.
    assert set(stored.read) - {0} <= set(BatchIndices(LABELS, 4, 3)([0, 1]).reshape(-1).tolist())


def test_an_h5py_file(tmp_path):
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        stored = file.create_dataset("x", data=ROWS)
        planned = BatchIndices(LABELS, 4, 3)(0)
        for inputs in (stored, {"left": stored, "right": stored}, [stored, stored]):
            batches = balanced_batches(inputs, LABELS, 4, 3)
            found = next(iter(batches))[0]
            for part in keras.tree.flatten(found):
                np.testing.assert_array_equal(np.asarray(part), ROWS[planned])
        staged = StagedBatches(stored, LABELS, np.zeros(300, int), (1,), 8, weights=(1.0,))
        assert isinstance(staged.inputs, StoredRows)
        np.testing.assert_array_equal(staged[3][0], ROWS[staged.indices(0, 3)])
        whole = np.concatenate([np.asarray(batch) for batch in image_batches(stored, 2, load=lambda row: row)])
        np.testing.assert_array_equal(whole, ROWS)


def test_indices_of_any_shape_with_repeats_in_any_order():
    for stored in (MapStyle(), OnDisk()):
        rows = StoredRows(stored)
        assert (rows.shape, rows.dtype, rows.ndim, len(rows)) == (ROWS.shape, ROWS.dtype, 3, 300)
        for indices in (7, [5, 2, 5, 299], np.array([[3, 1], [1, 0]])):
            np.testing.assert_array_equal(rows[indices], ROWS[indices])
        np.testing.assert_array_equal(np.asarray(rows), ROWS)


def test_what_is_in_memory_is_an_array_as_before():
    kept = np.zeros((3, 2))
    for part in ([[1, 2], [3, 4], [5, 6]], range(3), keras.ops.zeros((3, 2)), kept):
        assert isinstance(as_arrays(part, 3), np.ndarray)
    assert as_arrays(kept, 3) is kept
    with pytest.raises(ValueError, match=r"\(300, 2, 3\), 4 labels"):
        as_arrays(OnDisk(), 4)


def test_bytes_keep_the_zeros_at_their_ends():
    class Encoded:
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return b"a" * index + bytes(3)

    rows = as_arrays(Encoded(), 4)
    assert rows[np.array([[3, 1], [1, 0]])].tolist() == [[b"aaa\0\0\0", b"a\0\0\0"], [b"a\0\0\0", b"\0\0\0"]]
    assert rows[2] == b"aa\0\0\0"
