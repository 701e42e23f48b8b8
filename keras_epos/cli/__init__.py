"""The command line `keras-epos`, also `python -m keras_epos`."""

from keras_epos.cli._main import main

__all__ = ["main"]
