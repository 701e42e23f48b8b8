"""Callbacks that watch an embedding while a model trains."""

from keras_epos.callbacks._best_interpolation import BestInterpolation
from keras_epos.callbacks._collapse_monitor import CollapseMonitor
from keras_epos.callbacks._frozen_baseline import FrozenBaseline
from keras_epos.callbacks._hierarchy_rebuild import HierarchyRebuild
from keras_epos.callbacks._recall_at_k import RecallAtK
from keras_epos.callbacks._resume import Resume
from keras_epos.callbacks._stage_by_epoch import StageByEpoch

__all__ = [
    "BestInterpolation",
    "CollapseMonitor",
    "FrozenBaseline",
    "HierarchyRebuild",
    "RecallAtK",
    "Resume",
    "StageByEpoch",
]
