"""A plain model keeps its loss in a `.keras` file, for a process that has imported nothing but the losses."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from loss_cases import ON_JAX, batch

from keras_epos import losses
from keras_epos.mining import DistanceWeighted, Easy, SemiHard

LOSSES = [
    losses.TripletLoss(0.3, "cosine", Easy(2), SemiHard("skip"), ignore_label=-1),
    losses.EasyPositiveTripletLoss(margin="soft"),
    losses.ContrastiveLoss(0.9, 0.4),
    losses.MarginLoss(0.25, 1.1, negatives=DistanceWeighted(0.4, None, seed=3)),
    losses.MultiSimilarityLoss(beta=30.0, positives="easy", positives_chosen="after_mining"),
    losses.NTXentLoss(0.2, "easy", "hard", reduction="sum"),
    losses.CircleLoss(0.25, 256.0, "easy"),
    losses.AngularLoss(36.0, positives="easy"),
    losses.SupConLoss(0.2, "easy", "hard"),
    losses.NPairsLoss(True, "easy", "hard"),
    losses.RankedListLoss(1.1, 0.3, positive_sharpness=2.0, positives="easy"),
    losses.SNRContrastiveLoss(0.1, 1.5, normalize=False, positives="easy"),
    losses.IntraPairVarianceLoss(0.02, 0.05, negatives="hard"),
    losses.LiftedStructureLoss(0.5, "easy", "hard"),
    losses.GeneralizedLiftedStructureLoss("soft", "cosine", "easy"),
    losses.BinomialDevianceLoss(3.0, 20.0, 0.4, "easy", "hard"),
    losses.NCALoss(3.0, "easy", "hard"),
    losses.TupletMarginLoss(10.0, 16.0, "easy", "hard"),
    losses.EasyPositiveHardNegativeLoss(0.2, semi_hard=True, ignore_label=-1),
    losses.FastAPLoss(12, positives=Easy(2)),
    losses.SmoothAPLoss(0.05, positives="easy", average_over="active"),
    losses.PNPLoss("Ib", b=3.0, positives="easy"),
    losses.RecallAtKLoss((1, 3), 0.05),
]

READ = """
import json, sys
import keras, numpy as np
import keras_epos.losses
inputs, labels = np.load("inputs.npy"), np.load("labels.npy")
found = []
for name in json.loads(sys.argv[1]):
    model = keras.saving.load_model(name)
    found.append([model.loss.get_config(), type(model.loss).__name__, model.evaluate(inputs, labels, verbose=0)])
print("found", json.dumps(found))
"""


@pytest.mark.filterwarnings("ignore")
def test_losses_come_back_in_a_fresh_process(tmp_path):
    labels, inputs = batch()
    np.save(tmp_path / "inputs.npy", inputs.astype("float32"))
    np.save(tmp_path / "labels.npy", labels)
    expected = []
    some = LOSSES[::3] if ON_JAX else LOSSES  # it compiles each anew
    for number, loss in enumerate(some):
        model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4)])
        model.compile("sgd", loss=loss, run_eagerly=True)
        value = model.evaluate(inputs, labels, verbose=0)
        model.save(tmp_path / f"{number}.keras")
        expected.append([json.loads(json.dumps(loss.get_config())), type(loss).__name__, value])
    names = json.dumps([f"{number}.keras" for number in range(len(some))])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", READ, names], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1].removeprefix("found "))
    for (config, name, value), (expected_config, expected_name, expected_value) in zip(found, expected, strict=True):
        assert (config, name) == (expected_config, expected_name)
        # What is drawn with a seed is drawn again from its start.
        assert value == pytest.approx(expected_value, rel=1e-5)


JAX_DEFAULT = """
import numpy as np
from keras_epos._gradient import gradient
from keras_epos.losses import MarginLoss, MultiSimilarityLoss, TripletLoss
import jax.numpy as jnp
labels, rows = np.arange(12) % 4 + 2**31 - 5, np.random.default_rng(0).standard_normal((12, 5))
for loss in (TripletLoss(negatives="all"), TripletLoss(), MultiSimilarityLoss(positives="easy"), MarginLoss()):
    value = loss(labels, rows)
    slope = gradient(lambda rows: loss(labels, rows), jnp.asarray(rows))
    assert value.dtype == slope.dtype == "float32" and value > 0 and np.isfinite(slope).all(), (loss, value)
"""


@pytest.mark.backend("jax", reason="the other tests switch x64 on")
def test_jax_without_x64():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    environment.pop("JAX_ENABLE_X64", None)
    done = subprocess.run(
        [sys.executable, "-c", JAX_DEFAULT], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
