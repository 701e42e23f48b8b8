"""Batches for `fit` on every backend: the rows that a stream of indices names, read and loaded."""

import dataclasses
import functools
import hashlib
import math

import keras
import numpy as np

from keras_epos._checks import integer, one_of
from keras_epos.data._batch_indices import BatchIndices
from keras_epos.data._inputs import as_arrays, refuse_stream
from keras_epos.data._py_batches import PyBatches
from keras_epos.data._tf_batches import tf_batches


def batches(
    inputs,
    indices,
    *,
    load=None,
    with_ids=False,
    on_error="raise",
    start_step=0,
    steps=None,
    same_every_pass=False,
    num_shards=1,
    shard_index=0,
    engine=None,
):
    """Yield the batches whose rows an index stream names, for `fit`.

        indices = keras_epos.data.BatchIndices(labels, classes_per_batch=8, samples_per_class=4, seed=0)
        model.fit(keras_epos.data.batches(images, indices), epochs=10)

    One pass over the data set has `steps` batches, what Keras takes for an epoch, and **the next pass goes on where
    this one ended**, as epochs should differ. So `fit(dataset, epochs=10)` trains on steps 0 ... 10 * steps - 1. A run
    that was stopped goes on with `keras_epos.Resume`, which calls `dataset.start_epoch(epoch)`: the next pass is then
    that of this epoch, from 0. Or build the data set with `start_step=4 * steps` after epoch 4. A look at the first
    batch, as `next(iter(dataset))`, counts as a pass. **For `validation_data` pass `same_every_pass=True`**: otherwise
    every epoch is measured on other batches.

    The Keras backend says what comes back. On TensorFlow it is a `tf.data.Dataset`. On JAX and PyTorch, which need no
    TensorFlow, it is a `keras.utils.PyDataset` of NumPy arrays: the same samples at the same step, read and loaded in
    threads. Keras shuffles the indices of a `PyDataset`; the order of the stream holds all the same, and a look at the
    first batch counts for nothing there. With a `tf.data.Dataset` Keras warns that it ignores its default
    `shuffle=True`; `fit(dataset, shuffle=False)` is quiet, and trains on the same batches.

    Args:
        inputs: N inputs: file paths (strings or `pathlib.Path`), or an array indexed on its first axis, or a tuple,
            list or dict of such arrays. A `np.memmap`, an `h5py.Dataset` and objects with `len(inputs)` and `inputs[i]`
            are read batch by batch. For a stream see `balanced_stream`.
        indices: An index stream: `BatchIndices` (P classes x K samples), `AnchorNeighborIndices` (classes with their
            nearest ones), or an object of your own that has `labels`, `(N,)` or `(N, L)`, `batch_size` and
            `num_samples`, and that returns the rows of batch number `step`, integers `(batch_size,)`, when it is called
            with an integer, and `(T, batch_size)` for an array of T steps. They should depend on the step only. For
            `load` it needs `load_seeds` too, for `on_error="skip"` also `spares` and `samples_per_class`, as
            `BatchIndices` has them. A new hierarchy given to `AnchorNeighborIndices` holds from the next pass on.
        load: Function that makes one example of one input, such as `image_loader(224)`: of TensorFlow ops on the
            TensorFlow backend, of Python on the others, where a path comes as a string and an array as NumPy's. Runs in
            parallel. The examples must have one shape. A parameter named `seed` gets an int32 tensor or array `(2,)`,
            different for every sample drawn, for `tf.random.stateless_*`, `tf.image.stateless_*` or
            `np.random.default_rng`. None: the inputs themselves are stacked. On TensorFlow, work on whole batches
            belongs in `.map` on the result.
        with_ids: Whether y gets one more column, the index of the sample, so that a loss knows a sample again:
            `keras_epos.CrossBatchMemory` needs it.
        on_error: Where `load` fails on an input, e.g. a damaged photograph: 'raise' names the input; 'skip' warns once
            for each input and puts another sample of the same class in its place. The shape stays; only a class with
            fewer than K readable samples repeats one of them.
        start_step: First step of the first pass, counted in this shard's own batches.
        steps: Batches in one pass; None: as many as draw N samples over all shards; `math.inf`: endless, for
            `fit(..., steps_per_epoch=...)`. An endless data set starts at `start_step` on every pass.
        same_every_pass: Whether every pass takes the batches of the first one, as validation should.
        num_shards: Number of processes that share the stream and train on their own, as with Horovod; process i takes
            the global steps i, i + num_shards, ... Whole batches are shared out, never parts of one. **Leave it at 1
            under a `tf.distribute` strategy**: Keras cuts each batch there, so P x K is the global batch, which the
            losses of this library see as a whole. With shards, Keras would stop after as many parts of batches as there
            are batches, and never reach the rest.
        shard_index: This process, in `[0, num_shards)`.
        engine: None: what the Keras backend says, see above. "grain": on every backend a `grain.IterDataset` of NumPy
            arrays (`pip install "keras-epos[grain]"`): the same samples at the same step, for worker processes, for
            checkpoints of the input, and for other grain transformations. It has no end, as each iteration begins at
            `start_step`: `fit(dataset, steps_per_epoch=..., epochs=...)` goes on from epoch to epoch. With
            `same_every_pass=True`, for validation, it ends. See `docs/shards.md`.

    Returns:
        `tf.data.Dataset`, `keras.utils.PyDataset` or `grain.IterDataset` of `(x, y)`: x stacked to `(batch, ...)`; y
        `(batch,)` in the dtype of the labels, or its rows `(batch, L)`; with ids int64 `(batch, 2)` or
        `(batch, L + 1)`. Its length is set, and it has `start_epoch`, but for grain's. What `map` and its kin make of
        it has not, and follows it.

    Raises:
        ValueError: If a request cannot be met, at once; or while iterating, for on_error='raise', with the name of the
            input, as a `tf.errors.InvalidArgumentError` on TensorFlow. On JAX, for labels beyond 32 bits, which JAX
            would cut.
    """
    if not callable(indices) or not hasattr(indices, "labels") or not hasattr(indices, "batch_size"):
        raise ValueError(
            "`indices` must be an index stream, such as keras_epos.data.BatchIndices(labels, 8, 4). Received: a "
            f"{type(indices).__name__}. For labels use balanced_batches(inputs, labels, 8, 4)."
        )
    labels = np.asarray(indices.labels)
    inputs = as_arrays(inputs, len(labels))
    if on_error not in ("raise", "skip"):
        raise ValueError(f"`on_error` must be 'raise' or 'skip'. Received: on_error={on_error!r}.")
    if load is not None and not callable(load):
        raise ValueError(f"`load` must be a function of one input, or None. Received: load={load!r}.")
    one_of("engine", engine, (None, "grain"))
    if steps is None and engine == "grain" and not same_every_pass:
        steps = math.inf
    passes = Passes(start_step, math.inf if steps is None else steps, same_every_pass, num_shards, shard_index)
    if steps is None:
        steps = max(1, round(indices.num_samples / (indices.batch_size * num_shards)))
        passes = dataclasses.replace(passes, steps=steps)
    if with_ids:
        labels = np.column_stack([labels.astype(np.int64), np.arange(len(labels))])
    make = tf_batches if keras.backend.backend() == "tensorflow" else PyBatches
    if engine == "grain":
        from keras_epos.data._grain_batches import grain_batches as make
    dataset = make(inputs, labels, indices, load, passes, replace=on_error == "skip")
    dataset.passes = passes
    if engine is None:
        dataset.describe = functools.partial(described, indices, passes)
    return dataset


def balanced_batches(
    inputs, labels, classes_per_batch=16, samples_per_class=8, *, small_classes="skip", seed=0, **arguments
):
    """Yield batches of P distinct classes x K distinct samples: every anchor has positives.

        dataset = keras_epos.data.balanced_batches(paths, labels, 8, 4, load=keras_epos.data.image_loader(224))
        model.fit(dataset, epochs=10)

    The same as `batches(inputs, BatchIndices(labels, P, K, ...))`. Batch number `step` depends on the labels, `seed`
    and `step` only: a run is repeatable, resumes at `start_step`, and starts at once whatever the number of classes.
    Each class is seen equally often, and so is each sample of a class. See `batches` for passes, backends and resuming.

    With K=2 each anchor has one positive, so easy, hard and all positives are the same thing: take K of 4 or more for
    easy positives to mean something.

    Args:
        inputs: N inputs: paths, arrays, or what is read row by row; see `batches`.
        labels: Integers `(N,)` or `(N, 1)`, any integer dtype. Copied, not rounded, not renumbered. Or rows of zeros
            and ones `(N, L)` for samples of several labels: each column is a class, and no sample stands in a batch
            twice (see `BatchIndices`). Give the loss `same_class="share_a_label"`.
        classes_per_batch: P.
        samples_per_class: K.
        small_classes: Classes of fewer than K samples: 'skip' leaves them out, with a warning that says how many;
            'repeat' fills up with copies; 'error' raises. 'skip' is the default because a copy is its anchor's nearest
            positive: easy positives would then teach nothing, in silence.
        seed: Integer.
        arguments: Of `batches`: `load`, `with_ids`, `on_error`, `start_step`, `steps`, `same_every_pass`, `num_shards`,
            `shard_index` and `engine`.

    Returns:
        `tf.data.Dataset`, `keras.utils.PyDataset` or `grain.IterDataset` of `(x, y)`, see `batches`. The K samples of a
        class stand side by side.

    Raises:
        ValueError: If a request cannot be met, as `batches` does.

    Examples:
        >>> batches = keras_epos.data.balanced_batches(images, labels, classes_per_batch=4, samples_per_class=5)
        >>> x, y = next(iter(batches))
        >>> tuple(x.shape), np.bincount(y)
        ((20, 4), array([5, 5, 5, 5]))
    """
    refuse_stream(inputs)
    indices = BatchIndices(labels, classes_per_batch, samples_per_class, small_classes=small_classes, seed=seed)
    return batches(inputs, indices, **arguments)


def described(indices, passes):
    """What the batches depend on, beside the inputs, in plain JSON: by this `Resume` knows its run again."""
    return {
        "stream": type(indices).__name__,
        "labels": hashlib.sha256(np.ascontiguousarray(indices.labels)).hexdigest()[:16],
        **{name: getattr(indices, name, None) for name in ("batch_size", "samples_per_class", "seed")},
        "steps": None if passes.endless else int(passes.steps),
        "start_step": int(passes.start_step),
        "shard": [int(passes.shard_index), int(passes.num_shards)],
    }


@dataclasses.dataclass
class Passes:
    """The steps of each pass, as `batches` describes them, and which pass is the next one.

    Attributes:
        start_step: First step of the first pass, counted in this shard's own batches.
        steps: Batches of a pass, an integer or `math.inf`.
        same_every_pass: Whether all passes take the steps of the first one.
        num_shards, shard_index: How many workers there are, and which one this is.
        number: Of the next pass, from 0.

    Raises:
        ValueError: If one of them is out of range.
    """

    start_step: int
    steps: int | float
    same_every_pass: bool
    num_shards: int
    shard_index: int
    number: int = 0

    def __post_init__(self):
        integer("num_shards", self.num_shards, least=1)
        integer("shard_index", self.shard_index)
        integer("start_step", self.start_step, least=0)
        if not 0 <= self.shard_index < self.num_shards:
            raise ValueError(
                "`shard_index` must be in [0, num_shards). Received: "
                f"shard_index={self.shard_index}, num_shards={self.num_shards}."
            )
        if not isinstance(self.same_every_pass, bool):
            raise ValueError(
                f"`same_every_pass` must be True or False. Received: same_every_pass={self.same_every_pass!r}."
            )
        if self.endless:
            return
        try:
            integer("steps", self.steps, least=1)
        except ValueError:
            raise ValueError(
                f"`steps` must be None, math.inf or an integer of at least 1. Received: steps={self.steps!r}. "
                "Leave it out for one pass over about as many samples as there are."
            ) from None

    @property
    def endless(self):
        """Whether a pass never ends."""
        return isinstance(self.steps, float) and self.steps == math.inf

    def start_epoch(self, epoch):
        """Let the next pass be that of an epoch, from 0."""
        if integer("epoch", epoch, least=0) and self.endless:
            raise ValueError(
                "`steps` must be finite for a run that goes on: an endless data set begins at `start_step` on every "
                f"pass. Received: steps=math.inf and epoch={epoch}. Give the data set, and not `fit`, the steps of an "
                "epoch."
            )
        self.number = int(epoch)

    def begin(self):
        """First step of the next pass, which from now on is the one after it."""
        self.number += 1
        return self.first(self.number - 1)

    def first(self, number):
        """First step of pass number `number`, counted in this shard's own batches."""
        return self.start_step + (0 if self.endless or self.same_every_pass else number * self.steps)

    def global_step(self, own):
        """Step of the whole stream for a step of this shard's own: a number, an array or a tensor."""
        return own * self.num_shards + self.shard_index
