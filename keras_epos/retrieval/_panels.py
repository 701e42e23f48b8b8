"""Two panels beside each other, as the pictures of rates have them. Needs matplotlib."""

BLUE, ORANGE, GRAY = "#1f6f9f", "#d9630a", "#888888"


def two_panels():
    """A figure, its left and its right axes, and a formatter of shares in percent.

    Raises:
        ImportError: If matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import FuncFormatter
    except ImportError as error:
        raise ImportError("`plot` needs matplotlib: `pip install matplotlib`.") from error
    figure = Figure(figsize=(9, 3.8), dpi=120, layout="constrained")
    return figure, *figure.subplots(1, 2), FuncFormatter(lambda share, _: f"{100 * share:g} %")


def finished(figure, path):
    """The figure with its grid, written to `path` if there is one."""
    for axes in figure.axes:
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    if path is not None:
        figure.savefig(path)
    return figure
