"""The losses, one a file."""

from keras_epos.losses.circle import CircleLoss
from keras_epos.losses.contrastive import ContrastiveLoss
from keras_epos.losses.cross_batch_memory import CrossBatchMemory
from keras_epos.losses.embedding_loss import EmbeddingLoss
from keras_epos.losses.margin import MarginLoss
from keras_epos.losses.multi_similarity import MultiSimilarityLoss
from keras_epos.losses.nt_xent import NTXentLoss
from keras_epos.losses.pair_loss import PairLoss
from keras_epos.losses.pair_weighting import PairWeightingLoss
from keras_epos.losses.penalties import KoLeoPenalty, NormPenalty, SpreadOutPenalty, ZeroMeanPenalty
from keras_epos.losses.sup_con import SupConLoss
from keras_epos.losses.triplet import EasyPositiveTripletLoss, TripletLoss
from keras_epos.losses.weighted_sum import WeightedSum

LOSSES = {
    "circle": CircleLoss,
    "contrastive": ContrastiveLoss,
    "easy_positive_triplet": EasyPositiveTripletLoss,
    "margin": MarginLoss,
    "multi_similarity": MultiSimilarityLoss,
    "nt_xent": NTXentLoss,
    "sup_con": SupConLoss,
    "triplet": TripletLoss,
}

# Losses that are no loss without arguments, and penalties to add to one; they have no name for `get`.
OTHERS = (
    CrossBatchMemory,
    KoLeoPenalty,
    NormPenalty,
    PairWeightingLoss,
    SpreadOutPenalty,
    WeightedSum,
    ZeroMeanPenalty,
)

__all__ = [
    "LOSSES",
    "EmbeddingLoss",
    "PairLoss",
    *(loss.__name__ for loss in OTHERS),
    "get",
    *(loss.__name__ for loss in LOSSES.values()),
]


def get(loss, **settings):
    """A loss of this library from its name, such as `"multi_similarity"`, with its arguments.

    Raises:
        ValueError: If there is no loss of that name.
    """
    if loss not in LOSSES:
        raise ValueError(f"`loss` must be one of {sorted(LOSSES)}. Received: loss={loss!r}")
    return LOSSES[loss](**settings)
