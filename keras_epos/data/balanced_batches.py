"""P classes x K samples a batch, as a `tf.data.Dataset`."""

import itertools
import math

import numpy as np
from keras import tree

from keras_epos.data.batch_indices import BatchIndices, integer_labels
from keras_epos.data.inputs import as_arrays, takes_seed
from keras_epos.data.recovery import map_or_recover
from keras_epos.data.replacement import Replacement

# Batches computed by one call into NumPy: enough to share its overhead, and a wait of ~1 ms only.
_STEPS_PER_CALL = 16


def balanced_batches(
    inputs,
    labels,
    classes_per_batch=16,
    samples_per_class=8,
    *,
    load=None,
    ids=False,
    on_error="raise",
    small_classes="skip",
    seed=0,
    start_step=0,
    steps=None,
    num_shards=1,
    shard_index=0,
):
    """Yield batches of P distinct classes x K distinct samples: every anchor has positives.

    Batch number `step` depends on the labels, `seed` and `step` only (see `BatchIndices`): a run is
    repeatable, resumes at `start_step`, and starts at once whatever the number of classes. Each
    class is seen equally often, and so is each sample of a class.

    One pass over the data set has `steps` batches, what Keras takes for an epoch, and **the next
    pass goes on where this one ended**, as epochs should differ. So `fit(dataset, epochs=10)`
    trains on steps 0 ... 10 * steps - 1. To resume after epoch 4, build the data set with
    `start_step=4 * steps`. A look at the first batch, as `next(iter(dataset))`, counts as a pass.

    With K=2 each anchor has one positive, so easy, hard and all positives are the same thing:
    take K of 4 or more for easy positives to mean something.

    Args:
        inputs: N inputs: file paths (strings or `pathlib.Path`), or an array indexed on its first
            axis (a `np.memmap` is read batch by batch), or a tuple or dict of such arrays.
        labels: integers, shape `(N,)` or `(N, 1)`, any integer dtype. Not rounded, not renumbered.
            Or rows of zeros and ones `(N, L)` for samples of several labels: each column is a class,
            and no sample stands in a batch twice (see `BatchIndices`). Give the loss
            `same_class="share_a_label"`.
        classes_per_batch: P.
        samples_per_class: K.
        load: function of TensorFlow ops that makes one example of one input, such as
            `load_image(224)`; runs in parallel. The examples must have one shape. A parameter named
            `seed` gets an int32 tensor `(2,)`, different for every sample drawn, for
            `tf.random.stateless_*` and `tf.image.stateless_*`. None: the inputs themselves are
            stacked. Work on whole batches belongs in `.map` on the result.
        ids: whether y gets one more column, the index of the sample, so that a loss knows a sample
            again: `keras_epos.CrossBatchMemory` needs it.
        on_error: where `load` fails on an input, e.g. a damaged photograph: 'raise' names the
            input; 'skip' warns once for each input and puts another sample of the same class in its
            place. The shape stays P x K; only a class with fewer than K readable samples repeats
            one of them.
        small_classes: classes of fewer than K samples: 'skip' leaves them out, with a warning that
            says how many; 'repeat' fills up with copies; 'error' raises. 'skip' is the default
            because a copy is its anchor's nearest positive: easy positives would then teach
            nothing, in silence.
        seed: integer.
        start_step: first step of the first pass, counted in this shard's own batches.
        steps: batches in one pass; None: as many as draw N samples over all shards; `math.inf`:
            endless, for `fit(..., steps_per_epoch=...)`. An endless data set starts at `start_step`
            on every pass.
        num_shards: number of workers that share the stream; worker i takes the global steps i, i +
            num_shards, ... Whole batches are shared out, never parts of one.
        shard_index: this worker, in `[0, num_shards)`.

    Returns:
        `tf.data.Dataset` of `(x, y)`: x stacked to `(P * K, ...)`; y `(P * K,)` in the dtype of
        `labels`, or its rows `(P * K, L)`; with `ids` int64 `(P * K, 2)` or `(P * K, L + 1)`. Its
        cardinality is set. The K samples of a class stand side by side.

    Raises:
        ValueError: if a request cannot be met, at once; or while iterating, for on_error='raise',
            as a `tf.errors.InvalidArgumentError` that names the input.
    """
    import tensorflow as tf

    labels = integer_labels(labels)
    inputs = as_arrays(inputs, len(labels))
    indices = BatchIndices(
        labels,
        classes_per_batch,
        samples_per_class,
        small_classes=small_classes,
        seed=seed,
    )
    if on_error not in ("raise", "skip"):
        raise ValueError(f"`on_error` must be 'raise' or 'skip'. Received: on_error={on_error!r}.")
    if not 0 <= shard_index < num_shards:
        raise ValueError(
            f"`shard_index` must be in [0, num_shards). Received: shard_index={shard_index}, num_shards={num_shards}."
        )
    if start_step < 0:
        raise ValueError(f"`start_step` must be at least 0. Received: start_step={start_step}.")
    if steps is None:
        steps = max(1, round(indices.num_samples / (indices.batch_size * num_shards)))
    elif steps != math.inf and (steps < 1 or steps != int(steps)):
        raise ValueError(
            f"`steps` must be None, math.inf or an integer of at least 1. Received: steps={steps}. "
            "Leave it out for one pass over about as many samples as there are."
        )

    if ids:
        labels = np.column_stack([labels.astype(np.int64), np.arange(len(labels))])
    numbers = _step_numbers(start_step, steps).map(lambda n: n * num_shards + shard_index)
    if load is None:
        dataset = _stacked(numbers, inputs, labels, indices)
    else:
        recover = Replacement(inputs, labels, load, indices, replace=on_error == "skip")
        dataset = _loaded(numbers, inputs, labels, load, indices, recover)
    cardinality = tf.data.INFINITE_CARDINALITY if steps == math.inf else int(steps)
    options = tf.data.Options()
    # Keras makes an iterator after each epoch that it never reads; it must not count as a pass.
    options.experimental_warm_start = False
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(cardinality))
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)


def _step_numbers(start_step, steps):
    """Return the data set of step numbers, int64 scalars, that goes on from pass to pass."""
    import tensorflow as tf

    if steps == math.inf:
        return tf.data.Dataset.range(start_step, np.iinfo(np.int64).max)
    steps = int(steps)
    passes = itertools.count()

    def first_of_pass(_):
        first = tf.numpy_function(lambda: np.int64(start_step + next(passes) * steps), [], tf.int64)
        return tf.data.Dataset.range(steps).map(lambda n: tf.ensure_shape(first, ()) + n)

    return tf.data.Dataset.from_tensors(0).flat_map(first_of_pass)


def _in_numpy(function, arguments, spec):
    """Run `function` of arrays inside tf.data; `spec` has dtype and shape of each result."""
    import tensorflow as tf

    results = tf.numpy_function(function, arguments, [part.dtype for part in spec])
    return [tf.ensure_shape(value, part.shape) for value, part in zip(results, spec, strict=True)]


def _stacked(numbers, inputs, labels, indices):
    """Return the data set of `(x, y)` where x is gathered from arrays in memory or on disk."""
    import tensorflow as tf

    parts = [*tree.flatten(inputs), labels]
    spec = [tf.TensorSpec((indices.batch_size, *p.shape[1:]), _tf_dtype(p)) for p in parts]

    def gather(rows):
        # NumPy does it: TensorFlow would hold a second copy of the data, if need be on the GPU.
        *values, y = _in_numpy(lambda rows: [part[rows] for part in parts], [rows], spec)
        return tree.pack_sequence_as(inputs, values), y

    def compute(chunk):
        shape = tf.TensorSpec((None, indices.batch_size), tf.int64)
        return _in_numpy(lambda steps: [indices(steps)], [chunk], [shape])[0]

    rows = numbers.batch(_STEPS_PER_CALL).map(compute).unbatch()
    return rows.map(gather, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _loaded(numbers, inputs, labels, load, indices, recover):
    """Return the data set of `(x, y)` where x is `load`ed one by one, in parallel."""
    import tensorflow as tf

    parts = [*tree.flatten(inputs), labels]
    size = indices.batch_size
    spec = [tf.TensorSpec((None, size, *p.shape[1:]), _tf_dtype(p)) for p in parts]
    spec += [tf.TensorSpec((None, size, 2), tf.int32), tf.TensorSpec((None, size), tf.int64)]
    spec += [tf.TensorSpec((None, size), tf.int64)]

    def draw(steps):
        rows = indices(steps)
        keys = np.broadcast_arrays(steps[:, None], np.arange(size))
        return [*(part[rows] for part in parts), indices.load_seeds(steps), *map(np.array, keys)]

    def compute(chunk):
        *values, y, seeds, step, row = _in_numpy(draw, [chunk], spec)
        return (tree.pack_sequence_as(inputs, values), y, seeds), (step, row)

    def load_one(element, label, seed):
        return (load(element, seed=seed) if takes_seed(load) else load(element)), label

    # A few batches a call: here the inputs themselves may be large.
    samples = numbers.batch(2).map(compute).prefetch(1).unbatch().unbatch()
    samples = map_or_recover(samples, load_one, recover)
    return samples.batch(size, drop_remainder=True)


def _tf_dtype(array):
    import tensorflow as tf

    return tf.string if array.dtype.kind in "OS" else tf.as_dtype(array.dtype)
