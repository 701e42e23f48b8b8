"""Models to train."""

from keras_epos.training.embedding_model import EmbeddingModel
from keras_epos.training.metric_learning_model import MetricLearningModel

__all__ = ["EmbeddingModel", "MetricLearningModel"]
