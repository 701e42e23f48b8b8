"""Low-rank adapters: what they compute, what is trained, and that a run goes on after every way of saving."""

import shutil

import keras
import numpy as np
import pytest
from small_networks import SHAPE, convolutions, functional, of_layers

import keras_epos
from keras_epos import EmbeddingModel
from keras_epos.training import load_adapters, save_adapters
from keras_epos.training._low_rank import LowRankAdapter

IMAGES = np.random.default_rng(0).normal(size=(12, *SHAPE)).astype("float32")
LABELS = np.arange(12) % 3
BACKBONES = [functional, of_layers]


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def compiled(backbone=functional, run_eagerly=True, **arguments):
    keras.utils.set_random_seed(0)
    model = EmbeddingModel(backbone(), 4, lora=2, **arguments)
    model.compile(keras.optimizers.Adam(0.05), loss=keras_epos.ContrastiveLoss(), run_eagerly=run_eagerly)
    return model


def fit(model, **arguments):
    return model.fit(IMAGES, LABELS, batch_size=12, shuffle=False, verbose=0, **arguments)


def adapters(model):
    return [layer for layer in model._flatten_layers() if isinstance(layer, LowRankAdapter)]


def base(model):
    own = {id(weight) for adapter in adapters(model) for weight in adapter.weights}
    return [array(weight) for weight in model.backbone.weights if id(weight) not in own]


@pytest.fixture(scope="module")
def trained():
    model = compiled(run_eagerly=False)
    fit(model, epochs=2)
    return model


@pytest.mark.parametrize(
    ("equation", "inputs", "kernel"),
    [
        ("...i,io->...o", (2, 3, 5), (5, 4)),
        ("abc,cde->abde", (2, 3, 5), (5, 2, 4)),
        ("abde,dec->abc", (2, 3, 2, 4), (2, 4, 5)),
        ("...x,xy->...y", (2, 5), (5, 4)),
    ],
)
def test_an_adapter_adds_a_product_of_its_rank_to_the_kernel(equation, inputs, kernel):
    adapter = LowRankAdapter(equation, kernel, 2)
    adapter.build()
    assert not array(adapter.kernel()).any()
    generator = np.random.default_rng(0)
    adapter.up.assign(generator.normal(size=adapter.up.shape))
    samples, added = generator.normal(size=inputs).astype("float32"), array(adapter.kernel()).astype("float64")
    assert added.shape == kernel
    np.testing.assert_allclose(array(adapter(samples)), np.einsum(equation, samples, added), rtol=1e-5, atol=1e-5)
    # As the matrix that it is, from all inputs to all outputs of the layer.
    axes = equation.replace("->", ",").split(",")[1:]
    inner = [size for axis, size in zip(axes[0], kernel, strict=True) if axis not in axes[1]]
    num_inputs = int(np.prod(inner))
    assert np.linalg.matrix_rank(added.reshape(num_inputs, -1), tol=1e-5) == 2


def test_one_step_of_sgd_is_that_of_the_two_kernels():
    features = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, name="query")])
    model = EmbeddingModel(features, 3, normalize=False, lora=2)
    generator = np.random.default_rng(0)
    rows, wanted = generator.normal(size=(6, 5)), generator.normal(size=(6, 3))
    (adapter,), (dense,) = adapters(model), features.layers
    adapter.up.assign(generator.normal(size=(2, 4)))
    kernel, bias, down, up, head = (
        array(one).astype("float64")
        for one in (dense.kernel, dense.bias, adapter.down, adapter.up, model.embedding.kernel)
    )
    outputs = (rows @ kernel + bias + rows @ down @ up) @ head
    gradient = 2 * (outputs - wanted) / wanted.size @ head.T
    model.compile(keras.optimizers.SGD(1.0), loss="mse")
    model.fit(rows.astype("float32"), wanted.astype("float32"), batch_size=6, verbose=0)
    np.testing.assert_allclose(array(adapter.down), down - rows.T @ gradient @ up.T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(array(adapter.up), up - (rows @ down).T @ gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_adapters_and_the_dense_layer_train_and_nothing_else(backbone):
    model = compiled(backbone)
    plain = EmbeddingModel(backbone(), 4)
    plain.set_weights([*base(model), *(array(one) for one in model.embedding.weights)])
    np.testing.assert_allclose(array(model(IMAGES)), array(plain(IMAGES)), atol=1e-6)  # starts as the backbone is
    assert len(adapters(model)) == 4  # queries and values of two blocks
    before, trained = base(model), [array(one) for one in model.trainable_variables]
    assert len(trained) == 4 * 2 + 2
    fit(model, epochs=2)
    for one, other in zip(before, base(model), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(trained, model.trainable_variables, strict=True):
        assert np.abs(one - array(other)).max() > 1e-4


def test_merged_gives_the_same_embeddings_without_adapters():
    model = compiled(of_layers, freeze=0.3)
    fit(model, epochs=2)
    model.embedding.trainable = False
    merged = model.merged()
    np.testing.assert_allclose(array(merged(IMAGES)), array(model(IMAGES)), atol=1e-6)
    assert not adapters(merged)
    assert merged.lora is None
    assert not merged.embedding.trainable
    # What `lora` froze trains again; what `freeze` did, the patches and the token, does not.
    assert len(merged.backbone.trainable_variables) == len(merged.backbone.weights) - 3
    assert merged.merged() is merged
    assert len(adapters(model)) == 4


def assert_same_weights(model, other):
    for one, another in zip(model.weights, other.weights, strict=True):
        np.testing.assert_allclose(array(one), array(another), rtol=1e-5, atol=1e-6)


def test_a_run_that_was_saved_goes_on_as_if_it_had_not_been_interrupted(tmp_path):
    whole = compiled(of_layers)
    fit(whole, epochs=2)
    whole.save(tmp_path / "model.keras")
    whole.save_weights(tmp_path / "model.weights.h5")
    keras.layers.Dense(1)  # layers without names are called otherwise from here on
    from_weights = compiled(of_layers)
    from_weights.optimizer.build(from_weights.trainable_variables)
    from_weights.load_weights(tmp_path / "model.weights.h5")
    both = keras.saving.load_model(tmp_path / "model.keras"), from_weights
    before = [array(one) for one in whole.trainable_variables]
    for resumed in both:
        assert int(resumed.optimizer.iterations) == 2
        np.testing.assert_array_equal(
            [array(one).sum() for one in resumed.trainable_variables], [one.sum() for one in before]
        )
    fit(whole)
    for one, other in zip(before, whole.trainable_variables, strict=True):
        assert np.abs(one - array(other)).max() > 1e-4
    for resumed in both:
        fit(resumed)
        assert_same_weights(whole, resumed)


@pytest.mark.backend("tensorflow", "torch", reason="JAX takes long to compile every step")
def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path):
    def copy(epoch, logs):
        if epoch == 2:
            shutil.copytree(tmp_path / "whole", tmp_path / "killed")

    whole, resumed = compiled(of_layers), compiled(of_layers)
    copy = keras.callbacks.LambdaCallback(on_epoch_begin=copy)
    fit(whole, epochs=3, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "whole"), copy])
    history = fit(resumed, epochs=3, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "killed")])
    assert history.epoch == [2]
    assert_same_weights(whole, resumed)


def test_under_a_mixed_policy_adapters_are_float32(tmp_path):
    policy = "mixed_float16"
    model = compiled(of_layers, dtype=policy)
    assert {one.dtype for adapter in adapters(model) for one in adapter.weights} == {"float32"}
    assert adapters(model)[0].compute_dtype == policy.removeprefix("mixed_")
    before = [array(one) for adapter in adapters(model) for one in adapter.weights]
    assert np.isfinite(fit(model, epochs=3).history["loss"]).all()
    after = [array(one) for adapter in adapters(model) for one in adapter.weights]
    assert all((one != other).any() for one, other in zip(before, after, strict=True))
    np.testing.assert_allclose(array(model.merged()(IMAGES)), array(model(IMAGES)), atol=0.01)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(array(loaded(IMAGES)), array(model(IMAGES)), atol=1e-6)


def test_the_backbone_stays_frozen_through_two_stages():
    model = compiled()
    before = base(model)
    model.backbone.trainable = False
    model.compile("sgd", loss="triplet", run_eagerly=True)
    assert len(model.trainable_variables) == 2
    model.backbone.trainable = True
    model.compile(keras.optimizers.SGD(1.0), loss="triplet", run_eagerly=True)
    assert len(model.trainable_variables) == 10
    fit(model)
    for one, other in zip(before, base(model), strict=True):
        np.testing.assert_array_equal(one, other)


def test_adapters_in_a_file_of_their_own(trained, tmp_path):
    keras.utils.set_random_seed(1)
    path = tmp_path / "adapters.npz"
    save_adapters(trained, path)
    assert [one.name for one in tmp_path.iterdir()] == ["adapters.npz"]
    with np.load(path) as file:
        assert len(file.files) == 8 + 2 + 1
    model = EmbeddingModel(functional(), 4, lora=2)
    weights = [array(one) for one in model.weights]
    for other, message in (
        (model, "must have a backbone of the weights"),
        (EmbeddingModel(functional(), 4, lora=3), "must have `lora` 2"),
        (EmbeddingModel(functional(), 5, lora=2), "must have `embedding_dim` 4"),
        (EmbeddingModel(functional(), 4), "with `lora`"),
    ):
        with pytest.raises(ValueError, match=message):
            load_adapters(other, path)
    (tmp_path / "other.npz").write_bytes(b"no arrays")
    with pytest.raises(ValueError, match="a file of `save_adapters`"):
        load_adapters(model, tmp_path / "other.npz")
    for one, other in zip(weights, model.weights, strict=True):
        np.testing.assert_array_equal(one, array(other))
    own = {id(weight) for adapter in adapters(model) for weight in adapter.weights}
    values = iter(base(trained))
    for weight in model.backbone.weights:
        if id(weight) not in own:
            weight.assign(next(values))
    load_adapters(model, path)
    np.testing.assert_array_equal(array(model(IMAGES)), array(trained(IMAGES)))


@pytest.mark.backend("tensorflow", reason="writes SavedModels")
def test_exports_hold_no_adapters(trained, tmp_path):
    import tensorflow as tf

    path = keras_epos.export_savedmodel(trained, tmp_path / "served", embed_bytes=False)
    report = keras_epos.export(trained, tmp_path / "export", ["savedmodel"], embed_bytes=False, half=False, int8=False)
    assert report["savedmodel"].path
    trained.export(tmp_path / "keras", verbose=False)
    served, of_keras = tf.saved_model.load(str(path)), tf.saved_model.load(tmp_path / "keras")
    for found in (served.signatures["embed"](tf.constant(IMAGES))["embedding"], of_keras.serve(IMAGES)):
        np.testing.assert_allclose(found, array(trained(IMAGES)), atol=1e-6)
    shapes = [tuple(shape) for _, shape in tf.train.list_variables(str(path / "variables" / "variables"))]
    assert sum(int(np.prod(shape)) for shape in shapes if shape) == trained.merged().count_params()


def test_what_cannot_be_adapted(trained):
    with pytest.raises(ValueError, match="nothing of it would be trained"):
        EmbeddingModel(convolutions(), 4, lora=2)
    with pytest.raises(ValueError, match="`lora` must be an integer of at least 1"):
        EmbeddingModel(functional(), 4, lora=0)
    with pytest.raises(ValueError, match=r"must be without adapters.*merged\(\)"):
        EmbeddingModel(trained.backbone, 4)
    with pytest.raises(ValueError, match=r"Quantize `model.merged\(\)`"):
        trained.quantize("int8")
    quantized = functional()
    quantized.get_layer("attention_1")._value_dense.quantize("int8")
    with pytest.raises(
        ValueError, match=r"must not be quantized for `lora`. Received: the quantized layers \['value'\]"
    ):
        EmbeddingModel(quantized, 4, lora=2)
    assert not adapters(EmbeddingModel(quantized, 4))
    own = functional()
    own.get_layer("attention_0")._query_dense.enable_lora(2)
    with pytest.raises(ValueError, match="must be without adapters"):
        EmbeddingModel(own, 4, lora=2)


def test_a_file_of_adapters_holds_the_neck_with_its_statistics(tmp_path):
    models = []
    for seed in (0, 1):
        keras.utils.set_random_seed(0)
        models.append(keras_epos.BNNeckModel(functional(), 4, lora=2))
        models[-1].neck.set_weights(np.random.default_rng(seed).uniform(0.5, 2, (3, 4)))
    save_adapters(models[0], tmp_path / "adapters.npz")
    load_adapters(models[1], tmp_path / "adapters.npz")
    one, other = (model.predict(IMAGES, verbose=0)["embedding"] for model in models)
    np.testing.assert_allclose(other, one, atol=1e-6)
