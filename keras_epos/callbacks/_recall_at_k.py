"""Recall@K and its kin after every epoch."""

import warnings

import keras

from keras_epos import retrieval
from keras_epos._checks import integer
from keras_epos._config import KnownArguments
from keras_epos._features import pooled_features
from keras_epos.callbacks._baseline import behind, check_baseline, has_stepped
from keras_epos.callbacks._neighbors import check_neighbors, check_prefix
from keras_epos.callbacks._one_point import BATCH_NORMALIZATION, NUM_TRIED, differs_in_training_mode, is_one_point
from keras_epos.callbacks._outputs import check_output
from keras_epos.callbacks._sources import check_first_batch, copied, embed, labeled_source, source
from keras_epos.retrieval._checks import check_metrics, check_ranks
from keras_epos.retrieval._evaluate import check_ahead
from keras_epos.retrieval._list_measures import OF_RANKS


class RecallAtK(KnownArguments, keras.callbacks.Callback):
    """Measures retrieval at the end of an epoch and writes `val_recall@1` and its kin into the logs.

    So `History`, the progress line, and every callback that stands AFTER this one see them:

        callbacks=[
            keras_epos.RecallAtK(test_images, test_labels),
            keras.callbacks.ModelCheckpoint("best.keras", monitor="val_recall@1", mode="max", save_best_only=True),
            keras.callbacks.EarlyStopping("val_recall@1", mode="max", patience=5, restore_best_weights=True),
        ]

    Keras cannot guess that more is better, so such callbacks need `mode="max"`. A warning at the start of training
    tells of a wrong order or mode. Choose epochs by held-out classes of the training set, and test once.

    Before the first epoch it measures what training has to beat, and prints a sentence when the best epoch is behind
    it: once when the first of the values no longer rises, and at the end. A warning tells once when the model gives
    all images the same embedding, and whether BatchNormalization is why.

    Args:
        images: What the model takes, as an array `(N, ...)`, whatever is indexed like one (an h5py data set, a memory
            map: read in blocks), or a structure of these, of which a list is several inputs when its parts have a row
            for each label, else `N` images; or finite batches: a `tf.data.Dataset`, `keras.utils.PyDataset` or
            iterable of `(images, labels)`, or of images alone when `labels` are given (then it must not shuffle).
        labels: Integers or strings `(N,)`, or what `same_class` takes; `None` when the batches bring them. Copied.
        k: Ranks of Recall@K and of the other measures with k.
        gallery: `(images, labels)` or batches of such pairs, in which `images` are searched. By default each image is
            searched among all others.
        metrics: Some of `"recall"`, `"map@r"`, `"r_precision"`, `"map"`, `"minp"` and the others of
            `keras_epos.retrieval.evaluate`. The run is judged by the first of them.
        ids: Integers or strings `(N,)`, in the order of the images: images of one id are the same item and do not
            find each other. With a gallery together with `gallery_ids`.
        gallery_ids: `(G,)`, the ids in the gallery.
        cameras: Integers or strings `(N,)` instead of `ids`, in the order of the images: what a query's own camera took
            of its class is left out, as is the rule in re-identification.
        gallery_cameras: `(G,)`, the cameras of the gallery.
        same_class: `"equal"`, `"share_a_label"` for labels that are rows of zeros and ones `(N, L)`, or a function of
            the labels; see `keras_epos.retrieval.evaluate`.
        output: Which output of the model is the embedding, when it has several: the name or key, or the place. By
            default the one called `"embedding"`.
        batch_size: Images embedded at once, when they come as arrays.
        prefix: Put before the names in the logs.
        every: Epochs from one measurement to the next. The first and the last epoch of a `fit` are always measured,
            and an epoch between repeats the last values, so that a monitor never finds none.
        baseline: Whether to measure before the first epoch. A run that goes on (its optimizer has made steps) is not
            measured anew: pass it the `baseline` that the earlier part measured.

    Attributes:
        history: A dictionary for each measurement: `"epoch"` (from 0), and what `retrieval.evaluate` returns.
        baseline: A dictionary of what `retrieval.evaluate` returned before training: `"start"` for the model, and
            `"backbone"` for the pooled features of its backbone, if it is an `EmbeddingModel`; or `None`.

    Raises:
        ValueError: when arguments do not fit each other, as far as they are known; and when training begins, when the
            model does not return one vector `(B, D)` an image or its embeddings are not finite.

    Examples:
        >>> recall = keras_epos.RecallAtK(images, labels, k=(1,))
        >>> history = model.fit(images, labels, callbacks=[recall], verbose=0)
        >>> sorted(recall.history[-1])
        ['epoch', 'map@r', 'queries_without_match', 'r_precision', 'recall@1']
    """

    # What `Resume` keeps.
    run_state = ("history", "baseline", "_logs", "_told_of_one_point", "_told_of_harm")

    def __init__(
        self,
        images,
        labels=None,
        k=(1, 2, 4, 8),
        *,
        gallery=None,
        metrics=retrieval.METRICS,
        ids=None,
        gallery_ids=None,
        cameras=None,
        gallery_cameras=None,
        same_class="equal",
        output=None,
        batch_size=128,
        prefix="val_",
        every=1,
        baseline=True,
    ):
        super().__init__()
        integer("every", every, 1)
        integer("batch_size", batch_size, 1)
        check_output(output)
        check_prefix(prefix)
        check_baseline(baseline)
        self._queries = source("images", images, labels, batch_size)
        self._references = None if gallery is None else labeled_source("gallery", gallery, batch_size)
        self.metrics = check_metrics(metrics, retrieval.METRICS + retrieval.LIST_METRICS)
        self.k = check_ranks(k) if set(self.metrics) & set(OF_RANKS) else ()
        self.ids = None if ids is None else copied(ids)
        self.gallery_ids = None if gallery_ids is None else copied(gallery_ids)
        self.cameras = None if cameras is None else copied(cameras)
        self.gallery_cameras = None if gallery_cameras is None else copied(gallery_cameras)
        self.same_class = same_class
        self.output = output
        self.batch_size = batch_size
        self.prefix = prefix
        self.every = every
        self.history = []
        self.baseline = baseline if isinstance(baseline, dict) else None
        self._measure_baseline = baseline is True
        self._logs = None
        self._told_of_one_point, self._told_of_harm = None, None
        gallery_labels = None if gallery is None else self._references.labels
        check_ahead(self._queries.labels, gallery_labels, gallery is not None, **self._question())

    def __repr__(self):
        # Keras shows this when the callback stands among the metrics.
        return f"<{type(self).__name__}, a callback: pass it to fit(callbacks=[...])>"

    def evaluate(self, model):
        """What `keras_epos.retrieval.evaluate` returns for the embeddings of `model`."""
        embedded = self._embedded(model, self.output)
        results = self._judged(*embedded)
        self._tell_of_one_point(model, embedded[0])
        return results

    def on_train_begin(self, logs=None):
        self._logs = None
        self._told_of_harm = None
        check_neighbors(self, {self.prefix + name for name in self._names()})
        if self._measure_baseline and self.baseline is None and not has_stepped(self.model):
            self.baseline = {"start": self._judged(*self._embedded(self.model, self.output))}
            features = pooled_features(self.model)
            if features is not None:
                self.baseline |= self._baseline_of(features)
        else:
            for images in (self._queries, self._references):
                if images is not None:
                    check_first_batch(self.model, images, self.output)

    def on_epoch_end(self, epoch, logs=None):
        is_last = epoch + 1 == (self.params or {}).get("epochs")
        if self._logs is None or is_last or (epoch + 1) % self.every == 0:
            results = self.evaluate(self.model)
            if results["queries_without_match"] and not self.history:
                warnings.warn(
                    f"RecallAtK: {results['queries_without_match']} images have no other image of their class to be "
                    "found; they are left out of the means.",
                    stacklevel=2,
                )
            self.history.append({"epoch": epoch, **results})
            self._logs = {self.prefix + name: results[name] for name in results if name != "queries_without_match"}
            if not self._told_of_harm and not self._rises():
                self._tell_of_harm()
        if logs is not None:
            logs.update(self._logs)

    def on_train_end(self, logs=None):
        self._tell_of_harm()

    def _baseline_of(self, features):
        """What the model can do without its head, from the model of the pooled features of its backbone."""
        return {"backbone": self._judged(*self._embedded(features, None))}

    def _embedded(self, model, output):
        """Embeddings and labels, then those of the gallery or two times `None`."""
        gallery = (None, None) if self._references is None else embed(model, self._references, output)
        return *embed(model, self._queries, output), *gallery

    def _judged(self, *embedded):
        return retrieval.evaluate(*embedded, **self._question())

    def _question(self):
        return {
            "k": self.k,
            "metrics": self.metrics,
            "ids": self.ids,
            "gallery_ids": self.gallery_ids,
            "cameras": self.cameras,
            "gallery_cameras": self.gallery_cameras,
            "same_class": self.same_class,
        }

    @property
    def judged_by(self):
        """The name, without prefix, of the value that a run is judged by: the first one."""
        return self._names()[0]

    def _names(self):
        return [
            name
            for metric in self.metrics
            for name in ([f"{metric.removesuffix('@k')}@{rank}" for rank in self.k] if metric in OF_RANKS else [metric])
        ]

    def _rises(self):
        """Whether the last value is the best so far."""
        values = [entry[self.judged_by] for entry in self.history]
        return len(values) < 2 or values[-1] > max(values[:-1])

    def _tell_of_harm(self):
        if self._told_of_one_point:
            return
        sentence = behind(self.baseline or {}, self.history, self.judged_by, type(self).__name__)
        if sentence and sentence != self._told_of_harm:
            # On a line of its own: the progress line of the epoch is still being written.
            print(f"\n{sentence}")
            self._told_of_harm = sentence

    def _tell_of_one_point(self, model, embeddings):
        if self._told_of_one_point or not is_one_point(embeddings):
            return
        self._told_of_one_point = True
        images = self._queries.sample(NUM_TRIED)
        if differs_in_training_mode(model, images, self.output):
            reason = BATCH_NORMALIZATION
        else:
            reason = "check the range of the inputs, or take a smaller learning rate"
        warnings.warn(
            f"RecallAtK: the model gives practically all of {len(embeddings)} images the same embedding, so nothing "
            f"can be found: {reason}.",
            stacklevel=2,
        )
