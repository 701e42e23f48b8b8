"""The batches on which the peers are run: NumPy only, the same everywhere."""

import json

import numpy as np

SEED = 2024
NUM_CLASSES = 7  # of the losses with weights: more than any batch has, so that some classes are absent


def batches():
    """`{name: (labels, embeddings)}` in float64, rounded so that JSON holds them exactly.

    random: 24 x 8, unit rows, 5 classes of 3, 4, 5, 5 and 7 samples in random order.
    balanced: 16 x 4, unit rows, 4 classes of 4 samples, sorted by class.
    pairs: 12 x 6, unit rows, 6 classes of 2 samples; rows 0-5 are the anchors and 6-11 their positives.
    raw: 15 x 5, rows of any length, 4 classes of 2, 3, 4 and 6 samples in random order.
    lone: 10 x 3, unit rows, 6 classes of 2, 2, 3, 1, 1 and 1 samples: some anchors have no positive.
    """
    random = np.random.RandomState(SEED)

    def labels_of(*sizes):
        return random.permutation(np.repeat(np.arange(len(sizes)), sizes))

    labels = {
        "random": labels_of(3, 4, 5, 5, 7),
        "balanced": np.repeat(np.arange(4), 4),
        "pairs": np.tile(np.arange(6), 2),
        "raw": labels_of(2, 3, 4, 6),
        "lone": np.array([0, 1, 2, 0, 3, 2, 1, 4, 2, 5]),
    }
    found = {}
    for (name, ids), dim in zip(labels.items(), (8, 4, 6, 5, 3), strict=True):
        # Rows of a class share a direction, so that there are easy and hard pairs.
        rows = random.standard_normal((NUM_CLASSES, dim))[ids] * 0.7 + random.standard_normal((len(ids), dim))
        if name != "raw":
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        found[name] = ids, rounded(rows)
    return found


def paired():
    """Inputs of the losses that take no embeddings, by name.

    similarity: `(labels, matrix)` of the anchors and positives of "pairs", and of all rows of "balanced" and "lone".
    multilabel: `(indicators, matrix)`, 4 labels, 1 to 3 of them for each of the 10 rows of "lone".
    distances: `(is_same, distances)` of 12 pairs, some of each beyond a margin of 1, one at distance 0.
    """
    data, random = batches(), np.random.RandomState(SEED + 1)
    (pair_labels, pairs), (ids, rows), (lone_ids, lone) = data["pairs"], data["balanced"], data["lone"]
    indicators = (random.uniform(size=(10, 4)) < 0.4).astype(int)
    indicators[np.arange(10), random.randint(0, 4, 10)] = 1
    distances = rounded(random.uniform(0.05, 1.6, 12))
    distances[5] = 0.0
    return {
        "similarity": {
            "pairs": (pair_labels[:6], rounded(pairs[:6] @ pairs[6:].T)),
            "balanced": (ids, rounded(5 * rows @ rows.T)),
            "lone": (lone_ids, rounded(3 * lone @ lone.T)),
        },
        "multilabel": {"lone": (indicators, rounded(3 * lone @ lone.T))},
        "distances": {"all": (np.tile([1, 0], 6), distances)},
    }


def class_weights(dim, centers=1):
    """Weights `(NUM_CLASSES * centers, dim)`, not unit; the centers of class `c` are rows `c * centers` and on."""
    return rounded(np.random.RandomState(SEED + dim).standard_normal((NUM_CLASSES * centers, dim)))


def rounded(values, digits=12):
    """The values to so many significant digits."""
    values = np.asarray(values, dtype="float64")
    return np.array([float(f"{value:.{digits}g}") for value in values.ravel()]).reshape(values.shape)


def plain(array):
    """Nested lists of numbers."""
    return np.asarray(array).tolist()


def text(tree, indent=0):
    """JSON with a line for every list of numbers."""
    pad = " " * (indent + 1)
    if isinstance(tree, dict) and tree:
        inner = [f"{pad}{json.dumps(key)}: {text(value, indent + 1)}" for key, value in tree.items()]
        return "{\n" + ",\n".join(inner) + "\n" + " " * indent + "}"
    if isinstance(tree, list) and tree and isinstance(tree[0], (list, dict)):
        return "[\n" + ",\n".join(pad + text(value, indent + 1) for value in tree) + "\n" + " " * indent + "]"
    return json.dumps(tree)


def as_json():
    """The batches as JSON holds them."""
    return {name: {"labels": plain(labels), "embeddings": plain(rows)} for name, (labels, rows) in batches().items()}
