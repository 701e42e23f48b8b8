"""Readers of the field's data sets in their official layouts. They never download."""

from keras_epos.data.datasets._cars196 import cars196
from keras_epos.data.datasets._cub200_2011 import cub200_2011
from keras_epos.data.datasets._fashion_sample import fashion_sample
from keras_epos.data.datasets._image_folder import image_folder
from keras_epos.data.datasets._in_shop import in_shop
from keras_epos.data.datasets._omniglot import omniglot
from keras_epos.data.datasets._pairs import Pairs, TemplatePairs, lfw_pairs, template_pairs
from keras_epos.data.datasets._reidentification import (
    duke_mtmc_reid,
    market1501,
    msmt17,
    reidentification_table,
    veri776,
)
from keras_epos.data.datasets._revisited import Revisited, revisited
from keras_epos.data.datasets._shard_folder import shard_folder
from keras_epos.data.datasets._split import Split, TrainQueryGallery, TrainTest, TrainValidationTest
from keras_epos.data.datasets._stanford_online_products import stanford_online_products

__all__ = [
    "Pairs",
    "Revisited",
    "Split",
    "TemplatePairs",
    "TrainQueryGallery",
    "TrainTest",
    "TrainValidationTest",
    "cars196",
    "cub200_2011",
    "duke_mtmc_reid",
    "fashion_sample",
    "image_folder",
    "in_shop",
    "lfw_pairs",
    "market1501",
    "msmt17",
    "omniglot",
    "reidentification_table",
    "revisited",
    "shard_folder",
    "stanford_online_products",
    "template_pairs",
    "veri776",
]
