"""Backbones of keras_hub in training: what is adapted in low rank, and how deep their blocks lie."""

import keras
import numpy as np
import pytest
from hub_cases import SIZE, families

import keras_epos
from keras_epos import EmbeddingModel
from keras_epos.training import hub_backbone

IMAGES = np.random.default_rng(0).uniform(0, 255, (4, SIZE, SIZE, 3)).astype("float32")


def hub():
    return pytest.importorskip("keras_hub", reason="keras_hub is not installed: pip install keras-epos[hub]")


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def backbone_of(family):
    keras.utils.set_random_seed(0)
    preprocessing = keras.layers.Rescaling(1 / 127.5, -1)
    return hub_backbone(families(hub().models)[family](), preprocessing=preprocessing)


# Two blocks each, in which queries and values are projected apart (4) or by one kernel (2); SigLIP's head has attention
# of its own. Depths: blocks, and stages between them and before.
EXPECTED = {
    "ViT": (4, 3),
    "DeiT": (4, 3),
    "DINOv2": (4, 3),
    "DINOv3": (4, 3),
    "CLIP": (4, 3),
    "MetaCLIP 2": (4, 3),
    "SigLIP": (6, 4),
    "Swin": (2, 3),
    "ViTDet": (2, 3),
    "MiT": (4, 4),
}


@pytest.mark.parametrize("family", EXPECTED)
def test_every_family_of_transformers_is_adapted_in_all_its_blocks(family, tmp_path):
    num_adapters, num_depths = EXPECTED[family]
    model = EmbeddingModel(backbone_of(family), 3, lora=2)
    assert len(model.trainable_variables) == 2 * num_adapters + 2
    np.testing.assert_allclose(array(model.backbone(IMAGES)), array(backbone_of(family)(IMAGES)), rtol=1e-4, atol=1e-5)
    start = array(model(IMAGES))
    for weight in model.backbone.trainable_variables:
        weight.assign_add(np.random.default_rng(0).normal(size=weight.shape))
    adapted = array(model(IMAGES))
    assert np.abs(adapted - start).max() > 1e-3
    np.testing.assert_allclose(array(model.merged()(IMAGES)), adapted, atol=2e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(array(loaded(IMAGES)), adapted, atol=1e-6)
    assert len(loaded.trainable_variables) == 2 * num_adapters + 2
    assert [group.depth for group in model.depth_groups()] == list(range(1, num_depths + 1))


@pytest.mark.parametrize("family", ["ResNet", "DenseNet", "HGNetV2"])
def test_of_families_without_attention_nothing_would_be_adapted(family):
    with pytest.raises(ValueError, match="nothing of it would be trained"):
        EmbeddingModel(backbone_of(family), 3, lora=2)


def test_adapters_of_dinov3_learn():
    model = EmbeddingModel(backbone_of("DINOv3"), 3, lora=2)
    model.compile(keras.optimizers.Adam(0.1), loss=keras_epos.ContrastiveLoss(), layer_decay=0.75, run_eagerly=True)
    before = [array(one) for one in model.backbone.trainable_variables]
    model.fit(IMAGES, np.arange(4) % 2, epochs=2, verbose=0)
    for one, other in zip(before, model.backbone.trainable_variables, strict=True):
        assert np.abs(one - array(other)).max() > 1e-4
