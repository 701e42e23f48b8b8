"""A picture of the tree. Needs SciPy and Matplotlib."""

import numpy as np

from keras_epos._checks import integer


def draw_dendrogram(hierarchy, names=None, axis=None, num_groups=None):
    """Draw the tree with its leaves below each other; dotted lines are the thresholds of its levels.

    Args:
        hierarchy: `ClassHierarchy` of at least two classes.
        names: Name of each class in the order of its labels, `(C,)`; by default the labels.
        axis: Axes of Matplotlib, or `None` for a new figure of a height that fits the names.
        num_groups: Number of branches that have a color each, from 1 to the number of classes; by default an eighth
            of it.

    Returns:
        The axes.

    Raises:
        ImportError: If SciPy or Matplotlib is missing.
        ValueError: If there are fewer than two classes or not a name for each, or `num_groups` is out of range.
    """
    try:
        import matplotlib.pyplot as plt
        from scipy.cluster.hierarchy import dendrogram
    except ImportError as error:
        raise ImportError(
            "A dendrogram needs SciPy and Matplotlib. Run `pip install scipy matplotlib`, or install keras_epos with "
            'its extra: `pip install "keras-epos[data]"`.'
        ) from error
    names = [str(label) for label in hierarchy.classes] if names is None else list(names)
    if len(hierarchy) < 2 or len(names) != len(hierarchy):
        raise ValueError(
            f"`names` must be one for each of at least two classes. Received: {len(names)} names for "
            f"{len(hierarchy)} classes."
        )
    num_groups = max(1, len(hierarchy) // 8) if num_groups is None else num_groups
    integer("num_groups", num_groups, 1, len(hierarchy), "Groups are made of whole classes.")
    if axis is None:
        _, axis = plt.subplots(figsize=(8, 1 + 0.14 * len(names)), layout="constrained")
    # So many of the last merges join branches of different colors.
    heights = hierarchy.merges[:, 2]
    dendrogram(
        hierarchy.merges,
        labels=names,
        orientation="left",
        color_threshold=np.append(heights, np.inf)[len(hierarchy) - num_groups],
        above_threshold_color="black",
        leaf_font_size=7,
        ax=axis,
    )
    for threshold in hierarchy.thresholds[hierarchy.thresholds <= 1.05 * heights[-1]]:
        axis.axvline(threshold, color="#999999", linewidth=0.8, linestyle=":", zorder=0)
    axis.set_xlabel("mean squared distance; dotted: the levels")
    axis.spines[["top", "left", "right"]].set_visible(False)
    return axis
