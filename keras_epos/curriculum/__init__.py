"""CurriculumNet: learning from wrong labels, the densest samples of each class first.

`split` finds the clean, noisy and highly noisy samples of every class from embeddings, `Parts` holds and saves them,
`draw_parts` shows them, and `StagedBatches` trains any Keras model on them in stages. `density` and `split_by` are the
two halves of `split`; `peak_distance` helps to look at the centers of a class. NumPy but for the picture.

Reference: Guo, Huang, Zhang, Zhuang, Dong, Scott and Huang 2018, https://arxiv.org/abs/1808.01097.
"""

from keras_epos.curriculum._density import RULES, cutoff_distance, density, peak_distance
from keras_epos.curriculum._parts import Parts, draw_parts
from keras_epos.curriculum._split import cluster_bounds, split, split_by
from keras_epos.curriculum._staged_batches import StagedBatches

__all__ = [
    "RULES",
    "Parts",
    "StagedBatches",
    "cluster_bounds",
    "cutoff_distance",
    "density",
    "draw_parts",
    "peak_distance",
    "split",
    "split_by",
]
