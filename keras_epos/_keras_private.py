"""What Keras has no public name for, in one place: here to look when a new Keras moves it."""

from keras.src.backend.common.masking import get_keras_mask
from keras.src.backend.common.symbolic_scope import in_symbolic_scope
from keras.src.trainers.compile_utils import CompileLoss
from keras.src.trainers.data_adapters import is_grain_dataset, is_tf_dataset, is_torch_dataloader
from keras.src.utils.tracking import DotNotTrackScope

__all__ = [
    "CompileLoss",
    "DotNotTrackScope",
    "get_keras_mask",
    "in_symbolic_scope",
    "is_grain_dataset",
    "is_tf_dataset",
    "is_torch_dataloader",
]
