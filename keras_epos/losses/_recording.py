"""How a model learns what the losses that it called have seen, without a trace left on the losses."""

import contextlib
import contextvars
from typing import NamedTuple

_current = contextvars.ContextVar("recording", default=None)


class Recording(NamedTuple):
    """What losses do while it is in force, and what they found.

    Attributes:
        training: Whether calls are training steps. Only losses that keep a memory look at it.
        results: Dictionary of the `id` of a loss to the `LossResult` and the weights of samples of its last call.
    """

    training: bool
    results: dict


@contextlib.contextmanager
def recording(training):
    """Let calls of losses in this context be training steps or not, and collect their results: a `Recording`."""
    token = _current.set(Recording(training, {}))
    try:
        yield _current.get()
    finally:
        _current.reset(token)


def is_training():
    """Whether a call of a loss is a training step: unless a model says otherwise it is."""
    here = _current.get()
    return True if here is None else here.training


def record(loss, result, sample_weight):
    """Hand the result of a call to the model that made it, if a model did."""
    here = _current.get()  # no walrus: TensorFlow's AutoGraph warns of what it cannot convert
    if here is not None:
        here.results[id(loss)] = result, sample_weight


def recorded(loss):
    """The `LossResult` of a loss's call in this context."""
    return _current.get().results[id(loss)][0]
