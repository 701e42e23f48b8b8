"""What is run of pytorch-metric-learning, and what its formulas are.

In the notes `S` is the cosine similarity and `D` the Euclidean distance of unit rows: PML divides embeddings by their
norm unless the distance says `normalize_embeddings=False`. `a` is an anchor, `p` its positives without itself, `n` its
negatives. Pairs are ordered: (i, j) and (j, i) both count. MeanReducer: mean over all terms. AvgNonZeroReducer: mean
over the terms > 0, a constant 0 if there is none. Sub-losses (positives, negatives) are reduced apart, then added.
"""

from dataclasses import dataclass, field

EUCLIDEAN = ("LpDistance", {"p": 2, "power": 1, "normalize_embeddings": True})
SQUARED = ("LpDistance", {"p": 2, "power": 2, "normalize_embeddings": True})
COSINE = ("CosineSimilarity", {})
SNR = ("SNRDistance", {})
DOT_OF_UNIT_ROWS = ("DotProductSimilarity", {"normalize_embeddings": True})
DOT = ("DotProductSimilarity", {"normalize_embeddings": False})
MEAN, NON_ZERO, DIVISOR = "MeanReducer", "AvgNonZeroReducer", "DivisorReducer"


@dataclass
class Entry:
    """One loss with settings; distance and miner are `("Class", {settings})`, `weights` names the parameter."""

    loss: str
    settings: dict
    reducer: str
    distance: tuple
    note: str
    miner: tuple | None = None
    weights: str | None = None
    centers: int = 1
    memory_size: int | None = None
    batches: tuple = field(default=("random", "balanced"))


def easy(negatives):
    return "BatchEasyHardMiner", {"pos_strategy": "easy", "neg_strategy": negatives}


def hard():
    return "BatchEasyHardMiner", {"pos_strategy": "hard", "neg_strategy": "hard"}


ALL_UNIT = ("random", "balanced", "pairs")
AND_RAW = ("random", "balanced", "raw")

CONTRASTIVE = """sum of two means, one over positive and one over negative ordered pairs, each reduced by itself:
with distances relu(D_ap - pos_margin) and relu(neg_margin - D_an), not squared; with similarities
relu(pos_margin - S_ap) and relu(S_an - neg_margin). Anchors without positives still have their negative pairs."""
TRIPLET = """over all triplets (a, p, n): relu(d_ap - d_an + margin) for distances, relu(s_an - s_ap + margin) for
similarities; smooth_loss: softplus of the same, margin included. Anchors without positives have no triplet."""
EASY = """Miner on D of the unit rows, no gradient: the nearest positive of each anchor and "hard": its nearest
negative, "semihard": the nearest negative strictly farther than that positive; an anchor without either is dropped (no
fallback). At most one triplet for each anchor."""
MARGIN = """over all triplets (a, p, n): relu(D_ap - beta + margin) + relu(beta - D_an + margin), summed; so a pair
counts once for each triplet it is in."""
MULTI_SIMILARITY = """for each row: log(1 + sum_p exp(-alpha (S_ap - base))) / alpha
+ log(1 + sum_n exp(beta (S_an - base))) / beta; a side without pairs is 0; mean over all B rows, also those without
positives (they keep their negative side)."""
MULTI_SIMILARITY_MINER = """Miner, no gradient: keeps n if S_an + epsilon > min_p S_ap, and p if S_ap - epsilon <
max_n S_an. Rows of which nothing is kept add 0 and still count in the mean."""
NT_XENT = """for each ordered positive pair: -log(exp(S_ap / t) / (exp(S_ap / t) + sum_n exp(S_an / t))), other
positives are not in the denominator; the smallest normal float is added inside the log. Mean over positive pairs."""
SUP_CON = """for each row: -(1 / |P|) sum_p (S_ap / t - log sum_j exp(S_aj / t)), j over all positives and
negatives, not itself: the "out" form, without a base temperature. Rows without positives are 0, which
AvgNonZeroReducer leaves out and MeanReducer counts."""
N_PAIRS = """one pair of each class that has one: the first positive pair in row-major order, that is the first and
the second sample of the class; pairs ordered by class. Cross-entropy of sim(anchor_i, positive_j) over j with target i;
mean over classes. No L2 regularizer."""
LIFTED = """for each ordered positive pair (a, p): relu(D_ap - pos_margin + log(sum_n exp(neg_margin - D_an) +
sum_n exp(neg_margin - D_pn)))^2 / 2; the mean over ordered pairs is the paper's mean over unordered ones."""
GENERALIZED_LIFTED = """for each row: relu(log sum_p exp(D_ap - pos_margin) + log sum_n exp(neg_margin - D_an)); the
logsumexp of an empty side is set to 0, so rows without positives keep relu of the negative side. Mean over all B."""
NCA = """for each row: -log of the sum over p of softmax_j(-softmax_scale D_aj^2), j over the batch without the row
itself, positives included. Rows with probability 0 (no positives) are left out of the mean; NaN when all are."""
CIRCLE = """for each row: softplus(log sum_n exp(gamma relu(S_an + m) (S_an - m)) + log sum_p exp(-gamma
relu(1 + m - S_ap) (S_ap - (1 - m)))); the two relu factors are detached, so the gradient is not that of the value as a
function of S. Rows without positives or negatives are 0. softplus is the identity above 20."""
ANGULAR = """for each ordered positive pair: log(1 + sum_n exp(4 tan^2(alpha) (a + p) n - 2 (1 + tan^2(alpha)) a p)),
over all pairs of the batch, not only one of a class; mean over pairs. a and p are divided by their norm, n is NOT: the
gradient by n does not go through the normalization, even on unit rows. No N-pairs term."""
TUPLET_MARGIN = """for each ordered positive pair: log(1 + sum_n exp(scale (S_an - cos(acos(S_ap) - margin)))), margin
in degrees; mean over pairs. No clamp before acos, whose gradient is infinite at S = 1; no intra-pair variance term."""
RANKED_LIST = """for each row, with alpha = 1 + margin / 2 unless given: positives with D > alpha - margin, negatives
with 0 < D < alpha; w_p = exp(Tp (D - (alpha - margin))), w_n = exp(Tn (alpha - D)), NOT detached; loss_P = sum w_p
(D - (alpha - margin)) / (sum w_p + 1e-5 B), loss_N = sum w_n (alpha - D) / (sum w_n + 1e-5 B), value
(1 - imbalance) loss_P + imbalance loss_N. Mean over all B rows."""
SNR_CONTRASTIVE = """contrastive with d_ij = var(e_i - e_j) / var(e_i), variances over the dimensions of the unit rows
(unbiased, which cancels), not symmetric: relu(d_ap - pos_margin) and relu(neg_margin - d_an), reduced apart and added.
No zero-mean regularizer."""
INTRA_PAIR_VARIANCE = """m_p, m_n: mean similarity of all ordered positive, negative pairs of the batch, NOT detached:
relu((1 - pos_eps) m_p - S_ap)^2 and relu(S_an - (1 + neg_eps) m_n)^2, each averaged over its pairs, then added. For
m_n < 0 the factor moves the border away from zero, as it stands."""
FAST_AP = """squared distances in [0, 4], soft histogram of num_bins + 1 edges, width w = 4 / num_bins, triangular
pulse relu(1 - |D^2 - edge| / w); h+ of the positives, H+ and H cumulative over positives and over all but itself:
1 - sum_bins h+ H+ / H / |P|, bins with h+ H+ = 0 left out. Mean over rows with positives."""
SMOOTH_AP = """AP of each row with the row ITSELF among its positives (similarity 1): mean over the class, itself
included, of R(j, class) / R(j, all), where R(j, set) = 1 + sum over k in the set, k != j, of sigmoid((S_ik - S_ij) /
temperature), k = i included; 1 - AP, mean over rows. Rows must be sorted by class, classes of one size, and the reshape
is right only when the batch has as many classes as samples of each."""
PNP = """for each row, with the row ITSELF among its positives (similarity 1): mean over the class, itself included, of
f(N_p), N_p = sum over negatives of sigmoid((S_an - S_ap) / anneal); mean over rows with positives. f by variant: O N,
Iu (1 + N) log(1 + N), Ib (b N - log(1 + b N)) / b^2, Ds log(1 + N), Dq 1 - (1 + N)^-alpha."""
TCM = """mean of margin_plus - S_ap over the ordered positive pairs of at most margin_plus, plus the mean of
S_an - margin_minus over the ordered negative pairs of at least margin_minus; a mean without pairs is 0."""
PROXY_NCA = """for each row: -log softmax_c(-softmax_scale |x - w_c|^2) of its class over ALL classes (the paper leaves
the own proxy out of the sum), unit rows and unit proxies; mean over rows."""
PROXY_ANCHOR = """per class c over the batch: log(1 + sum of exp(-alpha (S_xc - margin)) over its samples), summed over
classes and divided by the number of classes in the batch; plus log(1 + sum of exp(alpha (S_xc + margin)) over the
others), divided by the number of all classes. Unit rows and proxies. An empty side is 0."""
SOFT_TRIPLE = """similarity to class c: sum_k softmax_k(S_xck / gamma) S_xck over its centers; cross-entropy of
la (similarity - margin [c = y]); mean over rows. Softmax weights are not detached. Unit rows and centers, no
regularizer on the centers."""
NORMALIZED_SOFTMAX = """cross-entropy of S_xc / temperature over all classes, unit rows and weights; mean over rows."""
ARC_FACE = """cross-entropy of scale * logits; the logit of the own class is cos(theta + m) if theta <= pi - m, else
cos(theta) - m sin(m), m = margin in degrees turned to radians; theta = acos(clamp(S, -1, 1)). Mean over rows."""
SUB_CENTER = """as ArcFaceLoss with S_xc the largest over the centers of class c."""
COS_FACE = """cross-entropy of scale * (S_xc - margin [c = y]); mean over rows."""
MEMORY = """CrossBatchMemory: 3 steps of 8 rows of the batch; each step first puts its rows, detached, into a ring of
memory_size, then compares its rows (with gradient) with the whole filled ring (without), its own rows' copies
included, but for each row's own copy as positive. `batches` holds a list of steps."""

ENTRIES = {
    "contrastive cosine": Entry(
        "ContrastiveLoss", {"pos_margin": 1, "neg_margin": 0}, NON_ZERO, COSINE, CONTRASTIVE, batches=AND_RAW
    ),
    "contrastive cosine margins": Entry(
        "ContrastiveLoss", {"pos_margin": 0.9, "neg_margin": 0.3}, NON_ZERO, COSINE, CONTRASTIVE
    ),
    "contrastive cosine mean": Entry(
        "ContrastiveLoss", {"pos_margin": 0.9, "neg_margin": 0.3}, MEAN, COSINE, CONTRASTIVE
    ),
    "contrastive": Entry("ContrastiveLoss", {"pos_margin": 0, "neg_margin": 1}, NON_ZERO, EUCLIDEAN, CONTRASTIVE),
    "contrastive mean": Entry("ContrastiveLoss", {"pos_margin": 0.2, "neg_margin": 1.1}, MEAN, EUCLIDEAN, CONTRASTIVE),
    "contrastive squared": Entry(
        "ContrastiveLoss", {"pos_margin": 0.2, "neg_margin": 1.1}, NON_ZERO, SQUARED, CONTRASTIVE
    ),
    "triplet": Entry("TripletMarginLoss", {"margin": 0.05}, NON_ZERO, EUCLIDEAN, TRIPLET, batches=AND_RAW),
    "triplet mean": Entry("TripletMarginLoss", {"margin": 0.2}, MEAN, EUCLIDEAN, TRIPLET),
    "triplet squared": Entry("TripletMarginLoss", {"margin": 0.2}, NON_ZERO, SQUARED, TRIPLET),
    "triplet squared mean": Entry("TripletMarginLoss", {"margin": 0.2}, MEAN, SQUARED, TRIPLET),
    "triplet cosine": Entry("TripletMarginLoss", {"margin": 0.1}, NON_ZERO, COSINE, TRIPLET),
    "triplet cosine mean": Entry("TripletMarginLoss", {"margin": 0.1}, MEAN, COSINE, TRIPLET),
    "triplet smooth": Entry("TripletMarginLoss", {"margin": 0, "smooth_loss": True}, MEAN, EUCLIDEAN, TRIPLET),
    "triplet smooth squared": Entry("TripletMarginLoss", {"margin": 0, "smooth_loss": True}, MEAN, SQUARED, TRIPLET),
    "triplet smooth cosine": Entry("TripletMarginLoss", {"margin": 0, "smooth_loss": True}, MEAN, COSINE, TRIPLET),
    "triplet smooth margin": Entry(
        "TripletMarginLoss", {"margin": 0.2, "smooth_loss": True}, NON_ZERO, SQUARED, TRIPLET
    ),
    "triplet easy semihard": Entry(
        "TripletMarginLoss", {"margin": 0.2}, NON_ZERO, SQUARED, TRIPLET + " " + EASY, easy("semihard")
    ),
    "triplet easy semihard mean": Entry(
        "TripletMarginLoss", {"margin": 0.2}, MEAN, EUCLIDEAN, TRIPLET + " " + EASY, easy("semihard")
    ),
    "triplet easy hard": Entry(
        "TripletMarginLoss", {"margin": 0.2}, NON_ZERO, SQUARED, TRIPLET + " " + EASY, easy("hard")
    ),
    "triplet easy hard cosine": Entry(
        "TripletMarginLoss", {"margin": 0.1}, MEAN, COSINE, TRIPLET + " " + EASY, easy("hard")
    ),
    "margin": Entry(
        "MarginLoss",
        {"margin": 0.2, "beta": 1.2},
        DIVISOR,
        EUCLIDEAN,
        MARGIN
        + """ Divided by the number of positive hinges > 0 plus the number of negative hinges > 0, both counted
        over triplets.""",
        batches=AND_RAW,
    ),
    "margin 0.1 1.0": Entry(
        "MarginLoss",
        {"margin": 0.1, "beta": 1.0},
        DIVISOR,
        EUCLIDEAN,
        MARGIN + " Divided by the number of positive hinges > 0 plus that of negative hinges > 0, over triplets.",
    ),
    "margin mean": Entry(
        "MarginLoss", {"margin": 0.2, "beta": 1.2}, MEAN, EUCLIDEAN, MARGIN + " Mean over all triplets."
    ),
    "multi-similarity": Entry(
        "MultiSimilarityLoss", {"alpha": 2, "beta": 50, "base": 0.5}, MEAN, COSINE, MULTI_SIMILARITY, batches=AND_RAW
    ),
    "multi-similarity 2 40": Entry(
        "MultiSimilarityLoss", {"alpha": 2, "beta": 40, "base": 0.5}, MEAN, COSINE, MULTI_SIMILARITY
    ),
    "multi-similarity mined": Entry(
        "MultiSimilarityLoss",
        {"alpha": 2, "beta": 40, "base": 0.5},
        MEAN,
        COSINE,
        MULTI_SIMILARITY + " " + MULTI_SIMILARITY_MINER,
        ("MultiSimilarityMiner", {"epsilon": 0.1}),
    ),
    "NT-Xent": Entry("NTXentLoss", {"temperature": 0.07}, MEAN, COSINE, NT_XENT),
    "NT-Xent 0.1": Entry("NTXentLoss", {"temperature": 0.1}, MEAN, COSINE, NT_XENT, batches=AND_RAW),
    "NT-Xent easy semihard": Entry(
        "NTXentLoss", {"temperature": 0.1}, MEAN, COSINE, NT_XENT + " " + EASY + " This is EPSHN.", easy("semihard")
    ),
    "NT-Xent easy hard": Entry(
        "NTXentLoss", {"temperature": 0.1}, MEAN, COSINE, NT_XENT + " " + EASY + " This is EPHN.", easy("hard")
    ),
    "NT-Xent easy all": Entry(
        "NTXentLoss",
        {"temperature": 0.1},
        MEAN,
        COSINE,
        NT_XENT + " Miner on D, no gradient: the nearest positive of each anchor, all negatives.",
        easy("all"),
    ),
    "SupCon": Entry("SupConLoss", {"temperature": 0.1}, NON_ZERO, COSINE, SUP_CON, batches=AND_RAW),
    "SupCon 0.5 mean": Entry("SupConLoss", {"temperature": 0.5}, MEAN, COSINE, SUP_CON),
    "N-pairs": Entry(
        "NPairsLoss",
        {},
        MEAN,
        DOT_OF_UNIT_ROWS,
        N_PAIRS + " The default DotProductSimilarity divides rows by their norm: cosine similarities, no scale.",
        batches=(*ALL_UNIT, "raw"),
    ),
    "N-pairs dot": Entry(
        "NPairsLoss", {}, MEAN, DOT, N_PAIRS + " Dot products of the rows as given.", batches=(*ALL_UNIT, "raw")
    ),
    "lifted structure": Entry("LiftedStructureLoss", {"neg_margin": 1, "pos_margin": 0}, MEAN, EUCLIDEAN, LIFTED),
    "lifted structure margins": Entry(
        "LiftedStructureLoss", {"neg_margin": 0.8, "pos_margin": 0.3}, NON_ZERO, EUCLIDEAN, LIFTED
    ),
    "generalized lifted structure": Entry(
        "GeneralizedLiftedStructureLoss", {"neg_margin": 1, "pos_margin": 0}, MEAN, EUCLIDEAN, GENERALIZED_LIFTED
    ),
    "generalized lifted structure margins": Entry(
        "GeneralizedLiftedStructureLoss",
        {"neg_margin": 0.2, "pos_margin": 1.3},
        NON_ZERO,
        EUCLIDEAN,
        GENERALIZED_LIFTED,
    ),
    "NCA": Entry("NCALoss", {"softmax_scale": 1}, MEAN, SQUARED, NCA, batches=AND_RAW),
    "NCA 10": Entry("NCALoss", {"softmax_scale": 10}, MEAN, SQUARED, NCA),
    "circle": Entry("CircleLoss", {"m": 0.4, "gamma": 80}, NON_ZERO, COSINE, CIRCLE, batches=AND_RAW),
    "circle 0.25 16": Entry("CircleLoss", {"m": 0.25, "gamma": 16}, MEAN, COSINE, CIRCLE),
    "angular": Entry("AngularLoss", {"alpha": 40}, MEAN, EUCLIDEAN, ANGULAR),
    "angular 30": Entry("AngularLoss", {"alpha": 30}, MEAN, EUCLIDEAN, ANGULAR, batches=ALL_UNIT),
    "tuplet margin": Entry("TupletMarginLoss", {"margin": 5.73, "scale": 64}, MEAN, COSINE, TUPLET_MARGIN),
    "tuplet margin 10 16": Entry("TupletMarginLoss", {"margin": 10, "scale": 16}, MEAN, COSINE, TUPLET_MARGIN),
    "ranked list": Entry("RankedListLoss", {"margin": 0.4, "Tn": 5}, MEAN, EUCLIDEAN, RANKED_LIST),
    "ranked list alpha": Entry(
        "RankedListLoss",
        {"margin": 0.3, "Tn": 4, "imbalance": 0.3, "alpha": 1.1, "Tp": 2},
        MEAN,
        EUCLIDEAN,
        RANKED_LIST,
    ),
    "SNR contrastive": Entry(
        "SignalToNoiseRatioContrastiveLoss", {"pos_margin": 0, "neg_margin": 1}, NON_ZERO, SNR, SNR_CONTRASTIVE
    ),
    "SNR contrastive margins": Entry(
        "SignalToNoiseRatioContrastiveLoss", {"pos_margin": 0.1, "neg_margin": 2.0}, MEAN, SNR, SNR_CONTRASTIVE
    ),
    "intra-pair variance": Entry(
        "IntraPairVarianceLoss", {"pos_eps": 0.01, "neg_eps": 0.01}, MEAN, COSINE, INTRA_PAIR_VARIANCE
    ),
    "intra-pair variance eps": Entry(
        "IntraPairVarianceLoss", {"pos_eps": 0.05, "neg_eps": 0.1}, MEAN, COSINE, INTRA_PAIR_VARIANCE
    ),
    "FastAP": Entry("FastAPLoss", {"num_bins": 10}, MEAN, SQUARED, FAST_AP),
    "FastAP 20": Entry("FastAPLoss", {"num_bins": 20}, MEAN, SQUARED, FAST_AP),
    "SmoothAP": Entry("SmoothAPLoss", {"temperature": 0.01}, MEAN, COSINE, SMOOTH_AP, batches=("balanced",)),
    "SmoothAP 0.1": Entry("SmoothAPLoss", {"temperature": 0.1}, MEAN, COSINE, SMOOTH_AP, batches=("balanced",)),
    "PNP O": Entry("PNPLoss", {"variant": "O", "anneal": 0.01}, MEAN, COSINE, PNP),
    "PNP Iu": Entry("PNPLoss", {"variant": "Iu", "anneal": 0.1}, MEAN, COSINE, PNP),
    "PNP Ib": Entry("PNPLoss", {"variant": "Ib", "b": 2, "anneal": 0.1}, MEAN, COSINE, PNP),
    "PNP Ds": Entry("PNPLoss", {"variant": "Ds", "anneal": 0.1}, MEAN, COSINE, PNP),
    "PNP Dq": Entry("PNPLoss", {"variant": "Dq", "alpha": 4, "anneal": 0.1}, MEAN, COSINE, PNP),
    "threshold-consistent margin": Entry("ThresholdConsistentMarginLoss", {}, MEAN, COSINE, TCM),
    "Proxy-NCA": Entry(
        "ProxyNCALoss", {"softmax_scale": 1}, MEAN, SQUARED, PROXY_NCA, weights="proxies", batches=AND_RAW
    ),
    "Proxy-NCA 8": Entry("ProxyNCALoss", {"softmax_scale": 8}, MEAN, SQUARED, PROXY_NCA, weights="proxies"),
    "Proxy-Anchor": Entry(
        "ProxyAnchorLoss",
        {"margin": 0.1, "alpha": 32},
        DIVISOR,
        COSINE,
        PROXY_ANCHOR,
        weights="proxies",
        batches=AND_RAW,
    ),
    "Proxy-Anchor 0.2 8": Entry(
        "ProxyAnchorLoss", {"margin": 0.2, "alpha": 8}, DIVISOR, COSINE, PROXY_ANCHOR, weights="proxies"
    ),
    "SoftTriple": Entry(
        "SoftTripleLoss",
        {"la": 20, "gamma": 0.1, "margin": 0.01, "centers_per_class": 3},
        MEAN,
        COSINE,
        SOFT_TRIPLE,
        weights="fc",
        centers=3,
        batches=AND_RAW,
    ),
    "SoftTriple 10 0.2": Entry(
        "SoftTripleLoss",
        {"la": 10, "gamma": 0.2, "margin": 0.1, "centers_per_class": 2},
        MEAN,
        COSINE,
        SOFT_TRIPLE,
        weights="fc",
        centers=2,
    ),
    "normalized softmax": Entry(
        "NormalizedSoftmaxLoss",
        {"temperature": 0.05},
        MEAN,
        DOT_OF_UNIT_ROWS,
        NORMALIZED_SOFTMAX,
        weights="W",
        batches=AND_RAW,
    ),
    "normalized softmax 0.2": Entry(
        "NormalizedSoftmaxLoss", {"temperature": 0.2}, MEAN, DOT_OF_UNIT_ROWS, NORMALIZED_SOFTMAX, weights="W"
    ),
    "ArcFace": Entry(
        "ArcFaceLoss", {"margin": 28.6, "scale": 64}, MEAN, COSINE, ARC_FACE, weights="W", batches=AND_RAW
    ),
    "ArcFace 20 16": Entry("ArcFaceLoss", {"margin": 20, "scale": 16}, MEAN, COSINE, ARC_FACE, weights="W"),
    "sub-center ArcFace": Entry(
        "SubCenterArcFaceLoss",
        {"margin": 28.6, "scale": 64, "sub_centers": 3},
        MEAN,
        COSINE,
        SUB_CENTER + " " + ARC_FACE,
        weights="W",
        centers=3,
    ),
    "sub-center ArcFace 20 16": Entry(
        "SubCenterArcFaceLoss",
        {"margin": 20, "scale": 16, "sub_centers": 2},
        MEAN,
        COSINE,
        SUB_CENTER + " " + ARC_FACE,
        weights="W",
        centers=2,
    ),
    "CosFace": Entry(
        "CosFaceLoss", {"margin": 0.35, "scale": 64}, MEAN, COSINE, COS_FACE, weights="W", batches=AND_RAW
    ),
    "CosFace 0.2 16": Entry("CosFaceLoss", {"margin": 0.2, "scale": 16}, MEAN, COSINE, COS_FACE, weights="W"),
    "memory contrastive": Entry(
        "ContrastiveLoss",
        {"pos_margin": 1, "neg_margin": 0.5},
        NON_ZERO,
        COSINE,
        CONTRASTIVE + " " + MEMORY,
        memory_size=20,
        batches=("random",),
    ),
    "memory triplet": Entry(
        "TripletMarginLoss",
        {"margin": 0.2},
        NON_ZERO,
        SQUARED,
        TRIPLET + " " + MEMORY + " No miner: all pairs are combined to all triplets.",
        memory_size=20,
        batches=("random",),
    ),
    "memory triplet hard": Entry(
        "TripletMarginLoss",
        {"margin": 0.2},
        NON_ZERO,
        SQUARED,
        TRIPLET
        + " "
        + MEMORY
        + """ Miner: the farthest positive and the nearest negative in the ring. It runs before the own
        copies are removed, so that with pos_strategy="easy" every positive is the own copy and the loss is 0.""",
        miner=hard(),
        memory_size=20,
        batches=("random",),
    ),
}
