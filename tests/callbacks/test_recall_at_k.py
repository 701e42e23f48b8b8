"""RecallAtK in `fit`: values, sources of images, the callbacks around it, and wrong use."""

import warnings

import keras
import numpy as np
import pytest

from keras_epos import RecallAtK, retrieval

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(30, 5)).astype(np.float32)
LABELS = np.arange(30) % 3
TRAIN = {"x": IMAGES, "y": LABELS, "epochs": 2, "verbose": 0, "batch_size": 10}
K = (1, 2)


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dropout(0.5), keras.layers.Dense(4)])
    model.compile("sgd", loss="sparse_categorical_crossentropy")
    return model


def test_values_reach_the_logs_and_are_those_of_evaluate(model):
    callback = RecallAtK(IMAGES, LABELS, k=K)
    history = model.fit(**TRAIN, callbacks=[callback])
    expected = retrieval.evaluate(model.predict(IMAGES, verbose=0), LABELS, k=K)
    assert expected.pop("queries_without_match") == 0
    for name, value in expected.items():
        assert history.history[f"val_{name}"][-1] == value
    assert set(history.history) == {"loss", *(f"val_{name}" for name in expected)}
    assert callback.history[-1] == {"epoch": 1, "queries_without_match": 0, **expected}
    assert history is model.history


def test_measuring_does_not_change_training(model):
    model.fit(**TRAIN, callbacks=[RecallAtK(IMAGES, LABELS)])
    measured = model.get_weights()
    keras.utils.set_random_seed(0)
    model = keras.models.clone_model(model)
    model.compile("sgd", loss="sparse_categorical_crossentropy")
    model.fit(**TRAIN)
    for weight, expected in zip(measured, model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return IMAGES[index::3], LABELS[index::3]


def datasets():
    tf = pytest.importorskip("tensorflow")
    pairs = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS.astype(np.int64)))
    yield pairs.batch(7), None
    yield pairs.shuffle(30).batch(30), None
    yield pairs.batch(7).map(lambda x, y: x), LABELS
    yield pairs.batch(7).map(lambda x, y: (x, tf.strings.as_string(y))), None
    yield pairs.batch(7).map(lambda x, y: (x, y, tf.ones_like(y))), None
    yield Batches(), None
    yield IMAGES.tolist(), LABELS.tolist()


def test_every_source_gives_the_same_values(model):
    expected = RecallAtK(IMAGES, LABELS, k=K).evaluate(model)
    for images, labels in datasets():
        assert RecallAtK(images, labels, k=K).evaluate(model) == expected
    assert RecallAtK(IMAGES, LABELS, k=K, batch_size=4).evaluate(model) == expected


def test_gallery(model):
    embeddings = model.predict(IMAGES, verbose=0)
    expected = retrieval.evaluate(embeddings[:9], LABELS[:9], embeddings[9:], LABELS[9:], k=K)
    pair = (IMAGES[9:], LABELS[9:])
    assert RecallAtK(IMAGES[:9], LABELS[:9], k=K, gallery=pair).evaluate(model) == expected
    tf = pytest.importorskip("tensorflow")
    batches = tf.data.Dataset.from_tensor_slices(pair).batch(4)
    assert RecallAtK(IMAGES[:9], LABELS[:9], k=K, gallery=batches).evaluate(model) == expected


def test_several_labels_an_image(model):
    labels = np.random.default_rng(1).integers(0, 2, size=(30, 4))
    shared = {"k": K, "same_class": "share_a_label"}
    expected = retrieval.evaluate(model.predict(IMAGES, verbose=0), labels, **shared)
    assert RecallAtK(IMAGES, labels, **shared).evaluate(model) == expected
    assert RecallAtK(IMAGES.tolist(), labels.tolist(), **shared).evaluate(model) == expected
    tf = pytest.importorskip("tensorflow")
    batches = tf.data.Dataset.from_tensor_slices((IMAGES, labels)).batch(7)
    assert RecallAtK(batches, **shared).evaluate(model) == expected
    embeddings = model.predict(IMAGES, verbose=0)
    expected = retrieval.evaluate(embeddings, labels, embeddings, labels, **shared)
    assert RecallAtK(IMAGES, labels, gallery=batches, **shared).evaluate(model) == expected


def test_initial_and_skipped_epochs(model):
    callback = RecallAtK(IMAGES, LABELS, k=1, metrics="recall", every=3, prefix="")
    history = model.fit(**TRAIN | {"epochs": 5}, callbacks=[callback])
    assert set(callback.baseline["start"]) == {"recall@1", "queries_without_match"}
    assert [entry["epoch"] for entry in callback.history] == [0, 2, 4]
    first, third, fifth = (entry["recall@1"] for entry in callback.history)
    assert history.history["recall@1"] == [first, first, third, third, fifth]


def test_the_callbacks_behind_it_see_it(model, tmp_path):
    seen = []
    values = iter([0.2, 0.8, 0.5, 0.4, 0.3])
    callback = RecallAtK(IMAGES, LABELS, k=1, metrics="recall", baseline=False)
    callback.evaluate = lambda model: {"recall@1": next(values), "queries_without_match": 0}
    path = str(tmp_path / "{epoch}-{val_recall@1:.1f}.keras")
    callbacks = [
        callback,
        keras.callbacks.ModelCheckpoint(path, monitor="val_recall@1", mode="max", save_best_only=True),
        keras.callbacks.EarlyStopping(monitor="val_recall@1", mode="max", patience=2),
        keras.callbacks.CSVLogger(str(tmp_path / "log.csv")),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs["val_recall@1"])),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.fit(**TRAIN | {"epochs": 5}, callbacks=callbacks)
    assert sorted(path.name for path in tmp_path.glob("*.keras")) == ["1-0.2.keras", "2-0.8.keras"]
    assert seen == [0.2, 0.8, 0.5, 0.4]
    assert "val_recall@1" in (tmp_path / "log.csv").read_text().splitlines()[0]


def test_the_progress_line_shows_it(model, capsys):
    model.fit(**TRAIN | {"verbose": 2}, callbacks=[RecallAtK(IMAGES, LABELS)])
    assert "val_recall@1: 0." in capsys.readouterr().out


@pytest.mark.parametrize(
    "neighbor",
    [
        lambda path: keras.callbacks.ModelCheckpoint(f"{path}/m.keras", monitor="val_recall@1", mode="max"),
        lambda path: keras.callbacks.EarlyStopping(monitor="val_map@r", mode="max"),
        lambda path: keras.callbacks.ReduceLROnPlateau(monitor="val_r_precision", mode="max"),
        lambda path: keras.callbacks.CSVLogger(f"{path}/log.csv"),
    ],
)
def test_a_callback_that_stands_before_it_is_told(model, tmp_path, neighbor):
    other = neighbor(tmp_path)
    with pytest.warns(UserWarning, match=f"{type(other).__name__} stands before RecallAtK.*Put RecallAtK first"):
        model.fit(**TRAIN, callbacks=[other, RecallAtK(IMAGES, LABELS)])


def test_a_callback_of_other_values_may_stand_before_it(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.fit(**TRAIN, callbacks=[keras.callbacks.EarlyStopping("loss"), RecallAtK(IMAGES, LABELS)])


def test_a_mode_that_prefers_less_is_told(model):
    stopping = keras.callbacks.EarlyStopping(monitor="val_recall@1", mode="min")
    with pytest.warns(UserWarning, match='mode="min", but more is better.*mode="max"'):
        model.fit(**TRAIN, callbacks=[RecallAtK(IMAGES, LABELS), stopping])
    # Keras 3.15 refuses to guess; ours is the earlier word, before an epoch is lost.
    stopping = keras.callbacks.EarlyStopping(monitor="val_recall@1")
    with (
        pytest.warns(UserWarning, match='mode="auto", but more is better'),
        pytest.raises(ValueError, match="mode='max'"),
    ):
        model.fit(**TRAIN, callbacks=[RecallAtK(IMAGES, LABELS), stopping])


def test_images_without_match_are_told_once(model):
    labels = np.where(np.arange(30) < 2, [100, 101] * 15, LABELS)
    with pytest.warns(UserWarning, match="2 images have no other image of their class") as caught:
        model.fit(**TRAIN, callbacks=[RecallAtK(IMAGES, labels)])
    # PyTorch's tensors make NumPy 2 warn of its own deprecations as well.
    assert len([one for one in caught if one.category is UserWarning]) == 1


def test_outputs_that_are_no_embeddings_are_refused():
    maps = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 3)])
    with pytest.raises(ValueError, match="`model` must return one embedding"):
        RecallAtK(np.zeros((4, 4, 4, 1)), [0, 0, 1, 1], k=1).evaluate(maps)
    inputs = keras.Input((5,))
    two = keras.Model(inputs, {"a": inputs, "b": inputs})
    with pytest.raises(ValueError, match="`output` must say which"):
        RecallAtK(IMAGES, LABELS).evaluate(two)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": IMAGES}, "`labels` must be given"),
        ({"images": IMAGES, "labels": LABELS[:4]}, "4 labels for"),
        ({"images": iter([IMAGES]), "labels": LABELS}, "`images` must give its batches again"),
        ({"images": IMAGES, "labels": LABELS, "every": 0}, "`every` must be an integer of at least 1"),
        ({"images": IMAGES, "labels": LABELS, "gallery": (IMAGES,)}, "`gallery` must be"),
        ({"images": IMAGES, "labels": LABELS, "same_class": "genus"}, "`same_class` must be one of"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        RecallAtK(**arguments)


def test_data_sets_that_cannot_serve_are_refused(model):
    tf = pytest.importorskip("tensorflow")
    pairs = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(5)
    with pytest.raises(ValueError, match="Remove its `repeat"):
        RecallAtK(pairs.repeat())
    with pytest.raises(ValueError, match="`labels` must be given when the batches hold images alone"):
        RecallAtK(pairs.map(lambda x, y: x)).evaluate(model)
    with pytest.raises(ValueError, match="an empty data set"):
        RecallAtK(pairs.take(0)).evaluate(model)
