"""BestInterpolation: as much of a training as held-out classes gain by."""

import os
import warnings

import keras
import numpy as np

from keras_epos.callbacks._baseline import has_stepped
from keras_epos.callbacks._recall_at_k import RecallAtK
from keras_epos.callbacks._weights import copies, floats


class BestInterpolation(keras.callbacks.Callback):
    """Leaves the model with those weights between start and end of training that retrieve held-out classes best.

    Fine-tuning can lose what a pretrained backbone knew. Weights between both ends often retrieve unseen classes better
    than either (WiSE-FT, Wortsman et al. 2022, https://arxiv.org/abs/2109.01903), how far between depends on the
    classes. At the end of `fit` this sets `start + share * (trained - start)` for each share, measures, and keeps the
    best share. On a tie it keeps the smaller one: the model leaves its start only for a gain. As 0 is a share, the
    held-out classes are never found worse than at the start.

        is_held_out = labels >= 88  # Classes of the training set that do not train; the test classes choose nothing.
        held_out = keras_epos.RecallAtK(images[is_held_out], labels[is_held_out], k=(1,), metrics="recall")
        model.fit(images[~is_held_out], labels[~is_held_out], callbacks=[keras_epos.BestInterpolation(held_out)])

    Interpolated are all floats of the model, the moving statistics of BatchNormalization among them, which are exact at
    both ends only. Integers keep their trained values, as do the weights of losses of this library. `trained` is what
    the model has at the end of training: the callback stands after `EarlyStopping(restore_best_weights=True)`. A
    checkpoint of an epoch holds trained weights: save the chosen ones after `fit`.

    Args:
        recall: `RecallAtK` of held-out classes; its first value decides. It need not stand among the callbacks.
        shares: Of the way from start to trained weights, in 0..1, both ends included. One measurement each.
        start: Where the way begins: `None` for the weights when `fit` begins, or for a run that is resumed what they
            were when it first began: the path of the `.keras` file of the model, or `start` of the earlier callback.

    Attributes:
        start: Copies of the weights at the start, a list of arrays, from the beginning of `fit` on.
        results: Dictionary of share to the value that decides, after `fit`.
        share: The share that the model has after `fit`; `None` before.

    Raises:
        ValueError: When an argument is none of these; and when `fit` begins, if `start` is of another model.

    Examples:
        >>> recall = keras_epos.RecallAtK(images, labels, k=(1,))
        >>> best = keras_epos.BestInterpolation(recall, shares=(0, 0.5, 1))
        >>> callbacks = [recall, best]  # for model.fit
    """

    # What `Resume` keeps.
    run_state = ("start",)

    def __init__(self, recall, shares=(0, 0.25, 0.5, 0.75, 1), start=None):
        super().__init__()
        if not isinstance(recall, RecallAtK):
            raise ValueError(f"`recall` must be a RecallAtK of held-out classes. Received: recall={recall!r}.")
        values = np.asarray(shares, "float64")
        if values.ndim != 1 or not {0, 1} <= set(values.tolist()) or not np.all((values >= 0) & (values <= 1)):
            raise ValueError(f"`shares` must be numbers in 0..1, 0 and 1 among them. Received: shares={shares!r}.")
        self.recall, self.shares, self.start = recall, sorted(set(values.tolist())), start
        self.results, self.share = {}, None

    def on_train_begin(self, logs=None):
        self.results, self.share = {}, None
        variables = floats(self.model)
        if self.start is None:
            if has_stepped(self.model):
                warnings.warn(
                    "BestInterpolation: the model was trained before this `fit`, whose first weights are taken for the "
                    "start. Pass `start`, the path of the model as it was before, if this run goes on.",
                    stacklevel=2,
                )
            self.start = copies(variables)
        elif isinstance(self.start, (str, os.PathLike)):
            self.start = copies(floats(keras.saving.load_model(self.start, compile=False)))
        shapes, own = [np.shape(value) for value in self.start], [tuple(one.shape) for one in variables]
        if shapes != own:
            raise ValueError(
                f"`start` must hold the {len(own)} floating-point weights of the model. Received: {len(shapes)} "
                "weights, or other shapes. Pass the file of this model, or `start` of its earlier callback."
            )

    def on_train_end(self, logs=None):
        variables = floats(self.model)
        trained, name = copies(variables), self.recall.judged_by
        chosen = 1.0  # Also when measuring fails, as on weights that are not finite.
        try:
            for share in self.shares:
                self._set(variables, trained, share)
                self.results[share] = self.recall.evaluate(self.model)[name]
            chosen = max(self.results, key=self.results.get)  # The first of equals, so the smaller share.
        finally:
            self._set(variables, trained, chosen)
        self.share = chosen
        found = ", ".join(f"{value:.1%} at {share:g}" for share, value in self.results.items())
        print(f"\nBestInterpolation: {name} of held-out classes is {found}; the model is left at {chosen:g}.")

    def _set(self, variables, trained, share):
        for variable, start, end in zip(variables, self.start, trained, strict=True):
            variable.assign(end if share == 1 else start + share * (end - start))
