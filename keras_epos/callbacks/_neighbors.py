"""The callbacks that stand around one in the list of a `fit`."""

import sys
import warnings

import keras


def check_prefix(prefix):
    if not isinstance(prefix, str):
        raise ValueError(f'`prefix` must be a string, "" for none. Received: prefix={prefix!r}.')


def check_neighbors(callback, names, more_is_better=True):
    """Warns of callbacks that need what `callback` writes, yet stand before it or take less for better."""
    writer = type(callback).__name__
    others = callbacks_around(callback)
    for place, other in enumerate(others):
        monitors = getattr(other, "monitor", None) in names
        if other is callback or not (monitors or isinstance(other, _recorders())):
            continue
        kind = type(other).__name__
        if place < others.index(callback):
            seen = f'monitor="{other.monitor}"' if monitors else "the logs"
            warnings.warn(
                f"{kind} stands before {writer} in `callbacks` and so reads {seen} before the value is there. Put "
                f"{writer} first: callbacks=[{writer}(...), {kind}(...)].",
                stacklevel=2,
            )
        if more_is_better and monitors and getattr(other, "mode", "max") != "max":
            warnings.warn(
                f'{kind} has mode="{other.mode}", but more is better for monitor="{other.monitor}". Pass mode="max".',
                stacklevel=2,
            )


def warn_of_other_restorers(callback):
    """Warns of callbacks that put back weights of an epoch after `callback` has put back the best."""
    others = callbacks_around(callback)
    for other in others[others.index(callback) + 1 :] if others else []:
        if getattr(other, "restore_best_weights", False):
            writer = type(callback).__name__
            warnings.warn(
                f"{type(other).__name__} stands after {writer} and puts back the weights of an epoch, whatever "
                f"{writer} restored. Leave out its `restore_best_weights`.",
                stacklevel=2,
            )


def _recorders():
    return (keras.callbacks.CSVLogger, keras.callbacks.TensorBoard)


def callbacks_around(callback):
    """The list of callbacks that `callback` stands in, or an empty one when nothing known is calling.

    Keras tells a callback neither its neighbors nor its place, but the `CallbackList` is the caller.
    """
    frame = sys._getframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, keras.callbacks.CallbackList) and callback in caller.callbacks:
            return caller.callbacks
        frame = frame.f_back
    return []
