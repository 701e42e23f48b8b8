"""keras_cv 0.9 and keras_hub plug in unchanged. They want an environment of their own:

pip install -e ".[cpu,test]" "keras-cv==0.9.0" tokenizers regex sentencepiece
pip install --no-deps "keras-hub==0.32.0"  # its tensorflow-text would bring another TensorFlow
pytest tests/plug_ins
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_epos

IMAGES = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3)).astype("uint8")
LABELS = np.repeat(np.arange(3), 8)


def keras_cv_backbone():
    keras_cv = pytest.importorskip("keras_cv")
    return keras_cv.models.ResNetV2Backbone(
        stackwise_filters=[8, 16],
        stackwise_blocks=[2, 2],
        stackwise_strides=[1, 2],
        include_rescaling=True,
        input_shape=(32, 32, 3),
    )


def keras_hub_resnet():
    keras_hub = pytest.importorskip("keras_hub")
    return keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 16],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=(32, 32, 3),
    )


def keras_hub_transformer():
    keras_hub = pytest.importorskip("keras_hub")
    return keras_hub.models.ViTBackbone(
        image_shape=(32, 32, 3), patch_size=8, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=16
    )


@pytest.mark.parametrize("backbone", [keras_cv_backbone, keras_hub_resnet, keras_hub_transformer])
def test_backbones_train_save_and_export(backbone, tmp_path):
    model = keras_epos.EmbeddingModel(backbone(), embedding_dim=8)
    model.compile("adam", loss=keras_epos.EasyPositiveTripletLoss())
    images = IMAGES.astype("float32")
    assert np.isfinite(model.fit(images, LABELS, batch_size=24, verbose=0).history["loss"][0])
    embeddings = model.predict(images, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(images, verbose=0), embeddings, atol=1e-6)
    served = tf.saved_model.load(str(keras_epos.export_savedmodel(model, tmp_path / "export")))
    served = served.signatures["embed"](image=tf.constant(images))["embedding"]
    np.testing.assert_allclose(served, embeddings, atol=1e-5)


def test_keras_cv_augmentation_in_balanced_batches():
    keras_cv = pytest.importorskip("keras_cv")
    augment = keras_cv.layers.RandAugment(value_range=(0, 255), augmentations_per_image=1, magnitude=0.3)
    batches = keras_epos.data.balanced_batches(IMAGES, LABELS, classes_per_batch=3, samples_per_class=4, steps=2)
    batches = batches.map(lambda images, labels: (augment(tf.cast(images, tf.float32)), labels))
    model = keras_epos.EmbeddingModel(keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3)]), 4)
    model.compile("adam", loss=keras_epos.MultiSimilarityLoss(positives="easy"))
    assert np.isfinite(model.fit(batches, verbose=0).history["loss"][0])
