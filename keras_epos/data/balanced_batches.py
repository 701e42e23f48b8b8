"""P classes x K samples a batch, as a `tf.data.Dataset`."""

from keras_epos.data.batch_indices import BatchIndices, integer_labels
from keras_epos.data.batches_of import batches_of


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
        num_shards=num_shards,
        shard_index=shard_index,
    )
