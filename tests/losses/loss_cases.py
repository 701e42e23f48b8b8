"""The losses and strategies that every common check runs over. Adding a loss is adding a line to LOSSES."""

import os
from functools import partial

import keras
import numpy as np

from keras_epos import reference
from keras_epos.gradient import gradient
from keras_epos.losses import (
    ContrastiveLoss,
    EasyPositiveTripletLoss,
    MarginLoss,
    MultiSimilarityLoss,
    NTXentLoss,
    TripletLoss,
)
from keras_epos.mining import Easy, Hard, SemiHard

# name: (factory, oracle with the same settings)
LOSSES = {
    "triplet": (TripletLoss, reference.triplet),
    "triplet euclidean": (
        partial(TripletLoss, 0.35, "euclidean"),
        partial(reference.triplet, margin=0.35, metric="euclidean"),
    ),
    "triplet cosine soft": (
        partial(TripletLoss, "soft", "cosine"),
        partial(reference.triplet, margin="soft", metric="cosine"),
    ),
    "easy positive triplet": (EasyPositiveTripletLoss, reference.triplet),
    "contrastive": (
        partial(ContrastiveLoss, 0.9, 0.3),
        partial(reference.contrastive, positive_margin=0.9, negative_margin=0.3),
    ),
    "margin": (partial(MarginLoss, 0.25, 1.1), partial(reference.margin, margin=0.25, boundary=1.1)),
    "multi-similarity": (MultiSimilarityLoss, reference.multi_similarity),
    "multi-similarity instead": (
        partial(MultiSimilarityLoss, positives_chosen="instead_of_mining"),
        partial(reference.multi_similarity, positives_chosen="instead_of_mining"),
    ),
    "multi-similarity after": (
        partial(MultiSimilarityLoss, 3.0, 20.0, 0.4, 0.2, "after_mining"),
        partial(
            reference.multi_similarity, alpha=3.0, beta=20.0, base=0.4, epsilon=0.2, positives_chosen="after_mining"
        ),
    ),
    "multi-similarity unmined": (
        partial(MultiSimilarityLoss, epsilon=None),
        partial(reference.multi_similarity, epsilon=None),
    ),
    "NT-Xent": (partial(NTXentLoss, 0.2), partial(reference.nt_xent, temperature=0.2)),
}

# name: (what the constructor is given, the oracle's strategy)
POSITIVES = {
    "all": ("all", reference.everything),
    "easy": ("easy", reference.easy),
    "easy 2": (Easy(2), partial(reference.easy, k=2)),
    "hard": ("hard", reference.hard),
}
NEGATIVES = {
    "all": ("all", reference.everything),
    "easy": ("easy", reference.easy),
    "hard": ("hard", reference.hard),
    "hard 2": (Hard(2), partial(reference.hard, k=2)),
    "semi_hard": ("semi_hard", reference.semi_hard),
    "semi_hard hardest": (SemiHard("hardest"), partial(reference.semi_hard, fallback="hardest")),
    "semi_hard skip": (SemiHard("skip"), partial(reference.semi_hard, fallback="skip")),
}


def is_refused(loss, positives, negatives):
    """One negative for each positive has no meaning in a formula that does not pair them."""
    pairs_them = loss.startswith(("triplet", "easy positive", "NT-Xent"))
    return not pairs_them and negatives.startswith("semi_hard") and positives in ("all", "easy 2")


EVERY_COMBINATION = [
    (loss, positives, negatives)
    for loss in LOSSES
    for positives in POSITIVES
    for negatives in NEGATIVES
    if not is_refused(loss, positives, negatives)
]
# By default combinations take turns; KERAS_EPOS_EVERY_COMBINATION=1 runs all. Odd steps meet every strategy.
ON_JAX = keras.backend.backend() == "jax"  # compiles each loop and each shape anew: slowest by far
STEP = 1 if os.environ.get("KERAS_EPOS_EVERY_COMBINATION") else 5 if ON_JAX else 3
COMBINATIONS = EVERY_COMBINATION[::STEP]
# Every loss and every strategy at least once, where the full product would take too long.
SOME_COMBINATIONS = [
    ("triplet", "all", "semi_hard"),
    ("triplet euclidean", "easy", "all"),
    ("triplet cosine soft", "all", "all"),
    ("easy positive triplet", "easy", "semi_hard"),
    ("contrastive", "all", "all"),
    ("contrastive", "easy", "semi_hard skip"),
    ("margin", "easy 2", "all"),
    ("margin", "all", "hard 2"),
    ("multi-similarity", "all", "all"),
    ("multi-similarity instead", "easy", "all"),
    ("multi-similarity after", "easy", "hard"),
    ("multi-similarity unmined", "hard", "easy"),
    ("NT-Xent", "easy", "semi_hard hardest"),
    ("NT-Xent", "all", "all"),
]
if ON_JAX:
    SOME_COMBINATIONS = SOME_COMBINATIONS[::2]


def make(loss, positives, negatives, dtype="float64", **settings):
    return LOSSES[loss][0](
        positives=POSITIVES[positives][0], negatives=NEGATIVES[negatives][0], dtype=dtype, **settings
    )


def oracle(loss, positives, negatives):
    """`(labels, embeddings) -> Terms`"""
    return partial(LOSSES[loss][1], positives=POSITIVES[positives][1], negatives=NEGATIVES[negatives][1])


def batch(seed=0, dim=5, classes=(5, 4, 2, 1)):
    """Labels and embeddings without ties; classes in mixed order, one of a single sample, rows of all lengths."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat(np.arange(len(classes)), classes))
    centres = random.standard_normal((len(classes), dim))
    embeddings = 0.8 * centres[labels] + random.standard_normal((len(labels), dim))
    return labels, embeddings * random.uniform(0.5, 2.0, (len(labels), 1))


def tied_batch(seed=0):
    """Rows whose similarities are exact multiples of a half in any arithmetic, with many copies and ties."""
    random = np.random.default_rng(seed)
    rows = np.concatenate([np.eye(4), -np.eye(4), np.full((1, 4), 0.5), [[0.5, -0.5, 0.5, -0.5]]])
    return random.integers(0, 3, 14), rows[random.integers(0, len(rows), 14)]


def tensor(values, dtype="float64"):
    return keras.ops.convert_to_tensor(np.asarray(values), dtype=dtype)


def numpy(values):
    return keras.ops.convert_to_numpy(values)


def value_and_gradient(loss, labels, embeddings, **settings):
    """Of a loss that reduces to a number, at embeddings of any float dtype."""
    return (
        numpy(loss(labels, embeddings, **settings)),
        gradient(lambda rows: loss(labels, rows, **settings), embeddings),
    )
