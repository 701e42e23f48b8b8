"""Deep metric learning for Keras 3, built around easy positive sampling."""

try:
    import keras
except ImportError as error:
    from importlib.util import find_spec

    _installed = [name for name in ("tensorflow", "jax", "torch") if find_spec("keras") and find_spec(name)]
    raise ImportError(
        "keras_epos needs Keras with a backend. "
        + "".join(f"{name} is installed here: choose it by `export KERAS_BACKEND={name}`. " for name in _installed[:1])
        + "Or install one with the package: `pip install keras-epos[cpu]` "
        "(TensorFlow for CPUs), `keras-epos[gpu]` (TensorFlow for GPUs), `keras-epos[jax]` or `keras-epos[torch]`. "
        f"The import failed with: {error}"
    ) from error

from keras_epos import collapse, curriculum, data, gallery, hierarchy, losses, mining, retrieval, same_class, scale
from keras_epos.callbacks import (
    BestInterpolation,
    CollapseMonitor,
    FrozenBaseline,
    HierarchyRebuild,
    RecallAtK,
    Resume,
    StageByEpoch,
)
from keras_epos.data import datasets
from keras_epos.gallery import Gallery
from keras_epos.losses import *
from keras_epos.mining import All, DistanceWeighted, Easy, Hard, Random, SemiHard
from keras_epos.retrieval import Threshold, calibrate
from keras_epos.serving import export, export_savedmodel
from keras_epos.training import BNNeckModel, EmbeddingModel, MetricLearningModel, OrientedGradients

__version__ = "0.1.0"

# The losses stand at the top, but not what finds them by name, nor what they return.
del LOSSES, LossResult, Terms, get  # noqa: F821

__all__ = sorted(
    [
        "All",
        "BNNeckModel",
        "BestInterpolation",
        "CollapseMonitor",
        "DistanceWeighted",
        "Easy",
        "EmbeddingModel",
        "FrozenBaseline",
        "Gallery",
        "Hard",
        "HierarchyRebuild",
        "MetricLearningModel",
        "OrientedGradients",
        "Random",
        "RecallAtK",
        "Resume",
        "SemiHard",
        "StageByEpoch",
        "Threshold",
        "calibrate",
        "collapse",
        "curriculum",
        "data",
        "datasets",
        "export",
        "export_savedmodel",
        "gallery",
        "hierarchy",
        "losses",
        "mining",
        "retrieval",
        "same_class",
        "scale",
        *(name for name in losses.__all__ if name in globals()),
    ]
)
