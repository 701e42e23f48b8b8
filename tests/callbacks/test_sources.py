"""What callbacks take as images and labels, how much of it they read at once, and what they refuse."""

import keras
import numpy as np
import pytest

from keras_epos import CollapseMonitor, HierarchyRebuild, RecallAtK, retrieval

RNG = np.random.default_rng(0)
LABELS = np.arange(30) % 3
IMAGES = RNG.normal(size=(30, 5)).astype(np.float32)


@pytest.fixture
def model():
    return keras.Sequential([keras.Input((5,)), keras.layers.Dense(4)])


class OnDisk:
    """Indexed like an array, as an h5py data set is; remembers the most rows that were read at once."""

    def __init__(self, images):
        self.images, self.shape, self.dtype, self.most = images, images.shape, images.dtype, 0

    def __len__(self):
        return len(self.images)

    def __getitem__(self, rows):
        block = self.images[rows]
        self.most = max(self.most, len(block))
        return block


class MapStyle:
    """One image an index, as a PyTorch data set is."""

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, index):
        if not isinstance(index, int):
            raise TypeError(f"one index at a time, not {index!r}")
        return IMAGES[index].tolist()


def test_what_is_no_array_in_memory_is_read_in_blocks(model, tmp_path):
    expected = RecallAtK(IMAGES, LABELS, k=(1, 2)).evaluate(model)
    on_disk = OnDisk(IMAGES)
    assert RecallAtK(on_disk, LABELS, k=(1, 2), batch_size=7).evaluate(model) == expected
    assert on_disk.most == 7
    assert RecallAtK(MapStyle(), LABELS, k=(1, 2), batch_size=7).evaluate(model) == expected
    np.save(tmp_path / "images.npy", IMAGES)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert RecallAtK(mapped, LABELS, k=(1, 2), batch_size=7).evaluate(model) == expected


def test_h5py(model, tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "images.h5", "w") as file:
        images = file.create_dataset("images", data=IMAGES)
        expected = RecallAtK(IMAGES, LABELS, k=1).evaluate(model)
        assert RecallAtK(images, LABELS, k=1, batch_size=7).evaluate(model) == expected
        assert RecallAtK(images, LABELS, k=1)._queries.sample(8).shape == (8, 5)


def test_several_inputs_as_a_list_a_tuple_or_a_dictionary():
    first, second = keras.Input((5,), name="first"), keras.Input((5,), name="second")
    model = keras.Model({"first": first, "second": second}, keras.layers.Dense(4)(first - 2 * second))
    images = {"first": IMAGES, "second": IMAGES[::-1]}
    expected = retrieval.evaluate(model.predict(images, verbose=0), LABELS, k=1)
    assert RecallAtK(images, LABELS, k=1).evaluate(model) == expected
    listed = keras.Model([first, second], model.outputs[0])
    for parts in ([IMAGES, IMAGES[::-1]], (IMAGES, IMAGES[::-1])):
        assert RecallAtK(parts, LABELS, k=1).evaluate(listed) == expected
    # Thirty images in a list stay thirty images.
    single = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4)])
    assert RecallAtK([*IMAGES], LABELS, k=1).evaluate(single) == RecallAtK(IMAGES, LABELS, k=1).evaluate(single)


@pytest.mark.backend("tensorflow", reason="only TensorFlow has strings")
def test_strings_are_taken_as_they_come():
    texts = np.array(["red car", "red cars", "blue bus", "blue buses"])
    layers = [
        keras.Input((), dtype="string"),
        keras.layers.TextVectorization(vocabulary=["red", "blue", "car", "cars", "bus", "buses"]),
        keras.layers.Embedding(9, 64),
        keras.layers.GlobalAveragePooling1D(),
    ]
    model = keras.Sequential(layers)
    labels = np.array(["car", "car", "bus", "bus"])
    expected = RecallAtK(texts.astype(object), labels, k=1).evaluate(model)
    assert expected["recall@1"] == 1.0
    for images in (texts, texts.astype("S"), texts.tolist(), OnDisk(texts)):
        for kind in (labels, labels.astype("S"), labels.astype(object), labels.tolist()):
            assert RecallAtK(images, kind, k=1, batch_size=3).evaluate(model) == expected


def test_labels_and_ids_are_copied(model):
    labels, ids, modes = LABELS.copy(), np.arange(30), np.arange(30) % 6
    callback = RecallAtK(IMAGES, labels, k=1, ids=ids)
    monitor = CollapseMonitor(IMAGES, labels, modes)
    expected = callback.evaluate(model), monitor.measure(model)
    labels[:], ids[:], modes[:] = labels[::-1].copy() // 2, 0, 0
    assert (callback.evaluate(model), monitor.measure(model)) == expected


def test_the_cameras_of_a_gallery(model):
    """Of the same person, what the query's own camera took is left out: ids that join the two."""
    persons, cameras = LABELS, RNG.integers(0, 2, 30)
    ids = persons * 2 + cameras
    embeddings = model.predict(IMAGES, verbose=0)
    arguments = {"k": (1, 2), "ids": ids[:10], "gallery_ids": ids[10:]}
    callback = RecallAtK(IMAGES[:10], persons[:10], gallery=(IMAGES[10:], persons[10:]), **arguments)
    expected = retrieval.evaluate(embeddings[:10], persons[:10], embeddings[10:], persons[10:], **arguments)
    assert callback.evaluate(model) == expected
    similarity = embeddings[:10] @ embeddings[10:].T
    similarity /= np.linalg.norm(embeddings[:10], axis=1)[:, None] * np.linalg.norm(embeddings[10:], axis=1)
    similarity[ids[:10, None] == ids[None, 10:]] = -np.inf
    nearest = similarity.argmax(axis=1)
    assert expected["recall@1"] == np.mean(persons[10:][nearest] == persons[:10])


def test_measures_of_whole_lists_by_cameras_reach_the_logs(model):
    named = {
        "k": (1, 2),
        "metrics": ("map@k", "recall", "map", "minp", "map@r"),
        "cameras": np.arange(10) % 2,
        "gallery_cameras": np.arange(10, 30) % 2,
    }
    callback = RecallAtK(IMAGES[:10], LABELS[:10], gallery=(IMAGES[10:], LABELS[10:]), **named)
    model.compile("sgd", loss="sparse_categorical_crossentropy")
    history = model.fit(IMAGES, LABELS, epochs=1, verbose=0, callbacks=[callback]).history
    rows = model.predict(IMAGES, verbose=0)
    expected = retrieval.evaluate(rows[:10], LABELS[:10], rows[10:], LABELS[10:], **named)
    names = ["map@1", "map@2", "recall@1", "recall@2", "map", "minp", "map@r"]
    assert [name for name in history if name != "loss"] == [f"val_{name}" for name in names]
    assert callback.history[-1] == {"epoch": 0, **expected}
    assert callback.judged_by == "map@1"
    # What cannot be known before the labels come is refused with them.
    late = RecallAtK(Counted(), k=1, cameras=np.arange(29))
    with pytest.raises(ValueError, match="`cameras` must have one entry for each of 30 rows"):
        late.evaluate(model)


class Endless(keras.utils.PyDataset):
    def __getitem__(self, index):
        return IMAGES, LABELS


class Counted(Endless):
    num_batches = 1


def test_batches_of_a_py_dataset_are_counted_as_keras_does(model):
    assert RecallAtK(Counted(), k=1).evaluate(model) == RecallAtK(IMAGES, LABELS, k=1).evaluate(model)


TEN = {"gallery": (IMAGES[:10], LABELS[:10])}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": (0,)}, "`k` must be an integer of at least 1. Received: k=0"),
        ({"k": 1.0}, r"`k` must be an integer of at least 1. Received: k=1\.0"),
        ({"k": "1"}, "`k` must be an integer of at least 1. Received: k='1'"),
        ({"k": ()}, "one or more positive integers"),
        ({"k": (1, 30)}, "at most the number of references of a query, 29 here"),
        ({"k": 11, **TEN}, "at most the number of references of a query, 10 here"),
        ({"metrics": ("recal",)}, "Did you mean 'recall'"),
        ({"metrics": ()}, "`metrics` must be some of"),
        ({"labels": np.arange(30)}, "at least one query a reference of its class"),
        ({"labels": LABELS, "gallery": (IMAGES, LABELS + 3)}, "Check that both come from the same classes"),
        ({"labels": LABELS + 0.5}, "integers or strings.*with fractions"),
        ({"labels": np.eye(3)[LABELS]}, r"argmax\(axis=1\)"),
        ({"ids": np.arange(29)}, "`ids` must have one entry for each of 30 rows"),
        ({"ids": np.zeros(30, int)}, "`ids` must have one label each"),
        ({"ids": LABELS}, "at least one query a reference of its class"),
        ({"ids": np.arange(30), **TEN}, "`ids` must come with `gallery_ids`"),
        ({"gallery_ids": np.arange(10), **TEN}, "`gallery_ids` must come with a gallery and `ids`"),
        ({"cameras": LABELS, "ids": LABELS}, "`ids` must be left out with `cameras`"),
        ({"cameras": LABELS}, "at least one query a reference of its class"),
        ({"cameras": LABELS, **TEN}, "`gallery_cameras` must come with `cameras`"),
        ({"metrics": "mAP"}, "Did you mean 'map'"),
        ({"every": 1.5}, r"every=1\.5"),
        ({"every": True}, "every=True"),
        ({"batch_size": 2.0}, r"batch_size=2\.0"),
        ({"images": keras.Sequential()}, "Received: a model. A callback gets its model from `fit`"),
        ({"images": 5}, "`images` must be an array"),
        ({"images": Endless(), "labels": None}, "a PyDataset without length"),
        ({"images": IMAGES[:20]}, "30 labels for"),
        ({"prefix": None}, "`prefix` must be a string"),
    ],
)
def test_what_is_known_at_construction_is_refused_there(arguments, message):
    with pytest.raises(ValueError, match=message):
        RecallAtK(**{"images": IMAGES, "labels": LABELS, **arguments})


def test_an_integer_may_be_one_of_numpy(model):
    callback = RecallAtK(IMAGES, LABELS, k=np.array([1, 2]), every=np.int64(1), batch_size=np.int32(8))
    assert callback.evaluate(model) == RecallAtK(IMAGES, LABELS, k=(1, 2)).evaluate(model)
    HierarchyRebuild(IMAGES, LABELS, warm_up_epochs=np.int64(1))


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (CollapseMonitor, {"every": 1.5}, r"every=1\.5"),
        (CollapseMonitor, {"rank_share": True}, "rank_share=True"),
        (CollapseMonitor, {"rank_share": "0.5"}, "rank_share='0.5'"),
        (CollapseMonitor, {"labels": np.arange(30)}, "Received: 30 classes, the largest of 1"),
        (CollapseMonitor, {"labels": np.zeros(30, int)}, "Received: 1 class"),
        (CollapseMonitor, {"modes": LABELS[:4]}, "`modes` must have one entry for each of 30 rows"),
        (HierarchyRebuild, {"labels": LABELS.astype(str)}, "`labels` must be integers"),
        (HierarchyRebuild, {"warm_up_epochs": 1.0}, r"warm_up_epochs=1\.0"),
        (HierarchyRebuild, {"every": True}, "every=True"),
    ],
)
def test_the_other_callbacks_refuse_at_construction_too(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**{"images": IMAGES, "labels": LABELS, **arguments})


def test_batches_tell_what_is_wrong_before_the_first_epoch(model):
    model.compile("sgd", loss="mse")

    class Alone(Counted):
        def __getitem__(self, index):
            return IMAGES

    class Nothing(Counted):
        num_batches = 0

    for batches, message in ((Alone(), "`labels` must be given when the batches"), (Nothing(), "an empty data set")):
        for baseline in (True, False):
            callback = RecallAtK(batches, baseline=baseline)
            callback.set_model(model)
            with pytest.raises(ValueError, match=message):
                callback.on_train_begin()


def test_a_callback_among_the_metrics_is_told_its_place(model):
    model.compile("sgd", loss="mse", metrics=[RecallAtK(IMAGES, LABELS)])
    with pytest.raises(ValueError, match=r"RecallAtK, a callback: pass it to fit\(callbacks="):
        model.fit(IMAGES, IMAGES[:, :4], verbose=0)
