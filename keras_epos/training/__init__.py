"""Models to train."""

from keras_epos.training._embedding_model import EmbeddingModel
from keras_epos.training._head_start import start_head
from keras_epos.training._metric_learning_model import MetricLearningModel
from keras_epos.training._oriented_gradients import OrientedGradients

__all__ = ["EmbeddingModel", "MetricLearningModel", "OrientedGradients", "start_head"]
