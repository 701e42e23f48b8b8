import ast
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_epos.data import _images as module
from keras_epos.data._images import decode_and_resize, image_batches, image_loader, random_crop, random_flip


def encoded(height=20, width=30, channels=3, kind="png"):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return pixels, getattr(tf.io, f"encode_{kind}")(pixels)


def test_evaluation_path_is_exact_where_nothing_is_resized():
    pixels, contents = encoded()
    result = decode_and_resize(contents, (20, 30))
    assert result.dtype == tf.float32
    np.testing.assert_array_equal(result, pixels)


def test_evaluation_path_averages_and_stays_in_range():
    comb = np.where(np.arange(64) % 8 == 0, 255, 0).astype(np.uint8)  # one bright column in eight
    contents = tf.io.encode_png(np.broadcast_to(comb[None, :, None], (64, 64, 3)))
    small = decode_and_resize(contents, 8).numpy()
    assert small.shape == (8, 8, 3)
    np.testing.assert_allclose(small[:, 1:-1], 255 / 8, atol=1)  # without antialiasing 0
    assert small.min() >= 0
    assert small.max() <= 255


@pytest.mark.parametrize(("channels", "kind"), [(1, "png"), (4, "png"), (1, "jpeg"), (3, "jpeg")])
def test_every_kind_becomes_rgb(channels, kind):
    _, contents = encoded(channels=channels, kind=kind)
    image = decode_and_resize(contents, (10, 15)).numpy()
    assert image.shape == (10, 15, 3)
    if channels == 1:
        np.testing.assert_array_equal(image[..., 0], image[..., 2])


def test_animations_give_their_first_frame():
    gif = bytes.fromhex("47494638396101000100800000ff0000ffffff21f90400000000002c00000000010001000002024401003b")
    np.testing.assert_array_equal(decode_and_resize(gif, 2), np.full((2, 2, 3), (255, 0, 0)))


def test_evaluation_path_lives_in_a_saved_model(tmp_path):
    exported = tf.Module()
    exported.decode = tf.function(
        lambda batch: tf.map_fn(lambda c: decode_and_resize(c, 6), batch, fn_output_signature="float32"),
        input_signature=[tf.TensorSpec((None,), tf.string)],
    )
    tf.saved_model.save(exported, str(tmp_path))
    _, contents = encoded()
    served = tf.saved_model.load(str(tmp_path)).decode(tf.stack([contents, contents]))
    np.testing.assert_array_equal(served[1], decode_and_resize(contents, 6))


def test_load_image_takes_paths_and_contents(tmp_path):
    for kind in ("jpeg", "png"):
        _, contents = encoded(kind=kind)
        path = tmp_path / f"ä {kind}"
        path.write_bytes(contents.numpy())
        expected = decode_and_resize(contents, 7)
        np.testing.assert_array_equal(image_loader(7)(str(path)), expected)
        np.testing.assert_array_equal(image_loader(7)(contents), expected)


def test_crop_follows_its_seed_scale_and_ratio():
    image = tf.constant(encoded(100, 150)[0])
    crop = random_crop(scale=(0.1, 0.5), ratio=(0.5, 2.0))
    shapes = []
    for number in range(50):
        piece = crop(image, seed=(number, 1))
        np.testing.assert_array_equal(piece, crop(image, seed=(number, 1)))
        shapes.append(piece.shape[:2])
    area = np.prod(shapes, axis=1) / 15_000
    ratio = np.array([width / height for height, width in shapes])
    assert 0.08 < area.min() < 0.2
    assert 0.4 < area.max() < 0.52
    assert 0.48 < ratio.min() < 0.8
    assert 1.25 < ratio.max() < 2.1


def test_flip_mirrors_half_of_the_images():
    image = tf.constant(encoded()[0])
    mirrored = [bool(tf.reduce_all(random_flip()(image, seed=(n, 5)) == image[:, ::-1])) for n in range(60)]
    assert 15 < sum(mirrored) < 45


def test_augmentations_draw_independently_and_by_the_seed():
    _, contents = encoded()
    load = image_loader(9, augment="crop_flip")
    first = load(contents, seed=(1, 2))
    np.testing.assert_array_equal(first, load(contents, seed=(1, 2)))
    assert not np.array_equal(first, load(contents, seed=(1, 3)))
    assert not np.array_equal(load(contents), load(contents))  # without a seed: at random
    seeds = []
    both = [lambda image, seed: seeds.append(seed) or image] * 2
    image_loader(9, augment=both)(contents, seed=(1, 2))
    assert not np.array_equal(*seeds)


def test_layers_see_the_resized_image_in_training_mode():
    _, contents = encoded()
    plain = image_loader(8)(contents)
    layer = keras.layers.RandomBrightness((0.5, 0.5), value_range=(0, 255), seed=1)
    expected = np.clip(plain.numpy() + 127.5, 0, 255)
    np.testing.assert_allclose(image_loader(8, layers=[layer])(contents), expected, atol=1e-3)
    own = image_loader(8, augment=[lambda image: image[:, ::-1]])(contents)
    np.testing.assert_allclose(own, plain[:, ::-1], atol=1e-3)
    with pytest.raises(ValueError, match="augment='crop'"):
        image_loader(8, augment="crop")


def test_image_batches_keep_the_order(tmp_path, write_image):
    paths = [write_image(tmp_path / f"{i}.jpg", seed=i) for i in range(70)]
    batches = image_batches(paths, 8, batch_size=32)
    assert batches.options().autotune.enabled is False  # see `without_tuning`
    batches = list(batches)
    assert [batch.shape[0] for batch in batches] == [32, 32, 6]
    load = image_loader(8)
    np.testing.assert_array_equal(np.concatenate(batches), [load(path) for path in paths])
    dataset = image_batches(paths, 8, 32, labels=np.arange(70) + 2**53)
    assert dataset.cardinality() == 3
    assert np.concatenate([y for _, y in dataset]).tolist() == list(range(2**53, 2**53 + 70))


def test_image_batches_name_a_damaged_file(tmp_path, write_image):
    paths = [write_image(tmp_path / f"{i}.jpg", seed=i) for i in range(5)]
    Path(paths[3]).write_bytes(b"<html>not found</html>")
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"3\.jpg"):
        list(image_batches(paths, 8))


def test_importing_needs_no_tensorflow():
    for file in Path(module.__file__).parent.rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        names = [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)]
        assert not any(name.split(".")[0] in ("tensorflow", "scipy", "PIL") for name in names), file


def test_real_photographs(real_data):
    folder = real_data("cars196") / "cars_train"
    paths = sorted(str(path) for path in folder.glob("*.jpg"))[:20]
    images = next(iter(image_batches(paths, 160, batch_size=20)))
    assert images.shape == (20, 160, 160, 3)
    assert 60 < float(tf.reduce_mean(images)) < 190
