"""Write what tensorflow-addons computes on our batches to tests/compat/golden/tfa.json.

    python tools/peers/tfa_golden.py

Needs tensorflow 2.15.1 and tensorflow-addons 0.23.0, see README.md in this folder. Each case holds the name of the
function and its settings, the value and the gradient by the second argument (embeddings, similarities or distances), in
float32 if not said otherwise, and what the class of the same loss returns.
"""

import argparse
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa
from batches import as_json, batches, paired, plain, rounded, text

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "compat" / "golden" / "tfa.json"
SEMI_HARD, HARD, LIFTED = "triplet_semihard_loss", "triplet_hard_loss", "lifted_struct_loss"
CLASSES = {
    SEMI_HARD: tfa.losses.TripletSemiHardLoss,
    HARD: tfa.losses.TripletHardLoss,
    LIFTED: tfa.losses.LiftedStructLoss,
    "npairs_loss": tfa.losses.NpairsLoss,
    "npairs_multilabel_loss": tfa.losses.NpairsMultilabelLoss,
    "contrastive_loss": tfa.losses.ContrastiveLoss,
}

# On every batch of embeddings.
SETTINGS = [
    (SEMI_HARD, {}),
    (SEMI_HARD, {"margin": 0.2}),
    (SEMI_HARD, {"margin": 0.5, "distance_metric": "squared-L2"}),
    (SEMI_HARD, {"margin": 0.3, "distance_metric": "angular"}),
    (SEMI_HARD, {"margin": 0.7, "distance_metric": "manhattan"}),
    (HARD, {}),
    (HARD, {"margin": 0.2}),
    (HARD, {"soft": True}),
    (HARD, {"margin": 0.5, "distance_metric": "squared-L2"}),
    (HARD, {"margin": 0.3, "distance_metric": "angular"}),
    (HARD, {"soft": True, "distance_metric": "manhattan"}),
    (LIFTED, {}),
    (LIFTED, {"margin": 0.4}),
]
# On what paired() returns.
OTHERS = [
    ("npairs_loss", {}, "similarity"),
    ("npairs_multilabel_loss", {}, "multilabel"),
    ("contrastive_loss", {}, "distances"),
    ("contrastive_loss", {"margin": 0.6}, "distances"),
]


def manhattan(rows):
    """A distance of one's own: the sum of absolute differences."""
    return tf.reduce_sum(tf.abs(rows[:, None] - rows[None]), axis=-1)


def with_function(settings):
    return settings | ({"distance_metric": manhattan} if settings.get("distance_metric") == "manhattan" else {})


def computed(name, settings, labels, values, dtype="float32"):
    settings = with_function(settings)
    labels, values = tf.constant(labels), tf.cast(tf.constant(values), dtype)
    with tf.GradientTape() as tape:
        tape.watch(values)
        value = getattr(tfa.losses, name)(labels, values, **settings)
    gradient = tf.cast(tape.gradient(value, values), "float32")
    of_class = CLASSES[name](**settings)(labels, values)
    return {"value": digits(value), "of class": digits(of_class), "gradient": digits(gradient)}


def digits(tensor):
    """Enough digits for float32."""
    return plain(rounded(np.asarray(tf.cast(tensor, "float32")), 9))


def cases(data):
    for name, settings in SETTINGS:
        for batch, (labels, rows) in data.items():
            yield {"loss": name, "settings": settings, "batch": batch} | computed(name, settings, labels, rows)
    for name in (SEMI_HARD, HARD, LIFTED):
        for dtype in ("float16", "bfloat16"):
            found = computed(name, {}, *data["random"], dtype=dtype)
            yield {"loss": name, "settings": {}, "batch": "random", "dtype": dtype} | found
    for name, settings, kind in OTHERS:
        for labels, values in paired()[kind].values():
            inputs = {"labels": plain(labels), "values": plain(values)}
            yield {"loss": name, "settings": settings} | inputs | computed(name, settings, labels, values)


def distances(data):
    rows = tf.constant(data["raw"][1], "float32")
    for name, settings in (
        ("pairwise_distance", {}),
        ("pairwise_distance", {"squared": True}),
        ("angular_distance", {}),
    ):
        with tf.GradientTape() as tape:
            tape.watch(rows)
            matrix = getattr(tfa.losses.metric_learning, name)(rows, **settings)
            # Off the diagonal only: there the gradient is rounding.
            total = tf.reduce_sum(tf.linalg.set_diag(matrix, tf.zeros(len(rows))) ** 2)
        found = {"value": digits(matrix), "gradient of sum of squares": digits(tape.gradient(total, rows))}
        yield {"function": name, "settings": settings, "batch": "raw"} | found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=GOLDEN, help=f"file to write, by default {GOLDEN.name} of the tests"
    )
    out = parser.parse_args().out
    versions = {"tensorflow-addons": tfa.__version__, "tensorflow": tf.__version__, "numpy": np.__version__}
    data = batches()
    tree = {"made by": "tools/peers/tfa_golden.py", "versions": versions, "batches": as_json()}
    tree |= {"cases": list(cases(data)), "distances": list(distances(data))}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text(tree) + "\n")
    print(f"{len(tree['cases'])} cases written to {out}")


if __name__ == "__main__":
    main()
