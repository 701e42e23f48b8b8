"""Callbacks that watch an embedding while a model trains."""

from keras_epos.callbacks.collapse_monitor import CollapseMonitor
from keras_epos.callbacks.hierarchy_rebuild import HierarchyRebuild
from keras_epos.callbacks.recall_at_k import RecallAtK

__all__ = ["CollapseMonitor", "HierarchyRebuild", "RecallAtK"]
