"""Collapse of classes: measures of it, and the noise model that explains it.

A class collapses when a loss draws all its looks to one point. `measure` says how far an embedding is from that,
`mode_nmi` whether clusters still find the looks; the single measures are functions of their own.

The noise model is this project's formalisation of why it happens: `expected_triplet_loss` and `expected_margin_loss`
under label noise with their bounds, `simulated_triplet_loss` with easy positives, and `descend` on free points.
"""

from keras_epos.collapse.coinciding import coinciding
from keras_epos.collapse.free_points import descend, point_spread
from keras_epos.collapse.measure import measure, mode_nmi
from keras_epos.collapse.noise_model import expected_margin_loss, expected_triplet_loss, margin_bound, triplet_bound
from keras_epos.collapse.noisy_draws import simulated_triplet_loss
from keras_epos.collapse.noisy_labels import triplet_probabilities
from keras_epos.collapse.spectrum import effective_rank, spectral_decay
from keras_epos.collapse.spread import mode_spread, spread
from keras_epos.collapse.two_modes import lowest_two_mode_loss, two_modes

__all__ = [
    "coinciding",
    "descend",
    "effective_rank",
    "expected_margin_loss",
    "expected_triplet_loss",
    "lowest_two_mode_loss",
    "margin_bound",
    "measure",
    "mode_nmi",
    "mode_spread",
    "point_spread",
    "simulated_triplet_loss",
    "spectral_decay",
    "spread",
    "triplet_bound",
    "triplet_probabilities",
    "two_modes",
]
