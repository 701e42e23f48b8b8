"""The tree of the classes: how far they are from each other, at which level they merge, which ones are neighbours.

    hierarchy = keras_epos.hierarchy.ClassHierarchy.from_embeddings(embeddings, labels)
    print(hierarchy)
    keras_epos.hierarchy.draw_dendrogram(hierarchy, names)

`HierarchicalTripletLoss` takes its margins from it, `data.anchor_neighbour_batches` its neighbours. NumPy only, but for
the picture.
"""

from keras_epos.hierarchy.class_distances import class_means, distances_between, spread_within
from keras_epos.hierarchy.class_hierarchy import ClassHierarchy
from keras_epos.hierarchy.dendrogram import draw_dendrogram
from keras_epos.hierarchy.levels import nodes_at_levels, thresholds
from keras_epos.hierarchy.merging import LINKAGES, merge
from keras_epos.hierarchy.neighbours import nearest_classes

__all__ = [
    "LINKAGES",
    "ClassHierarchy",
    "class_means",
    "distances_between",
    "draw_dendrogram",
    "merge",
    "nearest_classes",
    "nodes_at_levels",
    "spread_within",
    "thresholds",
]
