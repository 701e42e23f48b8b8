"""Galleries: embeddings with ids, labels and payload, searched exactly, that can say "unknown", kept in a folder.

A gallery answers what a query is like (`search`) and whether that is close enough (`match`). It ranks with the engine
of `keras_epos.retrieval`: similarities are float32 where that decides, and float64 where it does not.
"""

from keras_epos.gallery._faiss import Faiss
from keras_epos.gallery._gallery import Gallery
from keras_epos.gallery._lance import LanceGallery
from keras_epos.gallery._qdrant import write_to_qdrant
from keras_epos.gallery._results import Found, Matches

__all__ = ["Faiss", "Found", "Gallery", "LanceGallery", "Matches", "write_to_qdrant"]
