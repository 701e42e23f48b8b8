"""Measures of the collapse of classes.

A class collapses when a loss draws all its looks to one point. `measure` says how far an embedding is from that,
`mode_nmi` whether clusters still find the looks; the single measures are functions of their own.
"""

from keras_epos.collapse._measure import coinciding, measure, mode_nmi
from keras_epos.collapse._spectrum import effective_rank, spectral_decay
from keras_epos.collapse._spread import mode_spread, spread

__all__ = ["coinciding", "effective_rank", "measure", "mode_nmi", "mode_spread", "spectral_decay", "spread"]
