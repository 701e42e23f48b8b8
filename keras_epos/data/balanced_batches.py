"""P classes x K samples a batch, for `fit` on every backend."""

from keras_epos.data.batch_indices import BatchIndices, integer_labels
from keras_epos.data.batches_of import batches_of
from keras_epos.data.inputs import refuse_stream


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
    same_every_pass=False,
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
    **For `validation_data` pass `same_every_pass=True`**: otherwise every epoch is measured on other batches.

    The Keras backend says what comes back. On TensorFlow it is a `tf.data.Dataset`. On JAX and PyTorch, which need no
    TensorFlow, it is a `keras.utils.PyDataset` of NumPy arrays: the same samples at the same step, read and loaded in
    threads. Keras shuffles the indices of a `PyDataset`; the order of the stream holds all the same, and a look at the
    first batch counts for nothing there. With a `tf.data.Dataset` Keras warns that it ignores its default
    `shuffle=True`; `fit(dataset, shuffle=False)` is quiet, and trains on the same batches.

    With K=2 each anchor has one positive, so easy, hard and all positives are the same thing:
    take K of 4 or more for easy positives to mean something.

    Args:
        inputs: N inputs: file paths (strings or `pathlib.Path`), or an array indexed on its first
            axis, or a tuple, list or dict of such arrays. A `np.memmap`, an `h5py.Dataset` and objects with
            `len(inputs)` and `inputs[i]` are read batch by batch. For a stream see `balanced_stream`.
        labels: integers, shape `(N,)` or `(N, 1)`, any integer dtype. Copied, not rounded, not renumbered.
            Or rows of zeros and ones `(N, L)` for samples of several labels: each column is a class,
            and no sample stands in a batch twice (see `BatchIndices`). Give the loss
            `same_class="share_a_label"`.
        classes_per_batch: P.
        samples_per_class: K.
        load: function that makes one example of one input, such as `load_image(224)`: of TensorFlow
            ops on the TensorFlow backend, of Python on the others, where a path comes as a string and
            an array as NumPy's. Runs in parallel. The examples must have one shape. A parameter named
            `seed` gets an int32 tensor or array `(2,)`, different for every sample drawn, for
            `tf.random.stateless_*`, `tf.image.stateless_*` or `np.random.default_rng`. None: the
            inputs themselves are stacked. On TensorFlow, work on whole batches belongs in `.map` on the
            result.
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
        same_every_pass: whether every pass takes the batches of the first one, as validation should.
        num_shards: number of processes that share the stream and train on their own, as with Horovod;
            process i takes the global steps i, i + num_shards, ... Whole batches are shared out, never
            parts of one. **Leave it at 1 under a `tf.distribute` strategy**: Keras cuts each batch
            there, so P x K is the global batch, and one of n replicas mines among P / n classes. Let
            n divide P, so that no class is torn apart. With shards, Keras would stop after as many
            parts of batches as there are batches, and never reach the rest.
        shard_index: this process, in `[0, num_shards)`.

    Returns:
        `tf.data.Dataset` or `keras.utils.PyDataset` of `(x, y)`: x stacked to `(P * K, ...)`; y
        `(P * K,)` in the dtype of `labels`, or its rows `(P * K, L)`; with `ids` int64 `(P * K, 2)`
        or `(P * K, L + 1)`. Its length is set. The K samples of a class stand side by side.

    Raises:
        ValueError: if a request cannot be met, at once; or while iterating, for on_error='raise', with
            the name of the input, as a `tf.errors.InvalidArgumentError` on TensorFlow. On JAX, for
            labels beyond 32 bits, which JAX would cut.

    Examples:
        >>> batches = keras_epos.data.balanced_batches(images, labels, classes_per_batch=4, samples_per_class=5)
        >>> x, y = next(iter(batches))
        >>> tuple(x.shape), np.bincount(y)
        ((20, 4), array([5, 5, 5, 5]))
    """
    refuse_stream(inputs)
    indices = BatchIndices(
        labels,
        classes_per_batch,
        samples_per_class,
        small_classes=small_classes,
        seed=seed,
    )
    return batches_of(
        inputs,
        integer_labels(labels),
        indices,
        load=load,
        ids=ids,
        on_error=on_error,
        start_step=start_step,
        steps=steps,
        same_every_pass=same_every_pass,
        num_shards=num_shards,
        shard_index=shard_index,
    )
