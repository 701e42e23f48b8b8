"""What cannot be meant is refused in one sentence, with the name that may have been meant."""

import warnings

import keras
import numpy as np
import pytest

import keras_epos
from keras_epos import CircleLoss, EasyPositiveTripletLoss, EmbeddingModel, MetricLearningModel, WeightedSum, losses


def model():
    return EmbeddingModel(keras.Sequential([keras.Input((6,)), keras.layers.Dense(5)]), 4)


def test_losses_by_every_name():
    for name in ("easy_positive_triplet", "EasyPositiveTripletLoss", "keras_epos>EasyPositiveTripletLoss"):
        made = model()
        made.compile("sgd", loss=name)
        assert isinstance(made.loss, EasyPositiveTripletLoss)
        assert isinstance(losses.get(name), EasyPositiveTripletLoss)
    assert losses.get(None) is None
    assert losses.get(made.loss) is made.loss
    assert isinstance(losses.get(keras.saving.serialize_keras_object(made.loss)), EasyPositiveTripletLoss)
    for name in ("mse", "MeanSquaredError", "crossentropy"):
        made.compile("sgd", loss=name)
        assert made.loss == name


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("tripplet", "Did you mean 'triplet'"),
        (["tripplet"], "Did you mean 'triplet'"),
        ("circle", r"keras_epos\.CircleLoss\(\) or keras\.losses\.get"),
        (["circle"], r"keras_epos\.CircleLoss\(\)"),
    ],
)
def test_names_that_are_none_or_two(loss, message):
    with pytest.raises(ValueError, match=message):
        model().compile("sgd", loss=loss)
    model().compile("sgd", loss=CircleLoss())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EmbeddingModel(keras.layers.Dense(8), 4), "must be a Keras model.*Sequential"),
        (lambda: EmbeddingModel("resnet50", 4), "Did you mean 'ResNet50'"),
        (lambda: EmbeddingModel("EfficientNetv2b0", 4), "Did you mean 'EfficientNetV2B0'"),
        (lambda: EmbeddingModel("nosuch.keras", 4), "file that exists.*nosuch"),
        (lambda: EmbeddingModel(keras.Sequential([keras.Input((6,))]), "128"), "`embedding_dim` must be an integer"),
        (lambda: WeightedSum([keras_epos.TripletLoss()]), "`losses` must be a dictionary"),
    ],
)
def test_arguments_that_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_unknown_arguments_are_named_by_the_class_that_lacks_them():
    inputs = keras.Input((6,))
    for make, message in (
        (lambda: keras_epos.TripletLoss(margn=0.1), "TripletLoss: margin, .*Did you mean 'margin'"),
        (lambda: keras_epos.ArcFaceLoss(4, normalize=False), "ArcFaceLoss: num_classes, margin, scale"),
        (lambda: WeightedSum({"a": "triplet"}, weight={}), "WeightedSum: losses, .*Did you mean 'weights'"),
        (lambda: keras_epos.CrossBatchMemory("triplet", sizes=3), "CrossBatchMemory: loss, .*Did you mean 'size'"),
        (lambda: keras_epos.mining.Easy(kk=2), "Easy: k, copies_above, copies.*Did you mean 'k'"),
        (lambda: keras_epos.mining.Random(sed=2), "Random: seed.*Did you mean 'seed'"),
        (lambda: keras_epos.mining.All(k=2), "`k` must be an argument of All"),
        (lambda: EmbeddingModel("x", dimension=4), "EmbeddingModel: backbone, embedding_dim"),
        (lambda: MetricLearningModel(inputs, inputs, nam="a"), "MetricLearningModel: inputs, outputs, name.*'name'"),
        (lambda: keras_epos.RecallAtK(None, None, interval=2), "RecallAtK: images, labels"),
        (lambda: keras_epos.CollapseMonitor(None, evry=2), "CollapseMonitor: images, .*Did you mean 'every'"),
        (lambda: keras_epos.HierarchyRebuild(None, warm_up=2), "HierarchyRebuild: .*Did you mean 'warm_up_epochs'"),
        (lambda: keras_epos.StageByEpoch(batch=1), "StageByEpoch: batches.*Did you mean 'batches'"),
    ):
        with pytest.raises(TypeError, match=message):
            make()


def test_own_classes_may_have_arguments_of_their_own():
    class Own(keras_epos.TripletLoss):
        def __init__(self, **settings):
            self.extra = settings.pop("extra")
            super().__init__(**settings)

    assert Own(extra=1, margin=0.5).margin == 0.5
    with pytest.raises(TypeError, match=r"argument of Own: margin.*Did you mean 'margin'"):
        Own(extra=1, margn=0.5)


def test_metrics_that_read_scores_of_classes_are_warned_of():
    inputs = keras.Input((6,))
    heads = {"near": keras.layers.Dense(5)(inputs), "scores": keras.layers.Dense(3)(inputs)}
    two = keras_epos.MetricLearningModel(inputs, heads)
    of_two = {"near": "triplet", "scores": "sparse_categorical_crossentropy"}
    for made, loss, metrics in (
        (model(), "triplet", ["accuracy"]),
        (model(), "triplet", [keras.metrics.SparseCategoricalAccuracy()]),
        (two, of_two, {"near": ["acc"]}),
    ):
        with pytest.warns(UserWarning, match="RecallAtK"):
            made.compile("sgd", loss=loss, metrics=metrics)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*RecallAtK")
        two.compile("sgd", loss=of_two, metrics={"scores": ["accuracy"]})
        model().compile("sgd", loss="mse", metrics=["accuracy"])


def test_a_backbone_of_class_scores_is_warned_of():
    inputs = keras.Input((6,))
    scores = keras.layers.Dense(5, activation="softmax", name="predictions")(inputs)
    plain = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3), keras.layers.Softmax()])
    for backbone in (keras.Model(inputs, scores), plain, keras.Sequential([keras.Input((6,)), plain])):
        with pytest.warns(UserWarning, match="include_top=False"):
            EmbeddingModel(backbone, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        EmbeddingModel(keras.Model(inputs, keras.layers.Dense(5, activation="relu")(scores)), 4)
        EmbeddingModel(keras.Sequential([keras.layers.Dense(5)]), 4)


def test_pairs_and_triplets_of_arrays_are_refused():
    inputs = np.zeros((8, 6), "float32")
    made = model()
    made.compile("sgd", loss="triplet")
    for x in ([inputs, inputs], (inputs, inputs, inputs)):
        with pytest.raises(ValueError, match="finds these in each batch"):
            made.fit(x, np.zeros(8, int))


def test_data_that_are_not_shuffled_are_not_warned_of():
    inputs, labels = np.random.default_rng(0).normal(size=(8, 6)).astype("float32"), np.arange(8) % 2

    def generator():
        while True:
            yield inputs, labels

    made = model()
    made.compile("sgd", loss="triplet")
    batches = keras_epos.data.balanced_batches(inputs, labels, 2, 4)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*shuffle")
        for data in (batches, generator()):
            made.fit(data, steps_per_epoch=1, verbose=0)
