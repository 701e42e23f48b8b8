"""Callbacks that watch an embedding while a model trains."""

from keras_epos.callbacks.best_interpolation import BestInterpolation
from keras_epos.callbacks.collapse_monitor import CollapseMonitor
from keras_epos.callbacks.hierarchy_rebuild import HierarchyRebuild
from keras_epos.callbacks.recall_at_k import RecallAtK
from keras_epos.callbacks.stage_by_epoch import StageByEpoch

__all__ = ["BestInterpolation", "CollapseMonitor", "HierarchyRebuild", "RecallAtK", "StageByEpoch"]
