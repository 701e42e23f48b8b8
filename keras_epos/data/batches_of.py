"""From the indices of batches to the batches, in the form that the Keras backend is fed with."""

import math

import keras
import numpy as np

from keras_epos.data.inputs import as_arrays
from keras_epos.data.passes import Passes
from keras_epos.data.py_batches import PyBatches
from keras_epos.data.tf_batches import tf_batches


def batches_of(
    inputs,
    labels,
    indices,
    *,
    load,
    ids,
    on_error,
    start_step,
    steps,
    same_every_pass,
    num_shards=1,
    shard_index=0,
):
    """Yield `(x, y)` of the batches that `indices(step)` names, step by step, from pass to pass.

    Args:
        labels: Checked, `(N,)` or `(N, L)`.
        indices: `BatchIndices`, or what has its methods.
        inputs, load, ids, on_error, start_step, steps, same_every_pass, num_shards, shard_index: See
            `balanced_batches`.

    Raises:
        ValueError: If an argument is out of range.
    """
    inputs = as_arrays(inputs, len(labels))
    if on_error not in ("raise", "skip"):
        raise ValueError(f"`on_error` must be 'raise' or 'skip'. Received: on_error={on_error!r}.")
    if load is not None and not callable(load):
        raise ValueError(f"`load` must be a function of one input, or None. Received: load={load!r}.")
    passes = Passes(start_step, math.inf if steps is None else steps, same_every_pass, num_shards, shard_index)
    if steps is None:
        steps = max(1, round(indices.num_samples / (indices.batch_size * num_shards)))
        passes = Passes(start_step, steps, same_every_pass, num_shards, shard_index)
    if ids:
        labels = np.column_stack([labels.astype(np.int64), np.arange(len(labels))])
    batches = tf_batches if keras.backend.backend() == "tensorflow" else PyBatches
    return batches(inputs, labels, indices, load, passes, replace=on_error == "skip")
