"""What callbacks have found out in a run, kept in files and given back to them."""

import collections
import json

import keras
import numpy as np

# Attributes of the callbacks of Keras that a run depends on. Ours, and those of a user, name their own in `run_state`.
OF_KERAS = {
    "EarlyStopping": ("wait", "best", "best_epoch", "best_weights", "stopped_epoch"),
    "ReduceLROnPlateau": ("wait", "best", "cooldown_counter"),
    "ModelCheckpoint": ("best", "_batches_seen_since_last_saving", "_last_batch_seen"),
    "SwapEMAWeights": ("_ema_weights_in_model",),
    "History": ("epoch", "history"),
}
_ARRAY = "__array__"


def states(callbacks):
    """A dictionary of each callback that has something to keep: its name to a dictionary of attributes."""
    return {
        key: {name: getattr(callback, name, None) for name in names} for key, callback, names in _with_state(callbacks)
    }


def restore(callbacks, kept):
    """Give callbacks what `states` found. One that stands there for the first time is left as it is."""
    for key, callback, names in _with_state(callbacks):
        for name in names:
            if name in kept.get(key, ()):
                setattr(callback, name, kept[key][name])


def _with_state(callbacks):
    """`(key, callback, names)`, with a key such as `RecallAtK 2` for the second one of its class."""
    counts = collections.Counter()
    for callback in callbacks:
        kind = type(callback).__name__
        counts[kind] += 1
        names = getattr(callback, "run_state", ())
        for parent in type(callback).__mro__:
            if getattr(keras.callbacks, parent.__name__, None) is parent:
                names = (*names, *OF_KERAS.get(parent.__name__, ()))
        if names:
            yield f"{kind} {counts[kind]}", callback, names


def write(folder, values):
    """Write a structure of plain values and arrays as `state.json` and `state.npz`.

    Raises:
        TypeError: If it holds anything else.
    """
    arrays = []
    text = json.dumps(_without_arrays(values, arrays, "state"), indent=1)
    (folder / "state.json").write_text(text)
    np.savez(folder / "state.npz", **{str(place): array for place, array in enumerate(arrays)})


def read(folder):
    """What `write` wrote; tuples come back as lists."""
    with np.load(folder / "state.npz") as arrays:

        def with_arrays(found):
            return arrays[str(found[_ARRAY])][()] if found.keys() == {_ARRAY} else found

        return json.loads((folder / "state.json").read_text(), object_hook=with_arrays)


def _without_arrays(value, arrays, where):
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {name: _without_arrays(part, arrays, f"{where}.{name}") for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_arrays(part, arrays, f"{where}[{place}]") for place, part in enumerate(value)]
    if keras.ops.is_tensor(value) or isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(keras.ops.convert_to_numpy(value))
        if array.dtype.kind == "V":  # bfloat16, which NumPy's files do not know; every value of it is one of float32
            array = array.astype("float32")
        if array.dtype.kind != "O":
            arrays.append(array)
            return {_ARRAY: len(arrays) - 1}
    raise TypeError(
        f"`run_state` must name attributes of plain values, arrays, and lists and dictionaries of them. Received: "
        f"{where}, of type {type(value).__name__}."
    )
