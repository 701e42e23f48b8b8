"""The losses, one a file."""

import difflib
import inspect

import keras

from keras_epos.config import revived
from keras_epos.losses.angular import AngularLoss
from keras_epos.losses.arc_face import ArcFaceLoss, SubCenterArcFaceLoss
from keras_epos.losses.binomial_deviance import BinomialDevianceLoss
from keras_epos.losses.circle import CircleLoss
from keras_epos.losses.contrastive import ContrastiveLoss
from keras_epos.losses.cos_face import CosFaceLoss
from keras_epos.losses.cross_batch_memory import CrossBatchMemory
from keras_epos.losses.easy_positive_hard_negative import EasyPositiveHardNegativeLoss
from keras_epos.losses.embedding_loss import EmbeddingLoss
from keras_epos.losses.fast_ap import FastAPLoss
from keras_epos.losses.generalized_lifted_structure import GeneralizedLiftedStructureLoss
from keras_epos.losses.hierarchical_triplet import HierarchicalTripletLoss
from keras_epos.losses.intra_pair_variance import IntraPairVarianceLoss
from keras_epos.losses.lifted_structure import LiftedStructureLoss
from keras_epos.losses.margin import MarginLoss
from keras_epos.losses.multi_similarity import MultiSimilarityLoss
from keras_epos.losses.n_pairs import NPairsLoss
from keras_epos.losses.nca import NCALoss
from keras_epos.losses.normalized_softmax import NormalizedSoftmaxLoss
from keras_epos.losses.nt_xent import NTXentLoss
from keras_epos.losses.pair_loss import PairLoss
from keras_epos.losses.pair_weighting import PairWeightingLoss
from keras_epos.losses.penalties import KoLeoPenalty, NormPenalty, SpreadOutPenalty, ZeroMeanPenalty
from keras_epos.losses.proxy_anchor import ProxyAnchorLoss
from keras_epos.losses.proxy_loss import ProxyLoss
from keras_epos.losses.proxy_nca import ProxyNCALoss
from keras_epos.losses.ranked_list import RankedListLoss
from keras_epos.losses.smooth_ap import SmoothAPLoss
from keras_epos.losses.snr_contrastive import SNRContrastiveLoss
from keras_epos.losses.soft_triple import SoftTripleLoss
from keras_epos.losses.sup_con import SupConLoss
from keras_epos.losses.triplet import EasyPositiveTripletLoss, TripletLoss
from keras_epos.losses.tuplet_margin import TupletMarginLoss
from keras_epos.losses.weighted_sum import WeightedSum

LOSSES = {
    "angular": AngularLoss,
    "arc_face": ArcFaceLoss,
    "binomial_deviance": BinomialDevianceLoss,
    "circle": CircleLoss,
    "contrastive": ContrastiveLoss,
    "cos_face": CosFaceLoss,
    "easy_positive_hard_negative": EasyPositiveHardNegativeLoss,
    "easy_positive_triplet": EasyPositiveTripletLoss,
    "generalized_lifted_structure": GeneralizedLiftedStructureLoss,
    "fast_ap": FastAPLoss,
    "intra_pair_variance": IntraPairVarianceLoss,
    "lifted_structure": LiftedStructureLoss,
    "margin": MarginLoss,
    "multi_similarity": MultiSimilarityLoss,
    "n_pairs": NPairsLoss,
    "nca": NCALoss,
    "normalized_softmax": NormalizedSoftmaxLoss,
    "nt_xent": NTXentLoss,
    "proxy_anchor": ProxyAnchorLoss,
    "proxy_nca": ProxyNCALoss,
    "ranked_list": RankedListLoss,
    "smooth_ap": SmoothAPLoss,
    "snr_contrastive": SNRContrastiveLoss,
    "soft_triple": SoftTripleLoss,
    "sub_center_arc_face": SubCenterArcFaceLoss,
    "sup_con": SupConLoss,
    "triplet": TripletLoss,
    "tuplet_margin": TupletMarginLoss,
}

# Losses that are no loss without arguments, and penalties to add to one; they have no name for `get`.
OTHERS = (
    CrossBatchMemory,
    HierarchicalTripletLoss,
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
    "ProxyLoss",
    *(loss.__name__ for loss in OTHERS),
    "get",
    *(loss.__name__ for loss in LOSSES.values()),
]


def get(loss, **settings):
    """A loss of this library from its name, such as `"multi_similarity"`, with its arguments.

    Args:
        loss: Its name, its class's name (`"MultiSimilarityLoss"`, also as `"keras_epos>MultiSimilarityLoss"`), its
            Keras config, itself, or `None`.
        settings: Arguments of its constructor; only with a name.

    Raises:
        ValueError: If there is no loss of that name, or it needs arguments that are missing.
    """
    loss = revived(loss, keras.losses.Loss)
    if loss is None or isinstance(loss, keras.losses.Loss):
        return loss
    name = named(loss)
    if name is None:
        near = difflib.get_close_matches(str(loss), [*LOSSES, *(one.__name__ for one in LOSSES.values())], 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"`loss` must be one of {sorted(LOSSES)}. Received: loss={loss!r}.{hint}")
    missing = sorted(set(required_arguments(LOSSES[name])) - set(settings))
    if missing:
        raise ValueError(
            f"`{missing[0]}` must be given for the loss {loss!r}. Received: loss={loss!r} without. Pass an object: "
            f"keras_epos.{LOSSES[name].__name__}({missing[0]}=...)."
        )
    return LOSSES[name](**settings)


def of_name(name):
    """The loss of a name as `keras.Model.compile` is given it: one of this library, or the name where it is Keras's.

    Raises:
        ValueError: If there is no loss of that name, or one here and another in Keras.
    """
    if named(name) is None:
        # What Keras does not know either gets the nearest of our names.
        return name if _is_of_keras(name) else get(name)
    if _is_of_keras(name):
        raise ValueError(
            f"`loss` must say whose loss is meant. Received: loss={name!r}, the name of two. Pass "
            f"keras_epos.{LOSSES[name].__name__}() or keras.losses.get({name!r})."
        )
    return get(name)


def _is_of_keras(name):
    try:
        return name.lower() in ("crossentropy", "ce") or keras.losses.get(name) is not None
    except ValueError:
        return False


def named(loss):
    """The key in `LOSSES` of a loss's name or its class's name, or `None`."""
    if isinstance(loss, str) and loss in LOSSES:
        return loss
    classes = {one.__name__: name for name, one in LOSSES.items()}
    return classes.get(str(loss).removeprefix("keras_epos>"))


def required_arguments(loss):
    """Names of the constructor's arguments without a default."""
    parameters = inspect.signature(loss).parameters.values()
    return [one.name for one in parameters if one.default is one.empty and one.kind is not one.VAR_KEYWORD]
