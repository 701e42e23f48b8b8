"""Readers of the field's data sets in their official layouts. They never download."""

from keras_epos.data.datasets.cars196 import cars196 as cars196
from keras_epos.data.datasets.cub200_2011 import cub200_2011 as cub200_2011
from keras_epos.data.datasets.fashion_sample import fashion_sample as fashion_sample
from keras_epos.data.datasets.image_folder import image_folder as image_folder
from keras_epos.data.datasets.in_shop import in_shop as in_shop
from keras_epos.data.datasets.omniglot import omniglot as omniglot
from keras_epos.data.datasets.split import Split as Split
from keras_epos.data.datasets.split import TrainQueryGallery as TrainQueryGallery
from keras_epos.data.datasets.split import TrainTest as TrainTest
from keras_epos.data.datasets.split import TrainValidationTest as TrainValidationTest
from keras_epos.data.datasets.stanford_online_products import (
    stanford_online_products as stanford_online_products,
)
