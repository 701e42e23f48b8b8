"""What all galleries share: the model or fingerprint they are bound to, and `match`, which may answer "unknown"."""

import numpy as np

from keras_epos._checks import integer
from keras_epos._rows import Rows
from keras_epos.gallery import _threshold
from keras_epos.gallery._fingerprint import fingerprint_of
from keras_epos.gallery._results import Matches


class Answers:
    """A gallery to be: a subclass has `search(queries, k, where, fingerprint)` and sets `_threshold`."""

    def __init__(self, model, fingerprint, dim):
        if model is not None and not callable(model):
            raise ValueError(f"`model` must be a keras.Model or None. Received: model of type {type(model).__name__}.")
        if fingerprint is not None and not isinstance(fingerprint, str):
            raise ValueError(f"`fingerprint` must be a string or None. Received: fingerprint={fingerprint!r}.")
        self.dim = None if dim is None else integer("dim", dim, 1)
        self._model, self.fingerprint = model, fingerprint
        if model is not None:
            self.fingerprint = fingerprint_of(model)
            self._check_fingerprint(fingerprint)

    def match(self, queries, where=None, fingerprint=None):
        """The label of each query's nearest row, or `"unknown"` where that is below the threshold.

        Args:
            queries, where, fingerprint: As in `search`.

        Returns:
            `keras_epos.gallery.Matches`: `labels`, `ids`, `similarity` (float32) and `accepted`, each `(Q,)`.

        Raises:
            ValueError: without a threshold, and as `search` does.
        """
        if self._threshold is None:
            raise ValueError(
                "`threshold` must be set before `match`. Received: threshold=None. Choose one on classes that were "
                "held out by `keras_epos.calibrate`, and set `gallery.threshold`."
            )
        found = self.search(queries, 1, where, fingerprint)
        ids, labels, similarity = found.ids[:, 0], found.labels[:, 0], found.similarity[:, 0]
        accepted = similarity >= np.array(_threshold.limits(self._threshold, labels))
        labels = labels.copy()
        labels[~accepted] = "unknown"
        return Matches(labels, ids, similarity, accepted)

    def _embed(self, inputs, fingerprint, name):
        """`Rows` of embeddings, or of what the model makes of its inputs."""
        self._check_fingerprint(fingerprint)
        if self._model is not None and fingerprint is None:
            model = self._model
            inputs = model.predict(inputs, verbose=0) if hasattr(model, "predict") else model(inputs)
        rows = Rows(inputs, name=name)
        if self.dim is not None and rows.dim != self.dim:
            raise ValueError(
                f"`{name}` must have the {self.dim} dimensions of the gallery. Received: {name} of {rows.dim} "
                "dimensions."
            )
        return rows

    def _check_fingerprint(self, fingerprint, name="fingerprint"):
        if fingerprint is not None and fingerprint != self.fingerprint:
            raise ValueError(
                f"`{name}` must be what made the gallery, {self.fingerprint!r}. Received: {name}={fingerprint!r}. "
                "Similarities of embeddings of two models mean nothing: embed both sides by one."
            )
