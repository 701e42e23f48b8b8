"""Random classes with their nearest ones in a batch, as a `tf.data.Dataset`."""

import math

import numpy as np

from keras_epos.data.balanced_batches import _loaded, _stacked, _step_numbers
from keras_epos.data.inputs import as_arrays
from keras_epos.data.replacement import Replacement


def anchor_neighbour_batches(
    inputs,
    indices,
    *,
    load=None,
    ids=False,
    on_error="raise",
    start_step=0,
    steps=None,
):
    """Yield the batches of `AnchorNeighbourIndices`: a few random classes, each with its nearest ones.

        indices = keras_epos.data.AnchorNeighbourIndices(labels, 4, 4, 4)
        batches = keras_epos.data.anchor_neighbour_batches(images, indices)
        model.fit(batches, epochs=20, callbacks=[keras_epos.HierarchyRebuild(images, labels, indices=indices)])

    Steps, passes and resuming are those of `balanced_batches`. A new tree, `indices.set_hierarchy`, holds from the next
    pass on; to resume exactly, the tree must be that of the run, which `HierarchyRebuild` takes care of.

    Args:
        inputs: N inputs, see `balanced_batches`.
        indices: `AnchorNeighbourIndices` of N labels.
        load, ids, on_error: See `balanced_batches`.
        start_step: First step of the first pass.
        steps: Batches in one pass; `None`: as many as draw N samples; `math.inf`: endless.

    Returns:
        `tf.data.Dataset` of `(x, y)`, see `balanced_batches`. A random class stands before its neighbours, and the K
        samples of a class side by side.

    Raises:
        ValueError: If a request cannot be met.
    """
    import tensorflow as tf

    labels = indices.labels
    inputs = as_arrays(inputs, len(labels))
    if on_error not in ("raise", "skip"):
        raise ValueError(f"`on_error` must be 'raise' or 'skip'. Received: on_error={on_error!r}.")
    if start_step < 0:
        raise ValueError(f"`start_step` must be at least 0. Received: start_step={start_step}.")
    if steps is None:
        steps = max(1, round(indices.num_samples / indices.batch_size))
    elif steps != math.inf and (steps < 1 or steps != int(steps)):
        raise ValueError(f"`steps` must be None, math.inf or an integer of at least 1. Received: steps={steps}.")
    if ids:
        labels = np.column_stack([labels.astype(np.int64), np.arange(len(labels))])
    numbers = _step_numbers(start_step, steps)
    if load is None:
        dataset = _stacked(numbers, inputs, labels, indices)
    else:
        recover = Replacement(inputs, labels, load, indices, replace=on_error == "skip")
        dataset = _loaded(numbers, inputs, labels, load, indices, recover)
    cardinality = tf.data.INFINITE_CARDINALITY if steps == math.inf else int(steps)
    options = tf.data.Options()
    # An iterator that is made ahead of its epoch must not draw with the tree of the epoch before.
    options.experimental_warm_start = False
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(cardinality))
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)
