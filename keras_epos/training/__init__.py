"""Models to train."""

from keras_epos.training.embedding_model import EmbeddingModel

__all__ = ["EmbeddingModel"]
