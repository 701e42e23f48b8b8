"""The losses of tensorflow-addons: equal to the original, see tools/peers, and defined where it is not."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

import keras_epos
from keras_epos._gradient import gradient
from keras_epos.compat import tfa

BACKEND = keras.backend.backend()
GOLDEN = json.loads((Path(__file__).parent / "golden" / "tfa.json").read_text())
CLASSES = {
    "triplet_semihard_loss": tfa.TripletSemiHardLoss,
    "triplet_hard_loss": tfa.TripletHardLoss,
    "lifted_struct_loss": tfa.LiftedStructLoss,
    "npairs_loss": tfa.NpairsLoss,
    "npairs_multilabel_loss": tfa.NpairsMultilabelLoss,
    "contrastive_loss": tfa.ContrastiveLoss,
}


@keras.saving.register_keras_serializable(package="test_tfa")
def manhattan(rows):
    return ops.sum(ops.abs(rows[:, None] - rows[None]), axis=-1)


def numpy(tensor):
    return np.asarray(ops.convert_to_numpy(ops.cast(tensor, "float32")))


def tensor(values, dtype="float32"):
    return ops.cast(ops.convert_to_tensor(np.asarray(values, dtype="float32")), dtype)


def settings_of(case):
    metric = {"distance_metric": manhattan} if case["settings"].get("distance_metric") == "manhattan" else {}
    return case["settings"] | metric


def inputs_of(case):
    if "batch" in case:
        batch = GOLDEN["batches"][case["batch"]]
        return np.array(batch["labels"]), batch["embeddings"]
    return np.array(case["labels"]), case["values"]


def name_of(case):
    settings = ",".join(str(value) for value in case["settings"].values())
    return "-".join([case["loss"], settings, case.get("batch", ""), case.get("dtype", "")])


def value_and_gradient(function, labels, values):
    return numpy(function(labels, values)), numpy(gradient(lambda x: ops.sum(function(labels, x)), values))


# --- the original ---


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=name_of)
def test_values_and_gradients_are_those_of_the_original(case):
    labels, values = inputs_of(case)
    function = partial(getattr(tfa, case["loss"]), **settings_of(case))
    value, slope = value_and_gradient(function, labels, tensor(values, case.get("dtype", "float32")))
    # One unit of the last place of half precision; float32 but for the order of its sums.
    rtol = {"float16": 1e-3, "bfloat16": 8e-3}.get(case.get("dtype"), 3e-6)
    np.testing.assert_allclose(value, case["value"], rtol=rtol, atol=1e-7)
    expected = np.array(case["gradient"])
    np.testing.assert_allclose(slope, expected, rtol=0, atol=max(5 * rtol, 2e-5) * np.abs(expected).max())


@pytest.mark.parametrize("case", [case for case in GOLDEN["cases"] if "dtype" not in case], ids=name_of)
def test_classes_return_what_those_of_the_original_return(case):
    labels, values = inputs_of(case)
    found = CLASSES[case["loss"]](**settings_of(case))(labels, tensor(values))
    np.testing.assert_allclose(numpy(found), case["of class"], rtol=3e-6, atol=1e-7)


@pytest.mark.parametrize("case", GOLDEN["distances"], ids=lambda case: f"{case['function']}{case['settings']}")
def test_distances_are_those_of_the_original(case):
    rows = tensor(GOLDEN["batches"][case["batch"]]["embeddings"])
    function = partial(getattr(tfa, case["function"]), **case["settings"])
    others = tensor(1 - np.eye(len(rows)))
    np.testing.assert_allclose(numpy(function(rows)), case["value"], rtol=1e-5, atol=1e-6)
    slope = numpy(gradient(lambda x: ops.sum(ops.square(function(x)) * others), rows))
    expected = np.array(case["gradient of sum of squares"])
    np.testing.assert_allclose(slope, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


# --- degenerate batches ---

ON_EMBEDDINGS = {
    "semi-hard": tfa.triplet_semihard_loss,
    "semi-hard squared": partial(tfa.triplet_semihard_loss, distance_metric="squared-L2"),
    "semi-hard angular": partial(tfa.triplet_semihard_loss, distance_metric="angular"),
    "hard": tfa.triplet_hard_loss,
    "hard squared": partial(tfa.triplet_hard_loss, distance_metric="squared-L2"),
    "hard angular": partial(tfa.triplet_hard_loss, distance_metric="angular"),
    "hard soft": partial(tfa.triplet_hard_loss, soft=True),
    "lifted": tfa.lifted_struct_loss,
}
ROWS = np.random.default_rng(0).standard_normal((6, 4))
LABELS = np.array([0, 0, 1, 1, 2, 2])


@pytest.mark.parametrize("name", ON_EMBEDDINGS)
def test_a_batch_without_triplets_gives_exactly_nothing(name):
    # No positives, one class, a batch of one.
    for labels, scale in ((np.arange(6), 1), (np.zeros(6, int), 0), (np.zeros(6, int), 1), (np.array([3]), 1)):
        value, slope = value_and_gradient(ON_EMBEDDINGS[name], labels, tensor(ROWS[: len(labels)] * scale))
        assert value == 0
        np.testing.assert_array_equal(slope, np.zeros_like(slope))


ODD_ROWS = {
    "zeros": np.zeros((6, 4)),
    "zero rows": ROWS * np.array([0, 1, 0, 1, 1, 0])[:, None],
    "collapsed": np.ones((6, 4)),
    "duplicates": ROWS[[0, 0, 0, 1, 1, 2]],
    "duplicate positives": ROWS[[0, 0, 1, 1, 2, 2]],
    "far apart": ROWS * 1e4,
    "tiny": ROWS * 1e-20,
    "mixed": ROWS * np.array([1e-20, 1e4, 1, 1, 1e-20, 1e4])[:, None],
}


@pytest.mark.parametrize("name", ON_EMBEDDINGS)
def test_nothing_is_nan_or_infinite(name):
    for case, rows in ODD_ROWS.items():
        value, slope = value_and_gradient(ON_EMBEDDINGS[name], LABELS, tensor(rows))
        assert np.isfinite(value), case
        assert np.isfinite(slope).all(), case
        if not rows.any():
            assert not slope.any()
    value, slope = value_and_gradient(ON_EMBEDDINGS[name], np.array([0, 1, 0, 1, 2, 3]), tensor(ODD_ROWS["zero rows"]))
    assert np.isfinite(value)
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("name", ON_EMBEDDINGS)
def test_not_finite_in_nan_out_and_nothing_in_zero_out(name):
    for hurt in (np.nan, np.inf):
        rows = ROWS.copy()
        rows[5, 0] = hurt
        for labels in (LABELS, np.arange(6)):
            assert np.isnan(numpy(ON_EMBEDDINGS[name](labels, tensor(rows))))
    value, slope = value_and_gradient(ON_EMBEDDINGS[name], np.zeros(0, int), tensor(ROWS[:0]))
    assert value == 0
    assert slope.shape == (0, 4)


def test_not_finite_in_nan_out_of_similarities():
    rows = np.where(np.eye(3, dtype=bool), np.nan, 0.5)
    for found in (
        tfa.npairs_loss(np.arange(3), tensor(rows)),
        tfa.npairs_multilabel_loss(np.eye(3, dtype=int), tensor(rows)),
        ops.sum(tfa.contrastive_loss(np.array([0, 1, 1]), tensor([0.1, np.nan, 0.2]))),
        tfa.ContrastiveLoss()(np.array([0, 1, 1]), tensor([0.1, np.nan, 0.2])),
    ):
        assert np.isnan(numpy(found))


def test_an_anchor_alone_is_left_out_of_the_semi_hard_loss():
    found = tfa.triplet_semihard_loss(np.array([0, 0, 1, 1, 2]), tensor(ROWS[:5]))
    distances = np.linalg.norm(ROWS[:5, None] - ROWS[None, :5], axis=-1)
    terms = []
    for a, p in ((0, 1), (1, 0), (2, 3), (3, 2)):
        negatives = [distances[a, n] for n in range(5) if n // 2 != a // 2]
        farther = [d for d in negatives if d > distances[a, p]]
        terms.append(max(0, 1 + distances[a, p] - (min(farther) if farther else max(negatives))))
    np.testing.assert_allclose(numpy(found), np.mean(terms), rtol=1e-5)


def test_a_negative_as_far_as_the_positive_is_not_farther_in_triplets():
    # From 0: the positive at 1, negatives at -1 and 3. From 1: the positive at 0, negatives at -1 and 3, both farther.
    rows, labels = tensor([[0.0], [1.0], [-1.0], [3.0]]), np.array([0, 0, 1, 2])
    found = tfa.triplet_semihard_loss(labels, rows, margin=2.5)
    assert float(numpy(found)) == pytest.approx((2.5 + 1 - 3 + 2.5 + 1 - 2) / 2)


def test_one_pair_has_nothing_to_be_told_from():
    value, slope = value_and_gradient(tfa.npairs_loss, np.array([7]), tensor([[0.3]]))
    assert value == 0
    assert not slope.any()


def test_rows_without_labels_are_left_out_of_the_multilabel_loss():
    indicators = np.array([[1, 0], [1, 1], [0, 0]])
    matrix = ROWS[:3] @ ROWS[3:].T
    value, slope = value_and_gradient(tfa.npairs_multilabel_loss, indicators, tensor(matrix))
    logarithms = matrix - np.log(np.exp(matrix).sum(1, keepdims=True))
    expected = -np.mean([logarithms[0, :2].mean(), logarithms[1] @ [1 / 3, 2 / 3, 0]])
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert not slope[2].any()
    value, slope = value_and_gradient(tfa.npairs_multilabel_loss, indicators * 0, tensor(matrix))
    assert value == 0
    assert not slope.any()


# --- labels ---

LABELED = ON_EMBEDDINGS | {"N-pairs": lambda labels, rows: tfa.npairs_loss(labels, rows @ ops.transpose(rows))}


@pytest.mark.parametrize("name", LABELED)
def test_large_ids_stay_apart(name):
    expected = numpy(LABELED[name](LABELS, tensor(ROWS)))
    merged = numpy(LABELED[name](np.array([0, 0, 0, 0, 1, 1]), tensor(ROWS)))
    assert abs(expected - merged) > 1e-3
    large = 2**24 - 1 + LABELS
    for labels in (large, large.astype("uint32"), large[:, None], large.tolist(), LABELS.astype("int8")):
        np.testing.assert_array_equal(numpy(LABELED[name](labels, tensor(ROWS))), expected)


@pytest.mark.parametrize("loss", [tfa.TripletSemiHardLoss(), tfa.TripletHardLoss(), tfa.LiftedStructLoss()])
def test_large_ids_stay_apart_in_the_classes(loss):
    expected = numpy(loss(LABELS, tensor(ROWS)))
    np.testing.assert_array_equal(numpy(loss(2**24 + LABELS, tensor(ROWS))), expected)
    np.testing.assert_array_equal(numpy(loss(ops.convert_to_tensor(2**24 + LABELS), tensor(ROWS))), expected)


def test_large_ids_stay_apart_in_half_precision():
    matrix = tensor(ROWS @ ROWS.T, "bfloat16")
    expected = numpy(tfa.npairs_loss(LABELS, matrix))
    np.testing.assert_array_equal(numpy(tfa.npairs_loss(LABELS + 256, matrix)), expected)
    np.testing.assert_array_equal(
        numpy(tfa.NpairsLoss()(LABELS + 256, matrix)), numpy(tfa.NpairsLoss()(LABELS, matrix))
    )


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_whole_float_labels_are_taken(dtype):
    expected = numpy(tfa.triplet_semihard_loss(LABELS, tensor(ROWS)))
    for labels in (LABELS.astype(dtype), ops.convert_to_tensor(LABELS.astype(dtype)), LABELS.astype(float).tolist()):
        np.testing.assert_array_equal(numpy(tfa.triplet_semihard_loss(labels, tensor(ROWS))), expected)
        np.testing.assert_array_equal(numpy(tfa.TripletSemiHardLoss()(labels, tensor(ROWS))), expected)


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        (LABELS + 0.5, "float32"),
        (LABELS + 2.0**24, "float32"),
        (LABELS + 2.0**11, "float16"),
        (LABELS - 2.0**24, "float32"),
        ([0, 0, 1, 1, 2, np.nan], "float32"),
        ([0, 0, 1, 1, 2, np.inf], "float64"),
    ],
)
def test_float_labels_that_may_have_merged_ids_are_refused(labels, dtype):
    for loss in LABELED.values():
        with pytest.raises(ValueError, match=r"`y_true` must be integer class labels, or float.* Received"):
            loss(np.asarray(labels).astype(dtype), tensor(ROWS))


def test_bfloat16_labels_are_exact_below_256():
    expected = numpy(tfa.triplet_semihard_loss(LABELS, tensor(ROWS)))
    np.testing.assert_array_equal(numpy(tfa.triplet_semihard_loss(tensor(LABELS, "bfloat16"), tensor(ROWS))), expected)
    with pytest.raises(ValueError, match="bfloat16 numbers that are whole and below 256"):
        tfa.triplet_semihard_loss(tensor(LABELS + 256, "bfloat16"), tensor(ROWS))


@pytest.mark.backend("tensorflow", "jax", reason="PyTorch runs what it is given, so that labels are always known")
def test_float_labels_are_refused_where_they_cannot_be_looked_at():
    rows, labels = tensor(ROWS), tensor(LABELS)
    with pytest.raises(ValueError, match="compiled function"):
        compiled(lambda y, x: tfa.triplet_semihard_loss(y, x))(labels, rows)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", loss=tfa.triplet_hard_loss)
    with pytest.raises(ValueError, match=r"compile the model with the class, such as TripletSemiHardLoss\(\)"):
        model.fit(ROWS, LABELS, verbose=0)


# --- dtypes, graphs ---


@pytest.mark.parametrize("name", ON_EMBEDDINGS)
def test_half_precision_is_computed_in_float32(name):
    for dtype in ("float16", "bfloat16"):
        rows = tensor(ROWS, dtype)
        value = ON_EMBEDDINGS[name](LABELS, rows)
        assert keras.backend.standardize_dtype(value.dtype) == dtype
        expected = numpy(ops.cast(ON_EMBEDDINGS[name](LABELS, ops.cast(rows, "float32")), dtype))
        np.testing.assert_array_equal(numpy(value), expected)
        if name in ("semi-hard", "hard", "hard soft"):
            # The squares of these overflow in float16, the distances do not.
            assert np.isfinite(numpy(ON_EMBEDDINGS[name](LABELS, tensor(ROWS * 300, dtype))))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_classes_return_float32(dtype):
    rows = tensor(ROWS, dtype)
    for loss in (tfa.TripletSemiHardLoss(), tfa.TripletHardLoss(), tfa.LiftedStructLoss()):
        found = loss(LABELS, rows)
        assert keras.backend.standardize_dtype(found.dtype) == "float32"
        np.testing.assert_array_equal(numpy(found), numpy(loss(LABELS, ops.cast(rows, "float32"))))


def test_float64_is_kept():
    rows = ops.convert_to_tensor(ROWS, dtype="float64")
    found = tfa.triplet_semihard_loss(LABELS, rows)
    assert keras.backend.standardize_dtype(found.dtype) == "float64"
    np.testing.assert_allclose(numpy(found), numpy(tfa.triplet_semihard_loss(LABELS, tensor(ROWS))), rtol=1e-5)


def compiled(function, jit_compile=False):
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function, jit_compile=jit_compile, autograph=False)


def step_of(name):
    return lambda y, x: (LABELED[name](y, x), gradient(lambda rows: LABELED[name](y, rows), x))


def check_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(numpy(one), numpy(other), rtol=1e-5, atol=1e-6)


@pytest.mark.backend("tensorflow", "jax", reason="PyTorch runs losses eagerly")
@pytest.mark.parametrize("name", ["semi-hard", "hard soft", "lifted"])
def test_compiled_by_xla_equals_eager(name):
    labels, step = ops.convert_to_tensor(np.array([0, 0, 1, 1, 0, 2])), step_of(name)
    check_equal(compiled(step, jit_compile=True)(labels, tensor(ROWS)), step(labels, tensor(ROWS)))


@pytest.mark.backend("tensorflow", reason="unknown batch sizes are TensorFlow's")
@pytest.mark.parametrize("name", LABELED)
def test_a_graph_for_batches_of_unknown_size_equals_eager(name):
    import tensorflow as tf

    signature = [tf.TensorSpec([None], "int64"), tf.TensorSpec([None, 4], "float32")]
    step = step_of(name)
    traced = tf.function(step, input_signature=signature)
    for number in (6, 3, 1):
        labels, rows = tensor(LABELS[:number], "int64"), tensor(ROWS[:number])
        check_equal(traced(labels, rows), step(labels, rows))


@pytest.mark.backend("tensorflow", reason="sparse tensors of TensorFlow")
def test_indicators_may_be_sparse():
    import tensorflow as tf

    indicators, matrix = np.eye(3)[LABELS], tensor(ROWS @ ROWS.T)
    expected = numpy(tfa.npairs_multilabel_loss(indicators, matrix))
    for loss in (tfa.npairs_multilabel_loss, tfa.NpairsMultilabelLoss()):
        np.testing.assert_array_equal(numpy(loss(tf.sparse.from_dense(indicators), matrix)), expected)


def test_memory_does_not_grow_with_the_cube_of_the_batch():
    program = """
import resource, sys
import keras, numpy as np
from keras import ops
from keras_epos.compat import tfa
from keras_epos._gradient import gradient

def step(size):
    labels = np.arange(size) // 4
    rows = ops.convert_to_tensor(np.random.default_rng(0).standard_normal((size, 8)).astype("float32"))
    for loss in (tfa.triplet_semihard_loss, tfa.triplet_hard_loss, tfa.lifted_struct_loss):
        assert np.isfinite(ops.convert_to_numpy(gradient(lambda x: loss(labels, x), rows))).all()

step(64)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
step(1024)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print("grown", grown / (2**20 if sys.platform == "darwin" else 2**10))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    # A matrix of the batch has 4 MB, a cube 4 GB.
    assert float(done.stdout.split("grown ")[1]) < 400


# --- classes ---

MADE = {
    "semi-hard": lambda: tfa.TripletSemiHardLoss(4.0, "squared-L2", "triplets"),
    "semi-hard manhattan": lambda: tfa.TripletSemiHardLoss(distance_metric=manhattan),
    "hard": lambda: tfa.TripletHardLoss(0.3, distance_metric="angular"),
    "hard soft": lambda: tfa.TripletHardLoss(soft=True),
    "lifted": lambda: tfa.LiftedStructLoss(0.7),
    "N-pairs": tfa.NpairsLoss,
    "multilabel": tfa.NpairsMultilabelLoss,
    "contrastive": lambda: tfa.ContrastiveLoss(1.3, "sum"),
}


@pytest.mark.parametrize("name", MADE)
def test_config_round_trip(name):
    loss = MADE[name]()
    config = json.loads(json.dumps(loss.get_config()))
    again = type(loss).from_config(config)
    assert again.get_config() == loss.get_config()
    assert again.name == loss.name
    labels, values = (np.eye(6), ROWS @ ROWS.T) if name == "multilabel" else (LABELS, ROWS)
    values = {"N-pairs": ROWS @ ROWS.T, "contrastive": np.abs(ROWS[:, 0])}.get(name, values)
    labels = LABELS % 2 if name == "contrastive" else labels
    assert numpy(again(labels, tensor(values))) == numpy(loss(labels, tensor(values)))


def test_configs_of_the_original_are_read():
    theirs = {"reduction": "none", "name": None, "margin": 0.5, "distance_metric": "L2"}
    assert tfa.TripletSemiHardLoss.from_config(theirs).margin == 0.5
    assert tfa.TripletHardLoss.from_config(theirs | {"soft": True}).soft
    assert tfa.LiftedStructLoss.from_config({"reduction": "none", "name": None, "margin": 2}).margin == 2
    assert tfa.NpairsLoss.from_config({"reduction": "none", "name": "npairs_loss"}).name == "npairs_loss"
    theirs = {"reduction": "auto", "name": "contrastive_loss", "margin": 1.0}
    assert tfa.ContrastiveLoss.from_config(theirs).reduction == "sum_over_batch_size"


def test_names_do_not_clash_with_those_of_the_library():
    for loss in CLASSES.values():
        assert keras.saving.get_registered_name(loss) == f"keras_epos.compat.tfa>{loss.__name__}"
    assert keras.saving.get_registered_name(keras_epos.ContrastiveLoss) == "keras_epos>ContrastiveLoss"


READ = """
import json
import keras, numpy as np
import keras_epos.compat.tfa
inputs, labels = np.load("inputs.npy"), np.load("labels.npy")
found = []
for number in range(3):
    model = keras.saving.load_model(f"{number}.keras")
    found.append([model.loss.get_config(), type(model.loss).__name__, model.evaluate(inputs, labels, verbose=0)])
print("found", json.dumps(found))
"""


@pytest.mark.filterwarnings("ignore")
def test_models_come_back_in_a_fresh_process(tmp_path):
    inputs, expected = ROWS.astype("float32"), []
    np.save(tmp_path / "inputs.npy", inputs)
    np.save(tmp_path / "labels.npy", LABELS)
    for number, name in enumerate(["semi-hard", "hard", "lifted"]):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        model.compile("sgd", loss=MADE[name](), run_eagerly=True)
        value = model.evaluate(inputs, LABELS, verbose=0)
        model.save(tmp_path / f"{number}.keras")
        expected.append([model.loss.get_config(), type(model.loss).__name__, pytest.approx(value, rel=1e-5)])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", READ], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1].removeprefix("found ")) == expected


def test_a_model_with_a_distance_of_ones_own_comes_back(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", loss=MADE["semi-hard manhattan"]())
    value = model.evaluate(ROWS, LABELS, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.loss.distance_metric is manhattan
    assert again.evaluate(ROWS, LABELS, verbose=0) == pytest.approx(value, rel=1e-5)


@keras.saving.register_keras_serializable(package="test_tfa")
class Similarities(keras.layers.Layer):
    def call(self, rows):
        return rows @ ops.transpose(rows)


@pytest.mark.parametrize("loss", [tfa.NpairsLoss(), tfa.NpairsMultilabelLoss()], ids=lambda loss: loss.name)
def test_training_on_similarities(loss, tmp_path):
    labels = LABELS if isinstance(loss, tfa.NpairsLoss) else np.eye(3, dtype="int64")[LABELS]
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), Similarities()])
    model.compile(keras.optimizers.Adam(0.05), loss=loss)
    history = model.fit(ROWS, labels, epochs=20, verbose=0).history["loss"]
    assert history[-1] < history[0]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    expected = model.evaluate(ROWS, labels, verbose=0)
    assert again.evaluate(ROWS, labels, verbose=0) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("semi-hard", "float32"),
        ("hard", "mixed_float16"),
        ("lifted", "mixed_float16"),
    ],
)
def test_training(name, policy):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, dtype=policy)])
    model.compile(keras.optimizers.Adam(0.05), loss=MADE[name]())
    history = model.fit(ROWS, 2**24 + LABELS, epochs=20, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    assert history[-1] < history[0]


def test_an_embedding_model_takes_them_too():
    backbone = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, activation="relu")])
    model = keras_epos.EmbeddingModel(backbone, embedding_dim=3)
    model.compile(keras.optimizers.Adam(0.05), loss=tfa.TripletSemiHardLoss())
    history = model.fit(ROWS, LABELS, epochs=20, verbose=0).history["loss"]
    assert history[-1] < history[0]


def test_sample_weight_is_one_number():
    loss = tfa.TripletSemiHardLoss()
    value = numpy(loss(LABELS, tensor(ROWS)))
    for weight in (2.0, [2.0], np.array([[2.0]])):
        assert numpy(loss(LABELS, tensor(ROWS), sample_weight=weight)) == pytest.approx(2 * value)
    with pytest.raises(ValueError, match=r"`sample_weight` must be one number.* Received: shape \(6,\)"):
        loss(LABELS, tensor(ROWS), sample_weight=np.ones(6))


def test_contrastive_reductions_and_weights():
    is_same, distances = np.array([1, 0, 0, 1]), np.array([0.5, 0.2, 3.0, 0.0])
    each = np.array([0.25, 0.64, 0.0, 0.0])
    for reduction, expected in (("none", each), ("sum", 0.89), ("auto", 0.2225), ("sum_over_batch_size", 0.2225)):
        found = tfa.ContrastiveLoss(reduction=reduction)(is_same, tensor(distances))
        np.testing.assert_allclose(numpy(found), expected, rtol=1e-6)
    weights = np.array([2.0, 1.0, 1.0, 0.0])
    found = tfa.ContrastiveLoss(reduction="sum")(is_same, tensor(distances), sample_weight=weights)
    np.testing.assert_allclose(numpy(found), 1.14, rtol=1e-6)


def test_contrastive_shapes_are_not_broadcast():
    is_same, distances = np.array([1, 0, 1]), np.array([0.5, 0.2, 3.0])
    expected = np.array([0.25, 0.64, 9.0])
    for y in (is_same, is_same[:, None], is_same.astype(bool), is_same.tolist()):
        np.testing.assert_allclose(numpy(tfa.contrastive_loss(y, tensor(distances))), expected, rtol=1e-6)
        column = numpy(tfa.contrastive_loss(y, tensor(distances[:, None])))
        np.testing.assert_allclose(column, expected[:, None], rtol=1e-6)
        assert numpy(tfa.ContrastiveLoss()(y, tensor(distances[:, None]))) == pytest.approx(expected.mean())
    for y in (is_same[:2], np.ones((3, 3))):
        with pytest.raises(ValueError, match="`y_true` must be a 0 or 1 for each distance"):
            tfa.contrastive_loss(y, tensor(distances))


# --- arguments ---


@pytest.mark.parametrize("loss", [tfa.TripletSemiHardLoss, tfa.TripletHardLoss, tfa.LiftedStructLoss, tfa.NpairsLoss])
def test_other_arguments(loss):
    for reduction in (None, "none", "auto", "sum", "sum_over_batch_size"):
        assert loss(reduction=reduction).get_config()["reduction"] == "none"
    with pytest.raises(ValueError, match=r"`reduction` must be one of .* Received: reduction='average'"):
        loss(reduction="average")
    with pytest.raises(TypeError, match=r"has no argument `margins`. Received: margins=0.5"):
        loss(margins=0.5)


@pytest.mark.parametrize(
    "loss", [tfa.TripletSemiHardLoss, tfa.TripletHardLoss, tfa.LiftedStructLoss, tfa.ContrastiveLoss]
)
def test_margin_is_a_number(loss):
    for margin in (0, 2, np.float32(0.5), tensor(0.5)):
        assert loss(margin=margin).margin == float(margin)
    for margin in ("wide", None, float("nan"), np.ones(3)):
        with pytest.raises(ValueError, match=r"`margin` must be a finite number. Received: margin="):
            loss(margin=margin)


@pytest.mark.parametrize("make", [tfa.TripletSemiHardLoss, tfa.TripletHardLoss])
def test_unknown_distances_are_refused(make):
    for wrong in ("l2", None, 3):
        with pytest.raises(ValueError, match=r"`distance_metric` must be one of .* Received: distance_metric="):
            make(distance_metric=wrong)


@pytest.mark.parametrize("name", LABELED)
def test_wrong_shapes_are_refused(name):
    with pytest.raises(ValueError, match="`y_true` must"):
        LABELED[name](LABELS[:5], tensor(ROWS))
    with pytest.raises(ValueError, match="`y_true` must be class labels of shape"):
        LABELED[name](np.eye(6, dtype=int), tensor(ROWS))


def test_wrong_similarities_are_refused():
    matrix = tensor(ROWS)
    with pytest.raises(ValueError, match=r"`y_pred` must be a matrix .* Received: shape \(6, 4\) with 6 labels"):
        tfa.npairs_loss(LABELS, matrix)
    with pytest.raises(ValueError, match="`y_pred` must be a matrix"):
        tfa.npairs_multilabel_loss(np.eye(3)[LABELS], matrix)
    with pytest.raises(ValueError, match="`y_true` must be indicators of shape"):
        tfa.npairs_multilabel_loss(LABELS, tensor(ROWS @ ROWS.T))
