"""A step in pieces is the step of the whole batch, draws and statistics of the layers included."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_epos

SIZE = 22
X = np.random.default_rng(0).normal(size=(2 * SIZE, 6)).astype("float32")
Y = np.arange(2 * SIZE) % 4
WEIGHTS = np.linspace(0.5, 2, 2 * SIZE)


def layers(batch_norm=True):
    return [
        keras.layers.Dense(16, activation="tanh", kernel_regularizer=keras.regularizers.L2(0.01)),
        *([keras.layers.BatchNormalization()] if batch_norm else []),
        keras.layers.Dropout(0.5, seed=3),
        keras.layers.Dense(5),
    ]


class InPieces(keras.layers.Layer):
    """Embeds so many samples at a time, so that one gradient can be taken through all of them."""

    def __init__(self, inner, size):
        super().__init__()
        self.inner, self.size = inner, size

    def call(self, inputs, training=False):
        pieces = [inputs[first : first + self.size] for first in range(0, SIZE, self.size)]
        return ops.concatenate([self.inner(piece, training=training) for piece in pieces])


def trained(micro_batch, loss, in_pieces=None, batch_norm=True, dtype=None, **arguments):
    """All variables of the model after four steps, and the logs."""
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((6,)), *layers(batch_norm)])
    if in_pieces is not None:
        inputs = keras.Input((6,))
        network = keras.Model(inputs, InPieces(network, in_pieces)(inputs))
    model = keras_epos.EmbeddingModel(network, 4, dtype=dtype)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.5, global_clipnorm=0.5)
    model.compile(optimizer, loss=loss(), micro_batch=micro_batch, **arguments)
    logs = model.fit(X, Y, batch_size=SIZE, epochs=2, sample_weight=WEIGHTS, shuffle=False, verbose=0).history
    return [ops.convert_to_numpy(variable) for variable in model.variables if "seed" not in variable.path], logs


LOSSES = {
    "pairs": lambda: keras_epos.MultiSimilarityLoss(),
    "draws": lambda: keras_epos.MarginLoss(positives="easy", negatives=keras_epos.mining.DistanceWeighted(seed=1)),
    "memory": lambda: keras_epos.CrossBatchMemory(keras_epos.ContrastiveLoss(), 30, memory_positives=False),
    "proxies": lambda: keras_epos.ProxyAnchorLoss(4),
}


@pytest.mark.parametrize(("loss", "size"), [("pairs", 1), ("draws", 5), ("memory", 11), ("proxies", 64)])
def test_pieces_make_the_step_of_the_whole(loss, size):
    # Statistics of one sample are none.
    batch_norm = size > 1
    ours, our_logs = trained(size, LOSSES[loss], batch_norm=batch_norm)
    whole, logs = trained(None, LOSSES[loss], in_pieces=size, batch_norm=batch_norm)
    assert our_logs.keys() == logs.keys()
    for name, values in logs.items():
        np.testing.assert_allclose(our_logs[name], values, rtol=1e-5, atol=1e-6, err_msg=name)
    assert len(ours) == len(whole)
    for one, other in zip(ours, whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_optimizers_of_parts_and_half_precision():
    settings = {"backbone_optimizer": keras.optimizers.SGD(0.05), "dtype": "mixed_bfloat16"}
    ours, logs = trained(11, LOSSES["pairs"], **settings)
    settings["backbone_optimizer"] = keras.optimizers.SGD(0.05)
    whole, _ = trained(None, LOSSES["pairs"], in_pieces=11, **settings)
    assert np.isfinite(logs["loss"]).all()
    for one, other in zip(ours, whole, strict=True):
        np.testing.assert_allclose(one, other, atol=0.02)


@pytest.mark.backend("tensorflow", "torch", reason="slow to compile; draws are those of the dropout above")
def test_augmentation_is_the_same_in_both_passes():
    images = np.random.default_rng(0).normal(size=(2 * SIZE, 6, 6, 1)).astype("float32")

    def weights(micro_batch, in_pieces=None):
        keras.utils.set_random_seed(0)
        augmented = [keras.layers.RandomFlip(seed=1), keras.layers.RandomTranslation(0.5, 0.5, seed=2)]
        network = keras.Sequential([keras.Input((6, 6, 1)), *augmented, keras.layers.Flatten()])
        if in_pieces is not None:
            inputs = keras.Input((6, 6, 1))
            network = keras.Model(inputs, InPieces(network, in_pieces)(inputs))
        model = keras_epos.EmbeddingModel(network, 4)
        model.compile(keras.optimizers.SGD(0.1), loss="multi_similarity", micro_batch=micro_batch)
        model.fit(images, Y, batch_size=SIZE, shuffle=False, verbose=0)
        return model.embedding.get_weights()

    for one, other, plain in zip(weights(11), weights(None, 11), weights(None), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        assert np.abs(one - plain).max() > 1e-4


def test_several_outputs_and_inputs():
    def model(micro_batch):
        keras.utils.set_random_seed(0)
        first, second = keras.Input((6,), name="first"), keras.Input((2,), name="second")
        features = keras.layers.Dense(8)(keras.layers.Concatenate()([first, second]))
        outputs = {"raw": features, "classes": keras.layers.Dense(4)(features)}
        made = keras_epos.MetricLearningModel({"first": first, "second": second}, outputs)
        classes = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        made.compile(
            keras.optimizers.SGD(0.1),
            loss={"raw": keras_epos.TripletLoss(), "classes": classes},
            micro_batch=micro_batch,
        )
        made.fit({"first": X, "second": X[:, :2]}, {"raw": Y, "classes": Y}, batch_size=SIZE, shuffle=False, verbose=0)
        return made

    for one, other in zip(model(5).get_weights(), model(None).get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_an_output_without_trained_weights_beside_one_with_some():
    def weights(micro_batch):
        keras.utils.set_random_seed(0)
        features = keras.layers.Dense(8, trainable=False)(inputs := keras.Input((6,)))
        made = keras_epos.MetricLearningModel(inputs, {"raw": features, "small": keras.layers.Dense(4)(features)})
        losses = {"raw": keras_epos.ProxyAnchorLoss(4), "small": keras_epos.TripletLoss()}
        made.compile(keras.optimizers.SGD(0.1), loss=losses, micro_batch=micro_batch)
        made.fit(X, Y, batch_size=SIZE, shuffle=False, verbose=0)
        return made.get_weights()

    for one, other in zip(weights(5), weights(None), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_sample_that_is_left_over_makes_no_nan_of_batch_normalization():
    network = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5), keras.layers.BatchNormalization()])
    model = keras_epos.EmbeddingModel(network, 4)
    model.compile(loss="multi_similarity", micro_batch=5)
    model.fit(X[:16], Y[:16], batch_size=16, verbose=0)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


class Counted(keras.layers.Layer):
    """Adds how often it was called: state of a layer that is not trained."""

    def build(self, shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, inputs):
        self.calls.assign(self.calls + 1)
        return inputs * ops.convert_to_tensor(self.calls)


def test_state_of_frozen_layers_changes_once():
    counted = Counted(trainable=False)
    model = keras_epos.EmbeddingModel(keras.Sequential([keras.Input((6,)), counted, keras.layers.Dense(5)]), 4)
    model.compile(loss="multi_similarity", micro_batch=SIZE // 2)
    before = float(ops.convert_to_numpy(counted.calls))
    model.fit(X[:SIZE], Y[:SIZE], batch_size=SIZE, verbose=0)
    assert float(ops.convert_to_numpy(counted.calls)) - before == 2


def test_masks_that_a_loss_of_keras_would_miss_are_refused():
    tokens = keras.layers.Embedding(5, 6, mask_zero=True)(inputs := keras.Input((3,), dtype="int32"))
    outputs = {"raw": keras.layers.GlobalAveragePooling1D()(tokens), "tags": keras.layers.Dense(2)(tokens)}
    model = keras_epos.MetricLearningModel(inputs, outputs)
    losses = {"raw": keras_epos.TripletLoss(), "tags": keras.losses.MeanSquaredError()}
    model.compile(loss=losses, micro_batch=5)
    with pytest.raises(ValueError, match="`micro_batch` must be None for a model whose outputs have masks"):
        model.fit(np.ones((8, 3), "int32"), {"raw": np.arange(8) % 2, "tags": np.zeros((8, 3, 2))}, verbose=0)


def test_it_is_compiled_again_with_the_model(tmp_path):
    model = keras_epos.EmbeddingModel(keras.Sequential([keras.Input((6,)), keras.layers.Dense(5)]), 4)
    model.compile(loss="multi_similarity", micro_batch=8)
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").micro_batch == 8
    model.compile(loss="multi_similarity")
    assert model.micro_batch is None


def test_what_cannot_be_cut_is_refused():
    with pytest.raises(ValueError, match="`micro_batch` must be an integer"):
        trained(0, LOSSES["pairs"])
    if keras.backend.backend() == "tensorflow":
        with pytest.raises(ValueError, match="`jit_compile` must not be True with `micro_batch`"):
            trained(8, LOSSES["pairs"], jit_compile=True)
    active = keras.layers.Dense(5, activity_regularizer=keras.regularizers.L2(0.1))
    model = keras_epos.EmbeddingModel(keras.Sequential([keras.Input((6,)), active]), 4)
    model.compile(loss="multi_similarity", micro_batch=8)
    with pytest.raises(ValueError, match="`micro_batch` must be None for a model with layers that call `add_loss`"):
        model.fit(X, Y, batch_size=SIZE, verbose=0)
