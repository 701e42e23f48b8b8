"""Readers of the field's data sets in their official layouts. They never download."""

from keras_epos.data.datasets.cars196 import cars196
from keras_epos.data.datasets.cub200_2011 import cub200_2011
from keras_epos.data.datasets.fashion_sample import fashion_sample
from keras_epos.data.datasets.image_folder import image_folder
from keras_epos.data.datasets.in_shop import in_shop
from keras_epos.data.datasets.omniglot import omniglot
from keras_epos.data.datasets.split import Split, TrainQueryGallery, TrainTest, TrainValidationTest
from keras_epos.data.datasets.stanford_online_products import stanford_online_products

__all__ = [
    "Split",
    "TrainQueryGallery",
    "TrainTest",
    "TrainValidationTest",
    "cars196",
    "cub200_2011",
    "fashion_sample",
    "image_folder",
    "in_shop",
    "omniglot",
    "stanford_online_products",
]
