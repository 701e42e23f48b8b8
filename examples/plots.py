"""What the example scripts show: a table, a curve, and queries with their nearest neighbors."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from run_folder import replace

RIGHT, WRONG, QUIET = "#2a9d5c", "#d1495b", "#6c757d"
OTHERS = (QUIET, "#1f6fb2", "#c77d1e", "#8e5ea2", "#17a2a2")


def print_table(rows):
    """Print measures, shares in 0..1, as percentages: a row for each name, a column for each measure."""
    columns = [name for name in next(iter(rows.values())) if name != "queries_without_match"]
    width = max(18, *(len(name) + 1 for name in rows))
    print("\n" + " " * width + "".join(f"{name:>13}" for name in columns))
    for name, values in rows.items():
        print(f"{name:<{width}}" + "".join(f"{100 * values[column]:>11.1f} %" for column in columns))
    print()


def recall_curve(before, history, measure="recall@1"):
    """Points `(epoch, share)` of the epochs that were measured; the others repeat the last value in the logs."""
    points = [(0, before[measure])]
    for row in history:
        if row["val_recall@1"] != points[-1][1] or row is history[-1]:
            points.append((row["epoch"], row["val_recall@1"]))
    return points


def draw_curves(path, curves, measure, levels=None):
    """Draw one line a run, and level ones for what there was without it.

    Args:
        path: PNG to write.
        curves: Dict of name to a list of `(epoch, share)`, shares in 0..1.
        measure: What the shares are, such as "Recall@1 of unseen classes".
        levels: Dict of name to share, such as `{"before training": 0.45}`, or `None`.
    """
    figure, axes = plt.subplots(figsize=(6.4, 4.0), dpi=150)
    others = iter(OTHERS[1:])
    colors = {name: RIGHT if "easy" in name or len(curves) == 1 else next(others) for name in curves}
    last = max(points[-1][0] for points in curves.values())
    levels = {name: [(0, share), (last, share)] for name, share in (levels or {}).items()}
    colors |= dict.fromkeys(levels, QUIET)
    for name, points in {**levels, **curves}.items():
        epochs, shares = zip(*points, strict=True)
        style = "--" if name in levels else "-"
        axes.plot(epochs, [100 * share for share in shares], style, color=colors[name], linewidth=2)
    label_ends(axes, {**levels, **curves}, colors)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel="epoch", ylabel="%")
    axes.set_title(measure, loc="left", size=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    replace(path, lambda beside: figure.savefig(beside, bbox_inches="tight"))
    plt.close(figure)


def label_ends(axes, curves, colors):
    """Write each curve's name and last value beside its end, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    lowest_free = low
    for name, points in sorted(curves.items(), key=lambda item: item[1][-1][1]):
        epoch, share = points[-1]
        height = max(100 * share, lowest_free)
        lowest_free = height + (high - low) / 18
        label = f"{name}  {100 * share:.1f} %"
        axes.annotate(
            label, (epoch, height), (8, 0), textcoords="offset points", color=colors[name], va="center", size=9
        )


def draw_neighbors(path, images, labels, queries, neighbors, names, title):
    """Draw each query with its nearest neighbors, framed green where the label is the same, red where not.

    Args:
        path: PNG to write.
        images: Function of a list of row numbers that returns images, floats in 0..255 or uint8.
        labels: Integers `(N,)`.
        queries: Row numbers `(Q,)`.
        neighbors: Row numbers `(Q, K)`, nearest first.
        names: Name of each label.
        title: Which model found them.
    """
    rows, columns = neighbors.shape
    figure, axes = plt.subplots(
        rows, columns + 1, figsize=(1.3 * (columns + 1), 1.42 * rows), dpi=120, layout="constrained", squeeze=False
    )
    figure.suptitle(title, size=10, x=0.01, ha="left")
    for row in range(rows):
        shown = [queries[row], *neighbors[row]]
        for column, (index, image) in enumerate(zip(shown, images(shown), strict=True)):
            axis = axes[row, column]
            axis.imshow(image.astype("uint8").squeeze(), cmap="gray")
            axis.set(xticks=[], yticks=[])
            is_right = labels[index] == labels[queries[row]]
            color = QUIET if column == 0 else RIGHT if is_right else WRONG
            for side in axis.spines.values():
                side.set(color=color, linewidth=1 if column == 0 else 3)
            mark = "" if column == 0 else "✓ " if is_right else "✗ "
            title = mark + names[labels[index]]
            axis.set_title(title if len(title) < 22 else title[:20] + "…", size=6, color=color)
    for axis, what in ((axes[0, 0], "query"), (axes[0, 1], "nearest neighbors")):
        axis.annotate(what, (0, 1.2), xycoords="axes fraction", size=8, weight="bold")
    replace(path, figure.savefig)
    plt.close(figure)
