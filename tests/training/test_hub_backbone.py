"""Backbones of keras_hub: what is pooled, with which preprocessing, and what is said where one cannot be had."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from hub_cases import SIZE, families

from keras_epos import EmbeddingModel
from keras_epos.training import hub_backbone

IMAGES = np.random.default_rng(0).uniform(0, 255, (2, SIZE, SIZE, 3)).astype("float32")
SCALED = IMAGES / 127.5 - 1


def hub():
    return pytest.importorskip("keras_hub", reason="keras_hub is not installed: pip install keras-epos[hub]")


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def scaling():
    return keras.layers.Rescaling(1 / 127.5, -1)


def tower_output(network):
    tower = getattr(network, "vision_encoder", network)
    found = tower(dict.fromkeys(tower.input, SCALED) if isinstance(tower.input, dict) else SCALED)
    return {name: array(part) for name, part in found.items()} if isinstance(found, dict) else array(found)


# 32 pixels in patches of 16: of the tokens the first stands for the image and the last four are the patches.
WITH_CLASS_TOKEN = {"ViT": 5, "DeiT": 6, "DINOv2": 9, "DINOv3": 9, "CLIP": 5, "MetaCLIP 2": 5}


@pytest.mark.parametrize("family", WITH_CLASS_TOKEN)
def test_class_token_and_patches_are_told_apart(family):
    network = families(hub().models)[family]()
    tokens = tower_output(network)
    assert tokens.shape[1] == WITH_CLASS_TOKEN[family]
    first, patches = tokens[:, 0], tokens[:, -4:]
    expected = {
        "class": first,
        "mean": patches.mean(1),
        "class_and_mean": np.concatenate([first, patches.mean(1)], 1),
        "gem": np.mean(np.maximum(patches, 1e-6).astype("float64") ** 3, axis=1) ** (1 / 3),
    }
    for pooling, features in expected.items():
        found = array(hub_backbone(network, pooling=pooling, preprocessing=scaling())(IMAGES))
        np.testing.assert_allclose(found, features, rtol=1e-3, atol=1e-5, err_msg=pooling)


@pytest.mark.parametrize(
    "family", ["ViT", "DeiT", "Swin", "ResNet", "EfficientNet", "DenseNet", "MiT", "Xception", "CSPNet"]
)
def test_the_feature_is_what_the_classifier_of_the_family_takes(family):
    models = hub().models
    network = families(models)[family]()
    kind = type(network).__name__.replace("Backbone", "ImageClassifier")
    classifier = getattr(models, kind)(backbone=network, num_classes=3)
    expected = keras.Model(classifier.inputs, classifier.get_layer("predictions").input)(SCALED)
    found = hub_backbone(network, preprocessing=scaling())(IMAGES)
    np.testing.assert_allclose(array(found), array(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["CLIP", "MetaCLIP 2", "SigLIP"])
def test_of_dual_encoders_the_image_embedding_is_taken_and_no_text_tower(family):
    network = families(hub().models)[family]()
    model = hub_backbone(network, preprocessing=scaling())
    np.testing.assert_allclose(array(model(IMAGES)), array(network.get_vision_embeddings(SCALED)), rtol=1e-4, atol=1e-5)
    assert not {id(one) for one in network.text_encoder.weights} & {id(one) for one in model.weights}


def test_patches_of_siglip_are_those_before_its_head():
    network = families(hub().models)["SigLIP"]()
    encoder = network.vision_encoder
    tokens = array(keras.Model(encoder.inputs, encoder.post_layer_norm.output)([SCALED]))
    assert tokens.shape[1] == 4
    found = hub_backbone(network, pooling="mean", preprocessing=scaling())(IMAGES)
    np.testing.assert_allclose(array(found), tokens.mean(1), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="without a class token"):
        hub_backbone(network, pooling="class", preprocessing=None)


@pytest.mark.parametrize("family", ["DINOv2", "SigLIP"])
def test_an_object_given_to_an_embedding_model_is_pooled_rightly_and_warned_of(family):
    network = families(hub().models)[family]()
    with pytest.warns(UserWarning, match="its preprocessing is not known"):
        model = EmbeddingModel(network, 3)
    expected = tower_output(network)
    expected = expected[:, 0] if expected.ndim == 3 else expected
    np.testing.assert_allclose(array(model.backbone(SCALED)), expected, rtol=1e-4, atol=1e-5)


def test_register_tokens_of_a_model_around_a_backbone_are_not_pooled():
    network = families(hub().models)["DINOv3"]()
    image = keras.Input((SIZE, SIZE, 3))
    model = EmbeddingModel(keras.Model(image, network({"pixel_values": scaling()(image)})), 3, pooling="mean")
    np.testing.assert_allclose(
        array(model.backbone(IMAGES)), tower_output(network)[:, -4:].mean(1), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("family", ["HGNetV2", "MobileNet", "MobileNetV5", "VGG", "ViTDet"])
def test_maps_are_averaged(family):
    network = families(hub().models)[family]()
    maps = tower_output(network)
    maps = list(maps.values())[-1] if isinstance(maps, dict) else maps
    found = hub_backbone(network, preprocessing=scaling())(IMAGES)
    np.testing.assert_allclose(array(found), maps.mean((1, 2)), rtol=1e-4, atol=1e-5)


PROGRAM = """
import json, sys, keras, numpy, keras_epos
model = keras.saving.load_model(sys.argv[1])
print(json.dumps(model.predict(numpy.load(sys.argv[2]), verbose=0).tolist()))
"""


def test_a_saved_preset_by_its_folder_and_a_fresh_process_that_loads_the_model(tmp_path):
    keras_hub = hub()
    network = families(keras_hub.models)["DINOv2"]()
    network.save_to_preset(str(tmp_path / "small"))
    converter = keras_hub.layers.DINOV2ImageConverter(
        image_size=(SIZE, SIZE), scale=[0.01, 0.02, 0.03], offset=[-1, 0, 1]
    )
    converter.save_to_preset(str(tmp_path / "small"))
    model = EmbeddingModel(str(tmp_path / "small"), 3)
    prepared = IMAGES * np.float32([0.01, 0.02, 0.03]) + np.float32([-1, 0, 1])
    expected = array(network({"images": prepared}))[:, 0]
    np.testing.assert_allclose(array(model.backbone(IMAGES)), expected, rtol=1e-4, atol=1e-5)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", IMAGES)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "model.keras"), str(tmp_path / "images.npy")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    np.testing.assert_allclose(
        json.loads(done.stdout.splitlines()[-1]), model.predict(IMAGES, verbose=0), rtol=1e-4, atol=1e-5
    )


def test_a_preset_that_cannot_be_loaded(monkeypatch):
    keras_hub = hub()

    def offline(*arguments, **named):
        raise ConnectionError("no network\nand more")

    monkeypatch.setattr(keras_hub.models.Backbone, "from_preset", offline)
    with pytest.raises(ValueError, match="'dinov2_small' was not: ConnectionError: no network Presets are downloaded"):
        EmbeddingModel("dinov2_small", 3)
    with pytest.raises(ValueError, match="Did you mean 'dinov2_small'"):
        EmbeddingModel("dinov2_smal", 3)


def test_what_cannot_be_taken():
    models = hub().models
    with pytest.raises(ValueError, match="`preprocessing` must be given"):
        hub_backbone(families(models)["ViT"]())
    with pytest.raises(ValueError, match="`image_size` must be None"):
        hub_backbone(families(models)["ViT"](), image_size=32, preprocessing=None)
    with pytest.raises(ValueError, match=r"must be one of \['class', 'mean', 'class_and_mean', 'gem'\]"):
        hub_backbone(families(models)["ViT"](), pooling="max", preprocessing=None)
    with pytest.raises(ValueError, match="None or one of"):
        hub_backbone(families(models)["VGG"](), pooling="class", preprocessing=None)
    text = models.BertBackbone(vocabulary_size=20, num_layers=1, num_heads=1, hidden_dim=4, intermediate_dim=4)
    with pytest.raises(ValueError, match="must take images"):
        hub_backbone(text, preprocessing=None)


def test_without_keras_hub_one_sentence_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ImportError, match=r"pip install keras-epos\[hub\]"):
        EmbeddingModel("hf://facebook/dinov2-small", 3)
    with pytest.raises(ValueError, match=r"with `pip install keras-epos\[hub\]`, of a keras_hub preset"):
        EmbeddingModel("dinov2_small", 3)
