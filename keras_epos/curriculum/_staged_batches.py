"""Batches of a curriculum: first of the clean samples, then of the noisy ones too, then of all."""

import hashlib

import keras
import numpy as np
from keras import tree

from keras_epos._checks import integer
from keras_epos._labels import refuse_cut_labels
from keras_epos.data._batch_indices import BatchIndices
from keras_epos.data._inputs import as_arrays
from keras_epos.data._shuffle import fold, seed_key, shuffled


class StagedBatches(keras.utils.PyDataset):
    """Batches `(x, y, sample_weight)` of the samples whose turn it is, for `fit` of any Keras model on any backend.

    Stage s trains on the parts 0 to s, with the weights that the model has from the stage before:

        stage 0    clean                        epochs[0] epochs
        stage 1    clean and noisy              epochs[1] epochs
        stage 2    clean, noisy, highly noisy   epochs[2] epochs

        batches = keras_epos.curriculum.StagedBatches(images, labels, parts, epochs=(10, 10, 10))
        model.fit(batches, epochs=30, shuffle=False, callbacks=[keras_epos.StageByEpoch(batches)])

    `StageByEpoch` says which epoch it is: a data set is not told by Keras. So a run resumes with `initial_epoch`, or
    with `keras_epos.Resume(folder, batches)`, at the stage and the batches it would have had.

    Batch number `step` of a stage depends on labels, parts, `seed` and `step` only. For classification it is the next
    piece of a shuffle. For metric learning pass `classes_per_batch` and `samples_per_class`: P distinct classes x K
    distinct samples, the stream of `keras_epos.data.BatchIndices` over the samples of the stage. There a weight
    is that of the sample as an anchor; as a positive or negative of others it counts in full once its stage has come.

    Keras divides by the size of the batch, not by the sum of the weights, so parts of less weight also take
    smaller steps. The learning rate is yours; the authors start it anew in every stage.

    Args:
        inputs: N inputs: an array `(N, ...)`, paths, or a tuple or dict of arrays.
        labels: Integers `(N,)` or `(N, 1)`: the y of the batches.
        parts: `Parts`, or integers `(N,)` from 0 (clean) on.
        epochs: Epochs of each stage, one number for each part; 0 leaves a stage out. After the last one it stays.
        batch_size: Samples of a batch, for classification.
        classes_per_batch, samples_per_class: P and K, both or neither, in place of `batch_size`.
        weights: Sample weight of each part, at least 0. (The published values were not found; these are a choice.)
        steps: Batches of an epoch, the same in all stages; by default as many as draw N samples.
        load: Function of the inputs of a batch, `(B, ...)`, that returns what the model takes, or `None`.
        small_classes: Of classes with fewer than K samples in a stage; see `keras_epos.data.balanced_batches`.
        seed: Integer.
        workers: Threads that prepare batches, as in `keras.utils.PyDataset`; more than one pays with a slow `load`.

    Attributes:
        epoch: The epoch that the next batches are of, from 0.

    Raises:
        ValueError: for shapes that do not fit or arguments out of range; and in training, without `StageByEpoch`.

    Reference: Guo et al. 2018, https://arxiv.org/abs/1808.01097.
    """

    def __init__(
        self,
        inputs,
        labels,
        parts,
        epochs=(10, 10, 10),
        batch_size=128,
        *,
        classes_per_batch=None,
        samples_per_class=None,
        weights=(1.0, 0.5, 0.5),
        steps=None,
        load=None,
        small_classes="skip",
        seed=0,
        workers=1,
    ):
        super().__init__(workers=workers)
        # A copy: the stages are drawn by these labels.
        self.labels = np.array(labels)
        refuse_cut_labels(self.labels, "labels")
        self.inputs = as_arrays(inputs, len(self.labels))
        parts = np.asarray(getattr(parts, "parts", parts))
        _check(parts, self.labels, epochs, weights)
        if (classes_per_batch is None) != (samples_per_class is None):
            raise ValueError(
                "`samples_per_class` must be given with `classes_per_batch`, and only then. Received: "
                f"classes_per_batch={classes_per_batch}, samples_per_class={samples_per_class}."
            )
        self.weights = np.asarray(weights, np.float32)[parts]
        self._seed = seed = integer("seed", seed)
        self.epoch = 0
        self._load = load
        self._starts = np.cumsum([0, *epochs[:-1]])
        # A stage of no epochs has no batches, and may have too few samples for any.
        self._streams = [None] * len(epochs)
        for stage in np.flatnonzero(epochs):
            rows = np.flatnonzero(parts <= stage)
            if classes_per_batch is None:
                integer("batch_size", batch_size, 1)
                indices = ShuffledIndices(len(rows), batch_size, seed + stage)
            else:
                indices = BatchIndices(
                    self.labels[rows], classes_per_batch, samples_per_class, small_classes=small_classes, seed=seed
                )
            self._streams[stage] = rows, indices
        self._steps = max(1, round(len(parts) / indices.batch_size)) if steps is None else steps
        integer("steps", self._steps, 1)
        self._was_told, self._epochs_untold = False, 0

    @property
    def num_batches(self):
        return self._steps

    def describe(self):
        """What the batches depend on, beside the inputs, in plain JSON: by this `Resume` knows its run again."""
        content = hashlib.sha256(np.ascontiguousarray(self.labels))
        content.update(self.weights)
        stages = [
            [int(start), len(stream[0]), stream[1].batch_size]
            for start, stream in zip(self._starts, self._streams, strict=True)
            if stream
        ]
        return {"labels": content.hexdigest()[:16], "stages": stages, "steps": int(self._steps), "seed": self._seed}

    def stage(self, epoch):
        """The stage of an epoch, both from 0."""
        reached = [stage for stage, stream in enumerate(self._streams) if stream and self._starts[stage] <= epoch]
        return reached[-1]

    def start_epoch(self, epoch):
        """Let the next batches be those of `epoch`; what `StageByEpoch` calls."""
        self.epoch, self._was_told = integer("epoch", epoch, least=0), True

    def indices(self, epoch, batch):
        """The samples of a batch, int64 `(B,)`: a function of its arguments, whatever was drawn before."""
        stage = self.stage(epoch)
        rows, indices = self._streams[stage]
        return rows[indices((epoch - self._starts[stage]) * self._steps + batch)]

    def __getitem__(self, batch):
        chosen = self.indices(self.epoch, batch)
        inputs = tree.map_structure(lambda part: part[chosen], self.inputs)
        return inputs if self._load is None else self._load(inputs), self.labels[chosen], self.weights[chosen]

    def on_epoch_begin(self):
        self._epochs_untold += not self._was_told
        # Keras may begin one epoch only to look at the shapes.
        if self._epochs_untold > 2:
            raise ValueError(
                "`callbacks` must hold keras_epos.StageByEpoch(batches) when a model is fitted to staged batches. "
                "Received: none. Without it every epoch would be the first."
            )


def _is_no_count(value):
    return isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0


def _check(parts, labels, epochs, weights):
    if parts.shape != labels.shape[:1] or parts.dtype.kind not in "iu" or not parts.size or parts.min() < 0:
        raise ValueError(
            f"`parts` must be an integer of at least 0 for each of {len(labels)} labels. Received: parts of dtype "
            f"{parts.dtype} and shape {parts.shape}."
        )
    if not (len(epochs) == len(weights) > parts.max()):
        raise ValueError(
            f"`epochs` and `weights` must have an entry for each of {parts.max() + 1} parts. Received: "
            f"epochs={epochs!r}, weights={weights!r}."
        )
    if any(_is_no_count(count) for count in epochs) or not any(epochs):
        raise ValueError(f"`epochs` must be integers of at least 0, not all 0. Received: epochs={epochs!r}.")
    if parts.min() > np.flatnonzero(epochs)[0]:
        raise ValueError(
            "`parts` must have samples for the first stage. Received: none in the parts up to "
            f"{np.flatnonzero(epochs)[0]}, with epochs={epochs!r}."
        )
    if not np.isfinite(weights).all() or min(weights) < 0:
        raise ValueError(f"`weights` must be finite and at least 0. Received: weights={weights!r}.")


class ShuffledIndices:
    """Batches that walk through one shuffle of the samples after another, computed from the step alone.

    The last batch of a shuffle is filled up from the next one, so all batches have one size.

    Args:
        num_samples: N, at least 1.
        batch_size: At least 1.
        seed: Integer.
    """

    def __init__(self, num_samples, batch_size, seed=0):
        self.num_samples, self.batch_size = num_samples, batch_size
        self._key = seed_key(seed)

    def __call__(self, step):
        """Sample indices of batch number `step`, int64 `(batch_size,)`."""
        positions = int(step) * self.batch_size + np.arange(self.batch_size)
        turn, place = np.divmod(positions, self.num_samples)
        return shuffled(place, self.num_samples, fold(self._key, turn))
