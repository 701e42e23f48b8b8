"""The tree of the classes: how far they are from each other, at which level they merge, which ones are neighbors.

    hierarchy = keras_epos.hierarchy.ClassHierarchy.from_embeddings(embeddings, labels)
    print(hierarchy)
    keras_epos.hierarchy.draw_dendrogram(hierarchy, names)

`HierarchicalTripletLoss` takes its margins from it, `data.batches` its neighbors. NumPy only, but for
the picture.
"""

from keras_epos.hierarchy._class_hierarchy import ClassHierarchy, nodes_at_levels, thresholds
from keras_epos.hierarchy._dendrogram import draw_dendrogram
from keras_epos.hierarchy._distances import class_means, nearest_classes, spread_within, squared_distances
from keras_epos.hierarchy._merging import LINKAGES, merge

__all__ = [
    "LINKAGES",
    "ClassHierarchy",
    "class_means",
    "draw_dendrogram",
    "merge",
    "nearest_classes",
    "nodes_at_levels",
    "spread_within",
    "squared_distances",
    "thresholds",
]
