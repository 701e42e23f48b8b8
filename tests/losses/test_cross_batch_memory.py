"""The memory against a loop over a list of what earlier batches left."""

import keras
import numpy as np
import pytest
from loss_cases import numpy, tensor

from keras_epos import losses, reference
from keras_epos._gradient import gradient
from keras_epos._pairs import products
from keras_epos.losses import CrossBatchMemory, _pair_loss, _strips
from keras_epos.losses._recording import recording

DIM, SIZE = 4, 10
RANDOM = np.random.default_rng(0)


def steps(number=5, size=6):
    """Batches of `(labels and ids, embeddings)`; samples come again in later batches, with other embeddings."""
    found = []
    for _ in range(number):
        ids = RANDOM.permutation(14)[:size]
        found.append((np.stack([ids % 3, ids], axis=1), RANDOM.standard_normal((size, DIM))))
    return found


STEPS = steps()


def adopted(loss, size=SIZE, **settings):
    made = CrossBatchMemory(loss, size, **settings)
    made.adopt(DIM)
    return made


def oracle(values_of_anchor, warm_up=0, memory_positives=True, batches=STEPS):
    """Loss of each step. `values_of_anchor(similarities of positives, of negatives) -> list of active terms`."""
    remembered, found = [], []
    for step, (rows, embeddings) in enumerate(batches):
        batch = [(label, name, unit) for (label, name), unit in zip(rows, reference.unit(embeddings), strict=True)]
        memory = remembered[-SIZE:] if step >= warm_up else []
        terms = []
        for label, name, unit in batch:
            references = batch + memory
            positives = [
                unit @ other
                for place, (other_label, other_name, other) in enumerate(references)
                if other_label == label and other_name != name and (memory_positives or place < len(batch))
            ]
            negatives = [unit @ other for other_label, _, other in references if other_label != label]
            if positives and negatives:
                terms += values_of_anchor(positives, negatives)
        found.append(sum(terms) / max(sum(term > 0 for term in terms), 1))
        remembered += batch
    return found


def contrastive(positives, negatives):
    return [max(0, 0.9 - s) for s in positives] + [max(0, s - 0.3) for s in negatives]


def easy_hard_triplet(positives, negatives):
    return [max(0, 2 * max(negatives) - 2 * max(positives) + 0.2)]


LOSSES = {
    "contrastive": (lambda: losses.ContrastiveLoss(0.9, 0.3, dtype="float64"), contrastive),
    "easy triplet": (
        lambda: losses.TripletLoss(0.2, positives="easy", negatives="hard", dtype="float64"),
        easy_hard_triplet,
    ),
}


@pytest.mark.parametrize("settings", [{}, {"warm_up_steps": 2}, {"memory_positives": False}])
@pytest.mark.parametrize("loss", [*LOSSES, "easy triplet in strips"])
def test_equals_a_loop_over_what_was_remembered(loss, settings, monkeypatch):
    made_products = []
    if loss.endswith(" in strips"):
        loss = loss.removesuffix(" in strips")
        monkeypatch.setattr(_pair_loss, "LARGE", 0)
        monkeypatch.setattr(_strips, "STRIP", 4)
        monkeypatch.setattr(_pair_loss, "products", lambda *sides: made_products.append(sides) or products(*sides))
    make, values_of_anchor = LOSSES[loss]
    made = adopted(make(), **settings)
    found = [float(numpy(made(rows, tensor(embeddings)))) for rows, embeddings in STEPS]
    expected = oracle(values_of_anchor, settings.get("warm_up_steps", 0), settings.get("memory_positives", True))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    # The memory makes a difference from the second step on.
    plain = [float(numpy(make()(rows[:, 0], tensor(embeddings)))) for rows, embeddings in STEPS]
    assert abs(np.array(found) - plain)[3:].min() > 1e-3
    assert {len(rows) for rows, _ in made_products} <= {4}


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_equals_central_differences_and_leaves_the_memory_alone(loss):
    make, _ = LOSSES[loss]
    made = adopted(make())
    for rows, embeddings in STEPS[:3]:
        made(rows, tensor(embeddings))
    (layer, *_) = made.adopt(DIM)
    before = [numpy(weight).copy() for weight in layer.weights]

    def value(embeddings):
        for weight, kept in zip(layer.weights, before, strict=True):
            weight.assign(kept)
        return float(numpy(made(rows, tensor(embeddings))))

    rows, embeddings = STEPS[3]
    expected = reference.numerical_gradient(value, embeddings)
    value(embeddings)
    for weight, kept in zip(layer.weights, before, strict=True):
        weight.assign(kept)
    found = numpy(gradient(lambda x: made(rows, x), tensor(embeddings)))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)
    assert found.any()


def test_an_earlier_embedding_of_the_anchor_is_no_positive_however_near():
    made = adopted(losses.NTXentLoss(0.1, positives="easy", negatives="hard", dtype="float64"))
    rows = np.array([[0, 7], [0, 8], [1, 9]])
    first = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])
    made(rows, tensor(first))
    again = np.array([[1.0, 0, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0]])
    result = made.result(rows, tensor(again))
    # Nearest of class 0 for row 0 is its own copy (1.0), then row 1 today (0.6); for row 1 it is row 0 (0.6).
    assert float(numpy(result.statistics["positive_similarity"])) == pytest.approx(0.6)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("memory_positives", [True, False])
def test_a_sample_that_stands_in_a_batch_twice_is_not_its_own_positive(memory_positives, training):
    rows, embeddings = np.array([[0, 7], [0, 7], [1, 9], [1, 8]]), np.eye(4)
    embeddings[0, 1] = 1.0  # Seen twice, a sample need not look the same.

    def values(embeddings):
        made = adopted(losses.ContrastiveLoss(reduction=None, dtype="float64"), memory_positives=memory_positives)
        return made.result(rows, embeddings, training).values

    # One positive at a right angle for each of the last two; the first two have none.
    np.testing.assert_allclose(numpy(values(tensor(embeddings))), [0, 0, 1, 1], rtol=1e-12)
    slope = numpy(gradient(lambda x: keras.ops.sum(values(x)), tensor(embeddings)))
    np.testing.assert_allclose(slope, [[0] * 4, [0] * 4, [0, 0, 0, -2], [0, 0, -2, 0]], atol=1e-12)


def test_ring_wraps_and_a_batch_may_be_larger_than_the_memory():
    made = adopted(losses.ContrastiveLoss(dtype="float64"), size=4)
    (layer, *_) = made.adopt(DIM)
    stored = {weight.name: weight for weight in layer.weights}
    for rows, embeddings in STEPS[:2]:
        made(rows, tensor(embeddings))
    assert sorted(numpy(stored["ids"]).tolist()) == sorted(STEPS[1][0][-4:, 1].tolist())
    places = [STEPS[1][0][:, 1].tolist().index(name) for name in numpy(stored["ids"])]
    np.testing.assert_array_equal(numpy(stored["labels"]), STEPS[1][0][places, 0])
    np.testing.assert_allclose(numpy(stored["embeddings"]), STEPS[1][1][places], rtol=1e-12)
    result = made.result(STEPS[2][0][:3], tensor(STEPS[2][1][:3]))
    kept = {*STEPS[2][0][:3, 1].tolist()}
    assert kept <= set(numpy(stored["ids"]).tolist())
    assert float(numpy(result.statistics["memory_filled"])) == 1


def test_rows_that_are_not_finite_are_not_remembered():
    made = adopted(losses.ContrastiveLoss())
    rows, embeddings = STEPS[0]
    broken = embeddings.copy()
    broken[2, 1] = np.nan
    made(rows, tensor(broken, "float32"))
    value = made(*[STEPS[1][0], tensor(STEPS[1][1], "float32")])
    slope = gradient(lambda x: made(STEPS[1][0], x), tensor(STEPS[1][1], "float32"))
    assert np.isfinite(numpy(value))
    assert np.isfinite(numpy(slope)).all()
    result = made.result(STEPS[1][0], tensor(STEPS[1][1], "float32"), training=False)
    assert float(numpy(result.statistics["memory_filled"])) == 1


def test_evaluation_looks_at_the_batch_alone_and_remembers_nothing():
    make, _ = LOSSES["contrastive"]
    made = adopted(make())
    made(STEPS[0][0], tensor(STEPS[0][1]))
    rows, embeddings = STEPS[1]
    expected = numpy(make()(rows[:, 0], tensor(embeddings)))
    with recording(training=False):
        assert numpy(made(rows, tensor(embeddings))) == expected
        assert numpy(made(rows[:, 0], tensor(embeddings))) == expected
    result = made.result(rows, tensor(embeddings), training=False)
    assert numpy(result.reduced()) == expected
    assert float(numpy(result.statistics["memory_filled"])) == pytest.approx(0.6)


def test_rows_of_labels():
    def make(**settings):
        loss = losses.ContrastiveLoss(0.9, 0.3, same_class="share_a_label", dtype="float64")
        return adopted(loss, **settings)

    many, one = make(label_dim=3), adopted(losses.ContrastiveLoss(0.9, 0.3, dtype="float64"))
    for rows, embeddings in STEPS:
        hot = np.concatenate([np.eye(3, dtype=int)[rows[:, 0]], rows[:, 1:]], axis=1)
        assert numpy(many(hot, tensor(embeddings))) == pytest.approx(numpy(one(rows, tensor(embeddings))))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "triplet"}, "`loss` must be a keras_epos pair loss"),
        ({"size": 0}, "`size` must be an integer of at least 1"),
        ({"warm_up_steps": -1}, "`warm_up_steps` must be an integer of at least 0"),
    ],
)
def test_arguments_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        CrossBatchMemory(**{"loss": losses.TripletLoss(), "size": 8, **settings})


def test_what_a_peer_takes_by_position_is_not_taken_for_something_else():
    with pytest.raises(TypeError, match="positional arguments"):
        CrossBatchMemory(losses.TripletLoss(), 64, 1024)


def test_ids_are_asked_for():
    made = adopted(losses.TripletLoss())
    with pytest.raises(ValueError, match="must hold sample ids beside the labels"):
        made(np.zeros(4, int), np.ones((4, DIM), "float32"))
    with pytest.raises(ValueError, match=r"of shape \(batch, 2\)"):
        made(np.zeros((4, 3), int), np.ones((4, DIM), "float32"))


# --- in a model ---


def model_and_data(loss, jit_compile="auto"):
    import keras_epos

    keras.utils.set_random_seed(0)
    model = keras_epos.EmbeddingModel(keras.Sequential([keras.Input((5,)), keras.layers.Dense(6)]), DIM)
    model.compile(keras.optimizers.Adam(1e-2), loss=loss, jit_compile=jit_compile)
    inputs = np.random.default_rng(1).standard_normal((24, 5)).astype("float32")
    return model, inputs, np.stack([np.arange(24) % 4, np.arange(24)], axis=1)


@pytest.mark.parametrize("inner", ["triplet", "margin with a boundary"])
def test_saved_and_resumed_exactly(inner, tmp_path):
    def make():
        if inner == "triplet":
            return CrossBatchMemory(losses.EasyPositiveTripletLoss(), 20)
        return CrossBatchMemory(losses.MarginLoss(learn_boundary="global", negatives="hard"), 20)

    model, inputs, labels = model_and_data(make())
    fit = {"batch_size": 8, "epochs": 1, "shuffle": False, "verbose": 0}
    logs = model.fit(inputs, labels, **fit).history
    assert logs["memory_filled"][0] == pytest.approx((8 + 16 + 20) / 3 / 20)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.loss.get_config() == model.loss.get_config()
    uninterrupted, resumed = model.fit(inputs, labels, **fit).history, again.fit(inputs, labels, **fit).history
    assert resumed["memory_filled"] == [1]
    assert resumed["loss"] == pytest.approx(uninterrupted["loss"], rel=1e-6)
    value = model.evaluate(inputs, labels, batch_size=24, verbose=0, return_dict=True)["loss"]
    assert again.evaluate(inputs, labels[:, 0], batch_size=24, verbose=0, return_dict=True)["loss"] == pytest.approx(
        value, rel=1e-5
    )


@pytest.mark.backend("tensorflow", reason="jit_compile")
def test_xla_equals_the_graph():
    found = []
    for jit_compile in (False, True):
        model, inputs, labels = model_and_data(CrossBatchMemory(losses.TripletLoss(positives="easy"), 20), jit_compile)
        found.append(model.fit(inputs, labels, batch_size=8, epochs=3, shuffle=False, verbose=0).history["loss"])
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_a_plain_model_refuses_it():
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(DIM)])
    model.compile("sgd", loss=CrossBatchMemory(losses.TripletLoss(), 8))
    with pytest.raises(ValueError, match="EmbeddingModel"):
        model.fit(np.ones((4, 5), "float32"), np.zeros((4, 2), int), verbose=0)
