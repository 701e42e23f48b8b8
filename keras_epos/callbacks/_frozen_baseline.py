"""FrozenBaseline: what the frozen backbone can do without training, beside every epoch."""

import warnings

import keras
import numpy as np

from keras_epos._features import pooled_features
from keras_epos._linear_probe import LinearProbe, linear_probe
from keras_epos.callbacks._baseline import NAMES, behind, best_epoch, best_part, has_stepped
from keras_epos.callbacks._neighbors import warn_of_other_restorers
from keras_epos.callbacks._recall_at_k import RecallAtK
from keras_epos.callbacks._sources import embed, labeled_source
from keras_epos.callbacks._weights import copies, floats

LEFT = {
    "start": "as it was before this training",
    "backbone": "with its frozen backbone and the features of that as they are",
    "probe": "with its frozen backbone and the linear probe as its head",
}


class FrozenBaseline(RecallAtK):
    """`RecallAtK` that also asks whether training beats what the frozen backbone can do without it.

    Fine-tuning a strong backbone often ends below its own features on classes that it has not seen. Before the first
    epoch this measures, on the held-out classes, the pooled features of the backbone as they are, and a linear probe:
    one linear layer on them, found in closed form on the training classes as linear discriminant analysis finds it, by
    whitening within classes with a covariance that is shrunk (Ledoit and Wolf 2004) and principal directions, as many
    as the model has embedding dimensions (Mikolajczyk and Matas 2007, https://doi.org/10.1109/ICCV.2007.4408871;
    Radenovic et al. 2019, https://arxiv.org/abs/1711.02512). There is nothing to tune.

    The logs of every epoch then hold `val_frozen_recall@1` and `val_probe_recall@1` beside `val_recall@1` (or whatever
    is measured first), and a sentence at the end says whether the best epoch is ahead of both.

        guard = keras_epos.FrozenBaseline(held_out_images, held_out_labels, train=(images, labels), restore_best=True)
        model.fit(images, labels, epochs=10, callbacks=[guard])

    With `restore_best` the model is left with what retrieves the held-out classes best, on a tie with what comes first:

    1. the model as it was when `fit` began;
    2. the features: weights at the start and as head the identity, where the embeddings have as many dimensions as the
       features or more;
    3. the probe: weights at the start and as head the probe, in which dimensions beyond the features are 0;
    4. the best epoch.

    So training is kept only for a gain. 2 and 3 need a head that is one linear `Dense` layer, as an `EmbeddingModel`
    has unless low-rank adaptation or quantization changed it. Restored are all floats of the model, the moving
    statistics of BatchNormalization among them. Integers, the weights of losses of this library and the optimizer keep
    what training made of them. Leave `restore_best_weights` of `EarlyStopping` off, and save after `fit`: a checkpoint
    of an epoch holds trained weights.

    Args:
        images, labels: Of classes that do not train, as for `RecallAtK`. With `restore_best` they choose, so a test set
            they must not be.
        train: What the probe is found on: `(images, labels)` of the training classes, or batches of such pairs that
            end, without augmentation. Labels `(N,)` are integers or strings. All features are held in memory, float32
            `(N, F)`; some thousand images are enough.
        restore_best: Whether the model is left with the best of the above.
        recall: All other arguments of `RecallAtK`, by name. `baseline` may be that of the earlier part of the run.

    Attributes:
        history: As that of `RecallAtK`.
        baseline: As that of `RecallAtK`, with `"start"`, `"backbone"` and `"probe"`.
        probe: The linear probe, with `kernel` `(F, D)` and `bias` `(D,)`; called on features `(N, F)` it embeds them.
        verdict: The sentence at the end.
        restored: `"start"`, `"backbone"`, `"probe"`, the number of an epoch from 0, or `None` where nothing was.

    Raises:
        ValueError: As `RecallAtK`; and when training begins, if the model is no `EmbeddingModel`, the run goes on from
            another and brings no `baseline`, or the probe cannot be found: one class, features that are not finite or
            do not differ within a class.

    Examples:
        >>> model = keras_epos.EmbeddingModel(backbone, embedding_dim=8)
        >>> model.compile("adam", loss="triplet")
        >>> guard = keras_epos.FrozenBaseline(images, labels, train=(images, labels), k=(1,))
        >>> history = model.fit(images, labels, callbacks=[guard], verbose=0)
        <BLANKLINE>
        FrozenBaseline: recall@1 is ...
        >>> sorted(guard.baseline)
        ['backbone', 'probe', 'start']
    """

    run_state = (*RecallAtK.run_state, "_start", "_best", "_probe_parts")

    def __init__(self, images, labels=None, *, train, restore_best=False, **recall):
        super().__init__(images, labels, **recall)
        if not self._measure_baseline and "probe" not in (self.baseline or {}):
            raise ValueError(
                "`baseline` must be True, or that of the FrozenBaseline of the run so far. Received: "
                f"baseline={recall['baseline']!r}. Without it use RecallAtK."
            )
        self._train = labeled_source("train", train, self.batch_size)
        self.restore_best = restore_best
        self.restored = None
        self.verdict, self.probe = None, None
        self._start, self._best = None, None

    def on_train_begin(self, logs=None):
        if pooled_features(self.model) is None:
            raise ValueError(
                f"`model` must be an `EmbeddingModel`, whose backbone is measured. Received: {self.model.name!r} of "
                f"type {type(self.model).__name__}. For other models use RecallAtK."
            )
        self.restored, self.verdict = None, None
        goes_on = has_stepped(self.model)
        if goes_on and self.baseline is None:
            raise ValueError(
                "`baseline` must be that of the earlier part of a run that goes on, as its backbone is no longer what "
                "it was. Received: none. Pass `FrozenBaseline.baseline` of that part."
            )
        if self.restore_best:
            warn_of_other_restorers(self)
            if not goes_on:
                self._start = copies(floats(self.model))
            if self._start is None:
                warnings.warn(
                    "FrozenBaseline: the model was trained before this `fit`, so its weights at the start are not "
                    "known, and at best an epoch of this `fit` can be restored.",
                    stacklevel=2,
                )
        super().on_train_begin(logs)

    def _baseline_of(self, features):
        embedded = self._embedded(features, None)
        self.probe = linear_probe(*embed(features, self._train), self.model.embedding_dim)
        found = [rows if rows is None or place % 2 else self.probe(rows) for place, rows in enumerate(embedded)]
        return {"backbone": self._judged(*embedded), "probe": self._judged(*found)}

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        if logs is not None:
            for word, part in (("frozen", "backbone"), ("probe", "probe")):
                if self.judged_by in self.baseline.get(part, {}):
                    logs[f"{self.prefix}{word}_{self.judged_by}"] = self.baseline[part][self.judged_by]
        if self.restore_best and self.history[-1]["epoch"] == epoch and self._rises():
            self._best = copies(floats(self.model))

    def on_train_end(self, logs=None):
        if not self.history:
            return
        self.verdict = self._compared() + (self._restored() if self.restore_best else "")
        print(f"\n{self.verdict}")

    @property
    def _probe_parts(self):
        return self.probe and list(self.probe)

    @_probe_parts.setter
    def _probe_parts(self, parts):
        self.probe = parts and LinearProbe(*parts)

    def _compared(self):
        """How the best epoch compares with what needs no training."""
        name = self.judged_by
        (value, epoch), (level, part) = best_epoch(self.history, name), best_part(self.baseline, name)
        sentence = behind(self.baseline, self.history, name, type(self).__name__)
        if sentence:
            return sentence
        how = "ahead of" if value > level else "no better than"
        return f"{type(self).__name__}: {name} is {value:.1%} at best, after epoch {1 + epoch}, and so {how} " + (
            NAMES[part].format(level) + "."
        )

    def _restored(self):
        """Leaves the model with the best there is, and says which."""
        name, values = self.judged_by, {}
        if self._start is not None:
            values = {part: self.baseline[part][name] for part in self._parts() if name in self.baseline.get(part, {})}
        if self._best is not None:
            value, epoch = best_epoch(self.history, name)
            values[epoch] = value
        if not values:
            return ""
        self.restored = max(values, key=values.get)  # The first of equals.
        for variable, value in zip(
            floats(self.model), self._start if self.restored in LEFT else self._best, strict=True
        ):
            variable.assign(value)
        if self.restored not in LEFT:
            left = f" The model is left as it was after epoch {1 + self.restored}"
        else:
            left = f" The model is left {LEFT[self.restored]}"
        if self.restored in ("backbone", "probe"):
            self._set_head(self.restored)
            left += f", which has {self.evaluate(self.model)[name]:.1%}"
        if values[self.restored] < best_part(self.baseline, name)[0] and "backbone" not in values:
            left += ", as its embeddings have fewer dimensions than the features, or a head that cannot pass these on"
        return f"{left}."

    def _parts(self):
        """What the model can be made to be again, in the order of the docstring."""
        head = getattr(self.model, "embedding", None)
        is_plain = (
            type(head) is keras.layers.Dense
            and head.activation is keras.activations.linear
            and head.use_bias
            and not head.lora_enabled
            and head.quantization_mode is None
        )
        keeps_features = is_plain and head.kernel.shape[1] >= head.kernel.shape[0]
        return ["start", *["backbone"] * keeps_features, *["probe"] * (is_plain and self.probe is not None)]

    def _set_head(self, part):
        kernel, bias = (
            np.zeros(variable.shape) for variable in (self.model.embedding.kernel, self.model.embedding.bias)
        )
        if part == "backbone":
            np.fill_diagonal(kernel, 1)
        else:
            kernel[:, : len(self.probe.bias)], bias[: len(self.probe.bias)] = self.probe.kernel, self.probe.bias
        self.model.set_head(kernel, bias)
