"""The metric-learning losses of tensorflow-addons 0.23, on Keras 3 and its backends.

    from keras_epos.compat import tfa

    model.compile("adam", loss=tfa.TripletSemiHardLoss())    # was: tensorflow_addons.losses.TripletSemiHardLoss()

Same arguments, and the same values and gradients on batches that have something to learn from. Different, on purpose:

- A batch without any triplet or pair gives exactly 0 with a gradient of 0, where the original gives NaN or a constant.
- Memory grows with the square of the batch, not with its cube.
- Integer labels are compared exactly; Keras 3 would turn them into floats, which merges ids from 2^24 on. Float labels
  are taken where they can be checked to be whole and exact, which is outside compiled functions.
- Zero rows, duplicates, far apart and half precision rows have finite gradients; the classes compute in float32.
- Arguments that mean nothing are refused instead of ignored.

New code is better off with the losses of `keras_epos` itself, such as `TripletLoss` and `EasyPositiveTripletLoss`.
"""

from keras_epos.compat.tfa._contrastive import ContrastiveLoss, contrastive_loss
from keras_epos.compat.tfa._distances import angular_distance, pairwise_distance
from keras_epos.compat.tfa._lifted_structure import LiftedStructLoss, lifted_struct_loss
from keras_epos.compat.tfa._npairs import NpairsLoss, NpairsMultilabelLoss, npairs_loss, npairs_multilabel_loss
from keras_epos.compat.tfa._triplet import (
    TripletHardLoss,
    TripletSemiHardLoss,
    triplet_hard_loss,
    triplet_semihard_loss,
)

__all__ = [
    "ContrastiveLoss",
    "LiftedStructLoss",
    "NpairsLoss",
    "NpairsMultilabelLoss",
    "TripletHardLoss",
    "TripletSemiHardLoss",
    "angular_distance",
    "contrastive_loss",
    "lifted_struct_loss",
    "npairs_loss",
    "npairs_multilabel_loss",
    "pairwise_distance",
    "triplet_hard_loss",
    "triplet_semihard_loss",
]
