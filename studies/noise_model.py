"""Show on two hidden modes of one class what label noise does with all positives and with easy positives.

Three tables and a picture of this project's formalization, `noise_theory`: the exact expected loss
has its minimum where the modes are one point; with easy positives and enough samples of a mode it does not; and
gradient descent on points of the plane, with labels flipped anew at every step, ends accordingly.
"""

import argparse
from functools import partial
from itertools import product
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import free_points
import matplotlib.pyplot as plt
import noise_theory as theory
import numpy as np

MARGIN, FLIP = 0.2, 0.1
PER_MODE = 8
DISTANCES = (0, 0.1, 0.2, 0.4, 0.8)
STEPS = {"triplet": 6000, "margin": 8000}
# Distance between the modes, distance of the other class and noise at the start.
STARTS = {"triplet": (0.6, np.hypot(0.3, 0.6), 0.03), "margin": (0.3, np.hypot(0.15, 0.9), 0.02)}
MODES = theory.two_modes(PER_MODE, 0, 1)[2]
RIGHT, WRONG, QUIET = "#2a9d5c", "#d1495b", "#6c757d"
COLORS = ("#1f6fb2", "#c77d1e", QUIET)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000, help="of the labels, for a mean (default: 1000)")
    parser.add_argument("--seeds", type=int, default=5, help="descents of each kind (default: 5)")
    parser.add_argument("--steps", type=float, default=1, help="share of the descent's steps to make (default: 1)")
    parser.add_argument("--out", type=Path, default=Path("noise_model.png"), help="picture (default: %(default)s)")
    args = parser.parse_args()
    print_expectation()
    print_draws(args.draws)
    print_descents(args.seeds, args.steps)
    draw(args.out, args.draws, args.steps)
    print(args.out)


def print_expectation():
    print("Expected triplet loss of all positives, exact, over the distance between the modes\n")
    print(f"{'flips':>8}{'bound':>12}" + "".join(f"{distance:>12}" for distance in DISTANCES))
    for flip in (0, 0.02, 0.05, 0.1, 0.2):
        loss = partial(theory.expected_triplet_loss, flip_probability=flip, margin=MARGIN)
        values = [theory.triplet_bound(flip, MARGIN)]
        values += [theory.lowest_two_mode_loss(loss, 6, distance, MARGIN)[0] for distance in DISTANCES]
        print(f"{flip:>8}" + "".join(f"{value:>12.6f}" for value in values))


def print_draws(draws):
    print(f"\nMean triplet loss of {draws} draws ± standard error, over the distance between the modes\n")
    print(f"{'per mode':>8}{'flips':>7}{'positives':>11}" + "".join(f"{distance:>16}" for distance in DISTANCES))
    for per_mode, flip in ((2, 0.1), (4, 0.05), (4, 0.1), (8, 0.05), (8, 0.1), (16, 0.05), (16, 0.1)):
        for positives in ("random", "easy"):
            values = [simulated(per_mode, flip, positives, distance, draws) for distance in DISTANCES]
            cells = "".join(f"{mean:>9.4f} ±{error:.3f}" for mean, error in values)
            print(f"{per_mode:>8}{flip:>7}{positives:>11}{cells}")


def simulated(per_mode, flip, positives, distance, draws):
    loss = partial(
        theory.simulated_triplet_loss, flip_probability=flip, positives=positives, margin=MARGIN, draws=draws
    )
    return theory.lowest_two_mode_loss(loss, per_mode, distance, MARGIN)[0]


def print_descents(seeds, share):
    print(f"\nPoints of the plane after descent, mean of {seeds} seeds ± standard deviation of the first measure\n")
    print(f"{'loss':<16}{'flips':>6}{'positives':>11}{'cross_mode':>20}{'within_mode':>13}", end="")
    print(f"{'between_classes':>18}{'mode_recall@1':>16}{'boundary':>11}")
    settings = [("triplet", False, flip) for flip in (0, 0.1, 0.2)]
    settings += [("margin", False, 0), ("margin", False, 0.1), ("margin", True, 0.1), ("margin", True, 0.2)]
    for (loss, learned, flip), positives in product(settings, ("all", "easy")):
        end, rows = descent(loss, flip, positives, range(seeds), share, learn_boundary=learned)
        cross, within, between, recall = np.array([list(row.values()) for row in rows]).T
        name, boundary = loss, ""
        if loss == "margin":
            name, boundary = f"margin, {'learned' if learned else 'fixed'}", f"{end.boundary.mean():11.3f}"
        spread = f"{cross.mean():13.3f} ±{cross.std():.3f}{within.mean():13.3f}{between.mean():18.3f}"
        print(f"{name:<16}{flip:>6}{positives:>11}{spread}{recall.mean():16.2f}{boundary}")


def descent(loss, flip, positives, seeds, share=1, **settings):
    """`Descent` from two modes, and the measures of each seed."""
    distance, other_distance, noise = STARTS[loss]
    points, classes, modes = theory.two_modes(PER_MODE, distance, other_distance)
    steps = max(1, round(STEPS[loss] * share))
    end = free_points.descend(
        points, classes, flip, loss, positives, MARGIN, noise=noise, steps=steps, seeds=seeds, **settings
    )
    return end, [free_points.point_spread(found, classes, modes) for found in end.points]


def draw(path, draws, share):
    figure, panels = plt.subplots(1, 3, figsize=(12, 3.9), dpi=150, width_ratios=(1, 1, 0.95))
    runs = [descent("triplet", FLIP, positives, (0,), share, record_every=20) for positives in ("all", "easy")]
    everywhere = np.concatenate([end.path.reshape(-1, 2) for end, _ in runs])
    titles = ("all positives: the modes become one", "easy positives: the modes stay apart")
    for axes, (end, (measures,)), title in zip(panels, runs, titles, strict=False):
        draw_paths(axes, end.path[:, 0])
        axes.set_title(title, size=10, loc="left")
        distances = f"distance between the modes: {STARTS['triplet'][0]:.2f} → {measures['cross_mode']:.2f}"
        axes.annotate(distances, (0.03, 0.03), xycoords="axes fraction", size=8, color=QUIET)
        axes.set_xlabel(f"hollow: start, filled: end; {FLIP:.0%} of labels wrong in each step", size=8, color=QUIET)
        axes.update_datalim(everywhere)
        axes.autoscale_view()
    name_starts(panels[0], runs[0][0].path[0, 0])
    draw_losses(panels[2], draws)
    figure.tight_layout(w_pad=2)
    figure.savefig(path, bbox_inches="tight")
    plt.close(figure)


def draw_paths(axes, path):
    """Draw where each point started (hollow), how it went and where it ended (filled)."""
    # Mode 1 is drawn larger, so that it is seen where mode 2 lies on it.
    for mode, size in ((2, 30), (0, 52), (1, 20)):
        points, color = path[:, mode == MODES], COLORS[mode]
        axes.plot(*points.transpose(2, 0, 1), color=color, linewidth=0.6, alpha=0.35, zorder=1)
        axes.scatter(*points[0].T, s=20, facecolors="white", edgecolors=color, linewidths=0.8, zorder=2)
        axes.scatter(*points[-1].T, s=size, color=color, edgecolors="white", linewidths=0.6, zorder=3)
    axes.set_aspect("equal", "datalim")
    axes.set(xticks=[], yticks=[])


def name_starts(axes, points):
    for mode, name in enumerate(("mode 1", "mode 2", "other class")):
        start, style = points[mode == MODES], {"color": COLORS[mode], "ha": "center", "size": 9}
        axes.annotate(name, (start[:, 0].mean(), start[:, 1].max()), (0, 6), textcoords="offset points", **style)


def draw_losses(axes, draws):
    """Draw the mean loss over the distance between the modes, as a multiple of that at distance 0."""
    distances = np.linspace(0, 0.8, 17)
    for positives, color in (("all", WRONG), ("easy", RIGHT)):
        means = np.array([simulated(PER_MODE, FLIP, positives, distance, draws)[0] for distance in distances])
        means, lowest = means / means[0], np.argmin(means)
        axes.plot(distances, means, color=color, linewidth=2)
        axes.scatter(distances[lowest], means[lowest], s=45, color=color, zorder=3, clip_on=False)
        axes.annotate(f"{positives} positives", (0.6, means[12] + 0.04), color=color, ha="right", size=9)
    axes.set_title("mean loss, lowest at the dot", size=10, loc="left")
    axes.set(xlabel="distance between the modes", ylabel="loss (1: modes in one point)", xlim=(0, 0.8))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)


if __name__ == "__main__":
    main()
