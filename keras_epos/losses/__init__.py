"""The losses, one a file."""

from keras_epos.losses.contrastive import ContrastiveLoss
from keras_epos.losses.embedding_loss import EmbeddingLoss
from keras_epos.losses.margin import MarginLoss
from keras_epos.losses.multi_similarity import MultiSimilarityLoss
from keras_epos.losses.nt_xent import NTXentLoss
from keras_epos.losses.pair_loss import PairLoss
from keras_epos.losses.triplet import EasyPositiveTripletLoss, TripletLoss

LOSSES = {
    "contrastive": ContrastiveLoss,
    "easy_positive_triplet": EasyPositiveTripletLoss,
    "margin": MarginLoss,
    "multi_similarity": MultiSimilarityLoss,
    "nt_xent": NTXentLoss,
    "triplet": TripletLoss,
}

__all__ = ["LOSSES", "EmbeddingLoss", "PairLoss", "get", *(loss.__name__ for loss in LOSSES.values())]


def get(loss, **settings):
    """A loss of this library from its name, such as `"multi_similarity"`, with its arguments.

    Raises:
        ValueError: If there is no loss of that name.
    """
    if loss not in LOSSES:
        raise ValueError(f"`loss` must be one of {sorted(LOSSES)}. Received: loss={loss!r}")
    return LOSSES[loss](**settings)
