"""Losses of ended libraries under their old names, on Keras 3: see `keras_epos.compat.tfa`."""
