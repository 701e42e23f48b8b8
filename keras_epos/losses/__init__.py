"""The losses, one a file."""

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
from keras_epos.losses.names import CLASSES, LOSSES, get
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

__all__ = ["LOSSES", "EmbeddingLoss", "PairLoss", "ProxyLoss", "get", *(loss.__name__ for loss in CLASSES)]
