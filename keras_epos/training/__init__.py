"""Models to train."""

from keras_epos.training.embedding_model import EmbeddingModel
from keras_epos.training.head_start import start_head
from keras_epos.training.metric_learning_model import MetricLearningModel
from keras_epos.training.oriented_gradients import OrientedGradients

__all__ = ["EmbeddingModel", "MetricLearningModel", "OrientedGradients", "start_head"]
