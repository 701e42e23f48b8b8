"""The losses and strategies that every common check runs over. Adding a loss is adding a line to LOSSES."""

import os
from functools import partial
from typing import NamedTuple

import keras
import numpy as np

from keras_epos import reference
from keras_epos.losses import (
    AngularLoss,
    BinomialDevianceLoss,
    CircleLoss,
    ContrastiveLoss,
    EasyPositiveTripletLoss,
    FastAPLoss,
    GeneralizedLiftedStructureLoss,
    IntraPairVarianceLoss,
    LiftedStructureLoss,
    MarginLoss,
    MultiSimilarityLoss,
    NCALoss,
    NPairsLoss,
    NTXentLoss,
    PNPLoss,
    RankedListLoss,
    RecallAtKLoss,
    SmoothAPLoss,
    SNRContrastiveLoss,
    SupConLoss,
    ThresholdConsistentPenalty,
    TripletLoss,
    TupletMarginLoss,
)
from keras_epos.mining import Easy, Hard, SemiHard


class Case(NamedTuple):
    """A loss with its oracle, and which of the common checks its formula is exempt from, by its nature.

    Attributes:
        make: Constructor with the settings of the case.
        oracle: The function of `reference` with the same settings.
        raw: Embeddings count with their lengths, and pair weights are derivatives by inner products.
        numerical: The similarity is no function of the inner products alone, so the oracle's gradient is numerical.
        mixed_signs: It may push a positive away, or pull a negative, say when it compares positives with each other.
        turns: Its value changes when all embeddings are rotated.
        detached: Some factors are constants of a step by definition, so its gradient is not that of its value. The
            oracle takes the embeddings that they are computed from as `constants_at`.
    """

    make: object
    oracle: object
    raw: bool = False
    numerical: bool = False
    mixed_signs: bool = False
    turns: bool = False
    detached: bool = False

    @property
    def has_triplets(self):
        return getattr(self.make, "func", self.make).has_triplets


LOSSES = {
    "triplet": Case(TripletLoss, reference.triplet),
    "triplet euclidean": Case(
        partial(TripletLoss, 0.35, "euclidean"),
        partial(reference.triplet, margin=0.35, metric="euclidean"),
    ),
    "triplet cosine soft": Case(
        partial(TripletLoss, "soft", "cosine"),
        partial(reference.triplet, margin="soft", metric="cosine"),
    ),
    "easy positive triplet": Case(EasyPositiveTripletLoss, reference.triplet),
    "contrastive": Case(
        partial(ContrastiveLoss, 0.9, 0.3),
        partial(reference.contrastive, positive_margin=0.9, negative_margin=0.3),
    ),
    "margin": Case(partial(MarginLoss, 0.25, 1.1), partial(reference.margin, margin=0.25, boundary=1.1)),
    "multi-similarity": Case(MultiSimilarityLoss, reference.multi_similarity),
    "multi-similarity before": Case(
        partial(MultiSimilarityLoss, positives_chosen="before_mining"),
        partial(reference.multi_similarity, positives_chosen="before_mining"),
    ),
    "multi-similarity after": Case(
        partial(MultiSimilarityLoss, 3.0, 20.0, 0.4, 0.2, "after_mining"),
        partial(
            reference.multi_similarity, alpha=3.0, beta=20.0, base=0.4, epsilon=0.2, positives_chosen="after_mining"
        ),
    ),
    "multi-similarity unmined": Case(
        partial(MultiSimilarityLoss, epsilon=None),
        partial(reference.multi_similarity, epsilon=None),
    ),
    "NT-Xent": Case(partial(NTXentLoss, 0.2), partial(reference.nt_xent, temperature=0.2)),
    "circle": Case(partial(CircleLoss, 0.25, 16.0), partial(reference.circle, margin=0.25, gamma=16.0), detached=True),
    "angular": Case(AngularLoss, reference.angular),
    "angular 30": Case(partial(AngularLoss, 30.0), partial(reference.angular, alpha=30.0)),
    "SupCon": Case(partial(SupConLoss, 0.2), partial(reference.sup_con, temperature=0.2), mixed_signs=True),
    "N-pairs": Case(NPairsLoss, reference.n_pairs, raw=True),
    "N-pairs normalized": Case(partial(NPairsLoss, True), partial(reference.n_pairs, normalize=True)),
    "ranked list": Case(RankedListLoss, reference.ranked_list, detached=True),
    "ranked list both": Case(
        partial(RankedListLoss, 1.3, 0.5, 4.0, 2.0, 0.3),
        partial(reference.ranked_list, alpha=1.3, margin=0.5, sharpness=4.0, positive_sharpness=2.0, balance=0.3),
        detached=True,
    ),
    "SNR contrastive": Case(
        partial(SNRContrastiveLoss, 0.1, 1.9),
        partial(reference.snr_contrastive, positive_margin=0.1, negative_margin=1.9),
        numerical=True,
        turns=True,
    ),
    "SNR contrastive raw": Case(
        partial(SNRContrastiveLoss, normalize=False),
        partial(reference.snr_contrastive, normalize=False),
        raw=True,
        numerical=True,
        turns=True,
    ),
    "intra-pair variance": Case(
        partial(IntraPairVarianceLoss, 0.05, 0.1),
        partial(reference.intra_pair_variance, positive_epsilon=0.05, negative_epsilon=0.1),
        mixed_signs=True,
    ),
    "lifted structure": Case(LiftedStructureLoss, reference.lifted_structure),
    "lifted structure -0.4": Case(partial(LiftedStructureLoss, -0.4), partial(reference.lifted_structure, margin=-0.4)),
    "generalized lifted structure": Case(
        partial(GeneralizedLiftedStructureLoss, 0.2), partial(reference.generalized_lifted_structure, margin=0.2)
    ),
    "generalized lifted structure cosine soft": Case(
        partial(GeneralizedLiftedStructureLoss, "soft", "cosine"),
        partial(reference.generalized_lifted_structure, margin="soft", metric="cosine"),
    ),
    "binomial deviance": Case(
        partial(BinomialDevianceLoss, 3.0, 20.0, 0.4),
        partial(reference.binomial_deviance, alpha=3.0, beta=20.0, base=0.4),
    ),
    "NCA": Case(partial(NCALoss, 3.0), partial(reference.nca, scale=3.0)),
    "tuplet margin": Case(
        partial(TupletMarginLoss, 30.0, 8.0), partial(reference.tuplet_margin, margin=30.0, scale=8.0), mixed_signs=True
    ),
    "FastAP": Case(FastAPLoss, reference.fast_ap, mixed_signs=True),
    "FastAP 23": Case(partial(FastAPLoss, 23), partial(reference.fast_ap, num_bins=23), mixed_signs=True),
    "Smooth-AP": Case(SmoothAPLoss, reference.smooth_ap, mixed_signs=True),
    "Smooth-AP 0.1": Case(partial(SmoothAPLoss, 0.1), partial(reference.smooth_ap, temperature=0.1), mixed_signs=True),
    "PNP": Case(partial(PNPLoss, temperature=0.1), partial(reference.pnp, temperature=0.1)),
    "PNP Ib": Case(
        partial(PNPLoss, "Ib", b=3.0, temperature=0.2), partial(reference.pnp, variant="Ib", b=3.0, temperature=0.2)
    ),
    "threshold consistent": Case(
        partial(ThresholdConsistentPenalty, 0.8, 0.3, 1.0, 0.5),
        partial(reference.threshold_consistent, positive_margin=0.8, negative_margin=0.3, negative_weight=0.5),
    ),
    "Recall@k": Case(
        partial(RecallAtKLoss, (1, 3), 0.2, 0.5),
        partial(reference.recall_at_k, k=(1, 3), temperature=0.2, rank_temperature=0.5),
        mixed_signs=True,
    ),
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
    return not LOSSES[loss].has_triplets and negatives.startswith("semi_hard") and positives in ("all", "easy 2")


def combinations_of(loss):
    return [(p, n) for p in POSITIVES for n in NEGATIVES if not is_refused(loss, p, n)]


def taking_turns(number):
    """So many combinations of each loss, spread evenly and beginning elsewhere for each, so that all get a turn."""
    chosen = {}
    for place, loss in enumerate(LOSSES):
        of_loss = combinations_of(loss)
        turns = [(5 * place + turn * len(of_loss) // number) % len(of_loss) for turn in range(number)]
        chosen[loss] = [of_loss[turn] for turn in dict.fromkeys(turns)]
    return chosen


ON_JAX = keras.backend.backend() == "jax"  # compiles each loop and each shape anew: slowest by far
# What hardly depends on the settings of a loss is checked with one setting of each, but for PyTorch, where it is quick.
ONE_OF_EACH = list({getattr(case.make, "func", case.make): name for name, case in reversed(LOSSES.items())}.values())
ONE_OF_EACH = list(LOSSES) if keras.backend.backend() == "torch" else ONE_OF_EACH[::-1]
# JAX compiles each shape anew, and each loop.
FEW_ON_JAX = ONE_OF_EACH[::5] if ON_JAX else ONE_OF_EACH
# Loss: strategies of positives and negatives. They take turns unless KERAS_EPOS_EVERY_COMBINATION=1 asks for all.
COMBINATIONS = taking_turns(1 if ON_JAX else 3)
if os.environ.get("KERAS_EPOS_EVERY_COMBINATION"):
    COMBINATIONS = {loss: combinations_of(loss) for loss in LOSSES}
# All pairs, and easy positives, where the full product would take too long.
_NEGATIVES = ["hard", "semi_hard", "hard 2", "semi_hard hardest", "all"]
TWO_COMBINATIONS = {
    loss: [("all", "all"), ("easy", _NEGATIVES[place % len(_NEGATIVES)])] for place, loss in enumerate(LOSSES)
}


def make(loss, positives, negatives, dtype="float64", **settings):
    return LOSSES[loss].make(
        positives=POSITIVES[positives][0], negatives=NEGATIVES[negatives][0], dtype=dtype, **settings
    )


def oracle(loss, positives, negatives):
    """`(labels, embeddings) -> Terms`"""
    return partial(LOSSES[loss].oracle, positives=POSITIVES[positives][1], negatives=NEGATIVES[negatives][1])


def batch(seed=0, dim=5, classes=(5, 4, 2, 1)):
    """Labels and embeddings without ties; classes in mixed order, one of a single sample, rows of all lengths."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat(np.arange(len(classes)), classes))
    centers = random.standard_normal((len(classes), dim))
    embeddings = 0.8 * centers[labels] + random.standard_normal((len(labels), dim))
    return labels, embeddings * random.uniform(0.5, 2.0, (len(labels), 1))


def tied_batch(seed=0):
    """Rows whose similarities are exact multiples of a half in any arithmetic, with many copies and ties."""
    random = np.random.default_rng(seed)
    rows = np.concatenate([np.eye(4), -np.eye(4), np.full((1, 4), 0.5), [[0.5, -0.5, 0.5, -0.5]]])
    return random.integers(0, 3, 14), rows[random.integers(0, len(rows), 14)]


def expected_gradient(loss, positives, negatives, labels, embeddings, average_over="valid"):
    """By the embeddings, from the oracle's pair weights, or numerically where those do not determine it."""
    of = oracle(loss, positives, negatives)
    if LOSSES[loss].numerical:
        return reference.numerical_gradient(lambda rows: of(labels, rows).mean(average_over), embeddings)
    return reference.gradient(of(labels, embeddings), embeddings, average_over, normalize=not LOSSES[loss].raw)


def tensor(values, dtype="float64"):
    return keras.ops.convert_to_tensor(np.asarray(values), dtype=dtype)


def numpy(values):
    return keras.ops.convert_to_numpy(values)


def value_and_gradients(function, *tensors):
    """A number and its derivatives by each of the tensors, in one pass: JAX would compile every pass anew."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        return numpy(value), *tape.gradient(value, tensors, unconnected_gradients="zero")
    if backend == "jax":
        import jax

        value, slopes = jax.value_and_grad(function, argnums=tuple(range(len(tensors))))(*tensors)
        return numpy(value), *slopes
    import torch

    leaves = [tensor.detach().clone().requires_grad_(True) for tensor in tensors]
    value = function(*leaves)
    slopes = torch.autograd.grad(value, leaves, allow_unused=True)
    return numpy(value), *(torch.zeros_like(leaf) if s is None else s for leaf, s in zip(leaves, slopes, strict=True))


def value_and_gradient(loss, labels, embeddings, **settings):
    """Of a loss that reduces to a number, at embeddings of any float dtype."""
    return value_and_gradients(lambda rows: loss(labels, rows, **settings), embeddings)


def traceable(loss):
    """As `value_and_gradient` of labels and rows, for TensorFlow to trace."""
    import tensorflow as tf

    def both(labels, rows):
        with tf.GradientTape() as tape:
            tape.watch(rows)
            value = loss(labels, rows)
        return value, tape.gradient(value, rows)

    return both
