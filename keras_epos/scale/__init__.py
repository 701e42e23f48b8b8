"""Embed more images than one machine can, by Ray Data: a picklable embedder, and shards that are each written once."""

from keras_epos.gallery._shards import Shards
from keras_epos.scale._embed import embed
from keras_epos.scale._embedder import Embedder

__all__ = ["Embedder", "Shards", "embed"]
