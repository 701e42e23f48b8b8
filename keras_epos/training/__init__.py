"""Models to train."""

from keras_epos.training._adapter_file import load_adapters, save_adapters
from keras_epos.training._bn_neck import BNNeckModel
from keras_epos.training._embedding_model import EmbeddingModel
from keras_epos.training._first_layers import freeze_first_layers
from keras_epos.training._head_start import start_head
from keras_epos.training._hub_backbone import hub_backbone
from keras_epos.training._metric_learning_model import MetricLearningModel
from keras_epos.training._oriented_gradients import OrientedGradients
from keras_epos.training._pooling import GeneralizedMean
from keras_epos.training._warm_cosine import warm_cosine_adamw

__all__ = [
    "BNNeckModel",
    "EmbeddingModel",
    "GeneralizedMean",
    "MetricLearningModel",
    "OrientedGradients",
    "freeze_first_layers",
    "hub_backbone",
    "load_adapters",
    "save_adapters",
    "start_head",
    "warm_cosine_adamw",
]
