"""Center loss."""

import keras
from keras import ops

from keras_epos._checks import integer, number
from keras_epos._pairs import is_known, masked_mean, share
from keras_epos.losses._batch import class_places, known_rows
from keras_epos.losses._embedding_loss import EmbeddingLoss
from keras_epos.losses._names import registered
from keras_epos.losses._terms import Terms


@registered()
class CenterLoss(EmbeddingLoss):
    """Draws each embedding to the center of its class, and lets the centers follow the embeddings.

        loss_i = |f_i - c_y|^2 / 2,  y the class of i
        c_y <- c_y - rate * (sum over the samples i of y of (c_y - f_i)) / (1 + number of samples of y)

    Centers move after each training step, by the embeddings of that step and without a gradient, so neither the weight
    of the loss nor an optimizer changes how fast. The published loss is the sum over the batch, this one the mean.

    It only draws together: alone it is least where all embeddings are one point. Add it to a loss that tells classes
    apart, with a weight of 0.0005 to 0.003:

        keras_epos.WeightedSum({"triplets": keras_epos.TripletLoss(), "centers": keras_epos.CenterLoss(751)},
                               {"centers": 0.0005})

    All samples of a class are pulled to one point, which is the opposite of easy positives: classes lose their looks.
    The logs report `center_distance`, the mean Euclidean distance to the own center.

    - Needs: labels in `[0, num_classes)`, and a model that keeps the centers: `EmbeddingModel` or
      `MetricLearningModel`.
    - Choose it when: classes are to be tight, beside an ID loss and triplets in re-identification.
    - See also: `TripletLoss`, `NormalizedSoftmaxLoss`.

    Args:
        num_classes: Number of classes in training, at least 2; labels must lie in `[0, num_classes)`.
        rate: How far a center goes to the mean of its samples, in [0, 1]; alpha in the paper.
        shared: See `EmbeddingLoss`.

    References: Wen et al. 2016, https://doi.org/10.1007/978-3-319-46478-7_31; with triplets and an ID loss Luo et al.
    2019, https://arxiv.org/abs/1903.07071.

    Examples:
        >>> model = keras_epos.EmbeddingModel(backbone, embedding_dim=8)
        >>> both = {"triplets": keras_epos.TripletLoss(), "centers": keras_epos.CenterLoss(num_classes=4)}
        >>> model.compile("adam", loss=keras_epos.WeightedSum(both, {"centers": 0.0005}))
        >>> history = model.fit(images, labels, verbose=0)
    """

    needs_adoption = True
    takes_prefixes = False
    statistic_names = ("valid_anchors", "center_distance")

    def __init__(self, num_classes, rate=0.5, **shared):
        super().__init__(**shared)
        self.num_classes = integer("num_classes", num_classes, 2)
        self.rate = number("rate", rate, "[0, 1]")

    def build(self, embedding_dim):
        if embedding_dim is None:
            raise ValueError("`embedding_dim` must be given to a loss with centers. Received: embedding_dim=None")
        # Of about the length of unit embeddings.
        self._layer.add_weight(
            shape=(self.num_classes, embedding_dim),
            initializer=keras.initializers.RandomNormal(stddev=embedding_dim**-0.5),
            trainable=False,
            aggregation="mean",
            name="centers",
        )

    @property
    def centers(self):
        """The variable `(num_classes, D)`, a row for each class."""
        self.refuse_untrained()
        return self._layer.weights[0]

    def result(self, y_true, y_pred, training=True):
        labels, embeddings = self.accepted(y_true, y_pred)
        rows = known_rows(labels, embeddings, self.ignore_label)
        result = self.of_batch(labels, rows, self.terms, training)
        if training:
            self._follow(labels, rows)
        return result

    def terms(self, labels, embeddings):
        centers = ops.stop_gradient(ops.convert_to_tensor(self.centers))
        own = ops.take(centers, class_places(labels, self.num_classes), axis=0)
        squared = ops.sum(ops.square(embeddings - own), axis=-1)
        counts = self._counts(labels)
        distance = masked_mean(ops.sqrt(ops.stop_gradient(squared)), counts)
        statistics = {"valid_anchors": share(counts, self.dtype), "center_distance": distance}
        active = ops.cast(ops.logical_and(counts, squared > 0), self.dtype)
        return Terms(ops.where(counts, squared / 2, 0), ops.cast(counts, self.dtype), active, statistics)

    def _counts(self, labels):
        """Booleans `(B,)`: which samples are of a class and not to be ignored."""
        counts = ops.logical_and(labels >= 0, labels < self.num_classes)
        return counts if self.ignore_label is None else ops.logical_and(counts, is_known(labels, self.ignore_label))

    def _follow(self, labels, embeddings):
        """Move the center of each class of the batch towards its samples; what is not finite moves none."""
        centers = ops.convert_to_tensor(self.centers)
        places = class_places(labels, self.num_classes)
        embeddings = ops.stop_gradient(embeddings)
        counts = ops.logical_and(self._counts(labels), ops.all(ops.isfinite(embeddings), axis=-1))
        own = ops.take(centers, places, axis=0)
        # (B, B): rows of one class all get that class's sum, so it does not matter which of them is written last.
        adds = ops.cast(ops.logical_and(places[:, None] == places[None, :], counts[None, :]), self.dtype)
        summed = adds @ ops.where(counts[:, None], own - embeddings, ops.zeros_like(own))
        moved = own - self.rate * summed / (1 + ops.sum(adds, axis=-1, keepdims=True))
        self.centers.assign(ops.scatter_update(centers, places[:, None], moved))
