"""A picture of the tree. Needs SciPy and Matplotlib."""


def draw_dendrogram(hierarchy, names=None, axis=None, level=None):
    """Draw the tree with its leaves below each other; branches of one colour are one node at `level`.

    Args:
        hierarchy: `ClassHierarchy` of at least two classes.
        names: Name of each class in the order of its labels, `(C,)`; by default the labels.
        axis: Axes of Matplotlib, or `None` for a new figure of a height that fits the names.
        level: Level whose nodes have a colour each, drawn as a dashed line; by default the lowest with at most an
            eighth as many nodes as classes.

    Returns:
        The axes.

    Raises:
        ImportError: If SciPy or Matplotlib is missing.
        ValueError: If there are fewer than two classes or not a name for each.
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
    if axis is None:
        _, axis = plt.subplots(figsize=(8, 1 + 0.14 * len(names)), layout="constrained")
    if level is None:
        sizes = [len(hierarchy.groups(one)) for one in range(hierarchy.num_levels + 1)]
        level = next(one for one, size in enumerate(sizes) if size <= max(1, len(hierarchy) // 8))
    threshold = hierarchy.thresholds[level]
    dendrogram(
        hierarchy.merges,
        labels=names,
        orientation="left",
        color_threshold=threshold,
        above_threshold_color="#999999",
        leaf_font_size=7,
        ax=axis,
    )
    axis.axvline(threshold, color="#999999", linewidth=0.8, linestyle="--")
    axis.set_xlabel(f"mean squared distance; dashed: level {level} of {hierarchy.num_levels}")
    axis.spines[["top", "left", "right"]].set_visible(False)
    return axis
