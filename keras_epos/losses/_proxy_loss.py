"""ProxyLoss: from labels and embeddings to similarities with the proxies of all classes, to the formula of a loss."""

from functools import partial

import keras
from keras import ops

from keras_epos._checks import integer, number
from keras_epos._gradient import gradient
from keras_epos._pairs import (
    count,
    is_known,
    masked_logsumexp,
    masked_max,
    masked_mean,
    masked_sum,
    masks,
    products,
    share,
    unit,
)
from keras_epos.losses._batch import are_of_known_classes, as_tensor, at_least_one_row, known_rows, refuse_unless
from keras_epos.losses._drawn_proxies import DrawnProxies, Seen
from keras_epos.losses._embedding_loss import EmbeddingLoss
from keras_epos.losses._terms import Terms


class ProxyLoss(EmbeddingLoss):
    """Base of the losses that compare samples with proxies: trainable vectors, one or several for each class.

    Embeddings and proxies are divided by their norm; what counts is the cosine similarity of each sample to each
    proxy. A loss belongs to one `EmbeddingModel`, which trains the proxies with its optimizer, or with the
    `loss_optimizer` given to `compile`, saves and restores them, and leaves them out of an export. Proxies of classes
    that are seldom seen learn faster with 10 to 100 times the learning rate of the network. The loss needs nothing of
    the batch: samples are not compared with each other.

    There is no `positives=` and no `negatives=`, since there are no pairs to choose from. What easy positives are to
    pairs, several centers are to proxies: in `SoftTripleLoss` a sample is pulled towards the nearest of its class, and
    the class keeps its modes.

    **Millions of classes.** With `sampled` a training step compares its samples with the proxies of the batch's classes
    and of others drawn at random, `sampled * num_classes` in all, or as many as the batch has classes if these are
    more (Partial FC, An et al. 2022, https://arxiv.org/abs/2203.15565). Each step draws anew, without replacement;
    evaluation looks at all classes. Only what is drawn has gradients: time and memory of a step are of its size. The
    optimizer does to a drawn proxy what it would do to any weight, and leaves the others alone, without decay of
    weights. A moment of theirs waits until its class is drawn again, while the correction of its bias counts all steps.

    Args:
        num_classes: Number of classes in training, at least 2; labels must lie in `[0, num_classes)`.
        sampled: Share of the classes that a training step looks at, in (0, 1]; 1 and `None` stand for all.
        seed: Integer or `None`, of what is drawn. Its state is saved with the model.
        average_over, ignore_label, reduction, name, dtype: See `EmbeddingLoss`. If `ignore_label` is a class, its
            proxies do not take part either.

    Raises:
        ValueError: If an argument or, where the backend can tell, a label is out of range, or a batch has more classes
            than a step draws and has room for. Code compiled by XLA cannot raise: there the loss turns to NaN.
    """

    needs_adoption = True
    needs_direction = True
    # Proxies of each class.
    centers = 1

    def __init__(self, num_classes, sampled=None, seed=None, **shared):
        for side in ("positives", "negatives"):
            if side in shared:
                raise ValueError(
                    f"`{side}` must be left out: {type(self).__name__} compares samples with proxies, not with each "
                    f"other. Received: {side}={shared[side]!r}. To let classes keep several modes use SoftTripleLoss."
                )
        super().__init__(**shared)
        self.num_classes = integer("num_classes", num_classes, 2)
        self.sampled = None if sampled is None else number("sampled", sampled, "(0, 1]", "a share of the classes")
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed) if self.draws else None

    @property
    def classes_of_a_step(self):
        """How many classes a training step looks at, unless its batch has more: two at least, to tell them apart."""
        return self.num_classes if self.sampled is None else max(2, round(self.sampled * self.num_classes))

    @property
    def is_sampled(self):
        return self.classes_of_a_step < self.num_classes

    @property
    def draws(self):
        """Whether a training step draws something."""
        return self.is_sampled

    def sampled_losses(self):
        return [self] if self.is_sampled else []

    @classmethod
    def from_config(cls, config):
        """The loss of a configuration, those saved with 0.1 included."""
        config = {"centers" if name == "centres" else name: value for name, value in config.items()}
        multiplier = config.pop("learning_rate_multiplier", 1.0)
        if multiplier != 1:
            raise ValueError(
                "`learning_rate_multiplier` must be left out of a configuration, as proxies have the learning rate of "
                f"`loss_optimizer` in `compile`. Received: learning_rate_multiplier={multiplier}. A model saved with "
                "0.1 loads by load_model(path, compile=False), model.compile(..., loss_optimizer=...), "
                "model.load_weights(path)."
            )
        return cls(**config)

    def build(self, embedding_dim):
        if embedding_dim is None:
            raise ValueError("`embedding_dim` must be given to a loss with proxies. Received: embedding_dim=None")
        # Directions are what counts, so they start evenly spread. The length, about 1, sets how far a step of the
        # optimizer turns them.
        self._proxies = self._layer.add_weight(
            shape=(self.num_classes * self.centers, embedding_dim),
            initializer=keras.initializers.RandomNormal(stddev=embedding_dim**-0.5),
            trainable=not self.is_sampled,
            name="proxies",
        )
        if self.is_sampled:
            self._drawn = DrawnProxies(
                self._layer, self._proxies, self.num_classes, self.centers, self.classes_of_a_step
            )
        if self.draws:
            # Keras saves no generators of random numbers, but weights.
            state = self.generator.state
            self.generator.state = self._layer.add_weight(
                shape=state.shape, dtype=state.dtype, initializer="zeros", trainable=False, name="seed_state"
            )
            self.generator.state.assign(state.value)

    @property
    def proxies(self):
        """The variable `(num_classes * centers, D)`: the centers of class `c` are the rows from `c * centers` on.

        With `sampled` it is not among the trainable weights, as a step trains a copy of the rows that are drawn.
        """
        self.refuse_untrained()
        return self._proxies

    @property
    def drawn(self):
        """The `DrawnProxies` of a loss that is sampled."""
        self.refuse_untrained()
        return self._drawn

    def draw(self, labels):
        """Choose the classes of the next training step, if they are sampled. The step of a model of this library does
        it, brings what is drawn (`loss.drawn.bring()`), and puts it back when it is trained (`loss.drawn.put_back()`).

        Args:
            labels: Integers `(B,)` or `(B, 1)`, those of the whole batch.

        Raises:
            ValueError: If the batch has more classes than there is room for.
        """
        labels = as_tensor(labels)
        labels, _ = self.accepted(labels, ops.zeros((ops.shape(labels)[0], 2)))
        labels, _ = at_least_one_row(labels, labels)
        of_batch = self.drawn.draw(labels, self.ignore_label, self.generator)
        refuse_unless(
            of_batch <= self.drawn.room,
            f"`sampled` must leave room for the classes of a batch, and sampled={self.sampled} of num_classes="
            f"{self.num_classes} has room for {self.drawn.room}. Make the share larger or the batch smaller. "
            "Received: a batch of so many classes:",
            of_batch,
        )

    def seen(self, training):
        """`Seen`: what a call compares samples with."""
        if training and self.is_sampled:
            return self.drawn.seen
        return Seen(self.proxies, ops.arange(self.num_classes, dtype="int32"), self.num_classes)

    def learned(self, training):
        return [] if self._layer is None else [self.seen(training).proxies]

    def class_similarity(self, similarity):
        """`(B, C)`, from the similarity to every center of every class, `(B, C, centers)`."""
        return similarity[:, :, 0]

    def formula(self, similarity, own, other):
        """The loss on the similarity to each class.

        Args:
            similarity: `(B, C)`.
            own: `(B, C)` booleans, the sample's class; none in a row that is ignored.
            other: `(B, C)` booleans, all other classes; none in a row that is ignored.

        Returns:
            `Terms`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define formula().")

    def formula_of(self, labels, embeddings, training):
        """The formula for a batch, a function `(similarity, own, other)`; some look at more than similarities."""
        return self.formula

    def result(self, y_true, y_pred, training=True):
        labels, embeddings = self.accepted(y_true, y_pred)
        terms = partial(self.terms, training=training)
        return self.of_batch(labels, known_rows(labels, embeddings, self.ignore_label), terms, training)

    def terms(self, labels, embeddings, training=False):
        seen = self.seen(training)
        formula = self.formula_of(labels, embeddings, training)
        return self._terms_of(labels, self._similarity(embeddings, seen), formula, seen)

    def _similarity(self, embeddings, seen):
        return products(unit(embeddings), self.directions(seen))

    def directions(self, seen):
        """The proxies by their norm, of which only the first dimensions count for a prefix of the embeddings."""
        return unit(ops.convert_to_tensor(seen.proxies)[:, : self.prefix_dim])

    def _terms_of(self, labels, similarity, formula, seen):
        own, other = masks(labels, ops.cast(seen.classes, labels.dtype), offset=None, ignore_label=self.ignore_label)
        if seen.counts is not None:
            other = ops.logical_and(other, seen.counts)
        similarity = ops.reshape(similarity, (ops.shape(similarity)[0], seen.classes.shape[0], self.centers))
        terms = formula(self.class_similarity(similarity), own, other)
        if seen.are_drawn:
            terms = self._without_missing(labels, own, terms)
        nearest = ops.stop_gradient(ops.max(similarity, axis=-1))
        return terms._replace(statistics=self._observed(nearest, own, other, terms))

    def _without_missing(self, labels, own, terms):
        """The terms, NaN for samples of a class that was not drawn."""
        missing = ops.logical_not(ops.any(own, axis=-1))
        if self.ignore_label is not None:
            missing = ops.logical_and(missing, is_known(labels, self.ignore_label))
        refuse_unless(
            ops.logical_not(ops.any(missing)),
            "`y_true` must be of classes that were drawn for the step. A model of this library draws them in `fit` and "
            "`train_on_batch`; elsewhere call `loss.draw(labels)` before the loss. Received: labels",
            labels,
        )
        total, valid = ops.where(missing, float("nan"), terms.total), ops.where(missing, 1.0, terms.valid)
        return terms._replace(total=total, valid=valid)

    def _observed(self, nearest, own, other, terms):
        active = ops.cast(ops.stop_gradient(terms.active) > 0, nearest.dtype)
        takes_part = terms.valid > 0
        return {
            "valid_anchors": share(takes_part, nearest.dtype),
            "active_anchors": masked_mean(active, takes_part),
            "positive_similarity": masked_mean(nearest, own),
            "negative_similarity": masked_mean(masked_max(nearest, other), ops.any(other, axis=-1)),
        }

    def proxy_weights(self, labels, embeddings):
        """The loss seen as general pair weighting, over samples and proxies.

        Args:
            labels: Integers `(B,)` or `(B, 1)`.
            embeddings: Floats `(B, D)`.

        Returns:
            `(B, num_classes * centers)`: the derivative of the summed terms of all samples by the cosine similarity of
            a sample to a proxy: negative where the loss pulls, positive where it pushes.
        """
        labels, embeddings = self.accepted(labels, embeddings)
        are_of_known_classes(labels, self.num_classes, self.ignore_label)
        size = ops.shape(embeddings)[0]
        labels, rows = at_least_one_row(labels, known_rows(labels, embeddings, self.ignore_label))
        formula, seen = self.formula_of(labels, rows, training=False), self.seen(training=False)

        def total(similarity):
            return ops.sum(self._terms_of(labels, similarity, formula, seen).total)

        return gradient(total, self._similarity(rows, seen))[:size]


def softmax_terms(logits, own, other, label_smoothing=0.0):
    """Cross-entropy of each sample's own class, `log(1 + sum_other exp(logit_other - logit_own))`, as `Terms`.

    With `label_smoothing` that share of the target is spread evenly over all classes that take part.
    """
    number = count(own, logits.dtype)
    total = ops.softplus(own_against_others(logits, own, other))
    if label_smoothing:
        classes = ops.logical_or(own, other)
        mean = masked_sum(logits, classes) / ops.maximum(count(classes, logits.dtype), 1)
        total = total + label_smoothing * (masked_sum(logits, own) - mean)
    return Terms(total, number, number)


def own_against_others(logits, own, other):
    """`log(sum_other exp(logit_other)) - logit_own`, `(B,)`; far below zero in a row without any others."""
    return masked_logsumexp(logits, other) - masked_sum(logits, own)
