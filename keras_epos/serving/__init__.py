"""Trained models for servers: a SavedModel that needs TensorFlow alone."""

from keras_epos.serving._export import export_savedmodel

__all__ = ["export_savedmodel"]
