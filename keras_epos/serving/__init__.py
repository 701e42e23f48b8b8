"""Trained models for servers and small computers: SavedModel, ONNX, OpenVINO and LiteRT, with a model card."""

from keras_epos.serving._export import export_savedmodel
from keras_epos.serving._formats import export
from keras_epos.serving._report import ExportReport

__all__ = ["ExportReport", "export", "export_savedmodel"]
