"""Write the tables and pictures of the study of collapse from its results files.

Every mean has its 95 % interval over seeds (Student's t), and every kind of positives the mean of its paired difference
to all positives, seed by seed, with that difference's own interval. A difference counts when its interval leaves out 0.
"""

import argparse
import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from collapse_arms import POSITIVES, SETTINGS
from collapse_study import DATA_SETS, RESULTS, main_measure
from runs import read_rows
from scipy import stats

import keras_epos

HERE = Path(__file__).parent
COLORS = {
    "easy": "#2a9d5c",
    "easy k=3": "#8fc9a5",
    "all": "#d1495b",
    "random": "#8e5ea2",
    "hard": "#6c757d",
    "": "#1f6fb2",
}
ALONE = ("untrained", "soft_triple")  # have no positives to choose
NAMES = {
    "mnist": "MNIST: digits as even and odd",
    "fashion": "Fashion: ten kinds in four classes, 2,000 images",
    "fashion_full": "Fashion: ten kinds in four classes, 60,000 images",
    "omniglot": "Omniglot: characters of unseen alphabets",
    "cars196": "Cars196: unseen car models, frozen features",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="CSV files of the study")
    parser.add_argument("--out", type=Path, default=HERE, metavar="DIR", help="collapse_study.md and images/")
    args = parser.parse_args()
    (args.out / "images").mkdir(parents=True, exist_ok=True)
    texts, verdicts, of_classes = [], [], []
    for name in DATA_SETS:
        rows = read_rows(args.results / f"{name}.csv")
        if not rows:
            continue
        grid = Grid(rows)
        verdicts += [(name, *verdict) for verdict in grid.verdicts("easy")]
        if "mode_recall@1" in rows[0]:
            classes = Grid(rows, lambda row: row["recall@1"])
            of_classes += [(name, *verdict) for verdict in classes.verdicts("easy")]
        texts.append(f"## {NAMES[name]}\n\n{grid.introduction()}\n")
        texts += [f"### {title}\n\n{table}\n" for title, table in grid.tables()]
        picture = args.out / "images" / f"collapse_{name}.png"
        if grid.draw(picture, NAMES[name]):
            texts.append(
                f'<img src="images/{picture.name}" width="820" alt="{NAMES[name]}: Recall@1 over label noise">\n'
            )
        samples = args.out / "images" / f"collapse_{name}_samples.png"
        if grid.draw_samples(samples, NAMES[name]):
            texts.append(f'<img src="images/{samples.name}" width="520" alt="Recall@1 over samples of a class">\n')
    texts += fine_tuned(args.results)
    summaries = [summary("the hidden modes, on Cars196 of the unseen car models", verdicts)]
    if of_classes:
        summaries.append(summary("the classes that the losses were told, on Omniglot of unseen alphabets", of_classes))
    page = "\n".join([HEAD, *summaries, *texts])
    (args.out / "collapse_study.md").write_text(page)
    print("\n".join(summaries))


class Grid:
    """The runs of one data set by arm and seed."""

    def __init__(self, rows, measure=main_measure):
        steps = [row["steps"] for row in rows]
        self.steps = max(set(steps), key=steps.count)
        self.values = {}
        for row in (row for row in rows if row["steps"] in (0, self.steps)):
            arm = (row["loss"], row["positives"], row["noise"], row["drawn"], row["samples"])
            self.values.setdefault(arm, {})[row["seed"]] = 100 * measure(row)
        counts = [arm[4] for arm in self.values]
        self.samples = max(set(counts), key=counts.count)
        self.drawn = [drawn for drawn in ("once", "anew") if any(arm[3] == drawn for arm in self.values)]
        self.noises = sorted({arm[2] for arm in self.values})
        self.losses = [loss for loss in ("untrained", *SETTINGS) if any(arm[0] == loss for arm in self.values)]

    def arm(self, loss, positives, noise, drawn, samples=None):
        drawn = drawn if noise else "once"
        return self.values.get((loss, positives, noise, drawn, samples or self.samples), {})

    def difference(self, loss, positives, noise, drawn, samples=None):
        """Mean and half interval of the paired difference to all positives, in points, or `None`."""
        mine = self.arm(loss, positives, noise, drawn, samples)
        other = self.arm(loss, "all", noise, drawn, samples)
        seeds = sorted(set(mine) & set(other))
        return interval([mine[seed] - other[seed] for seed in seeds]) if len(seeds) > 1 else None

    def introduction(self):
        return (
            f"{self.steps} batches a run, {self.samples} samples of each class in a batch. Recall@1 in percent; behind "
            "it the paired difference to all positives in points."
        )

    def tables(self):
        how = {"once": "wrong labels drawn once", "anew": "wrong labels drawn anew at each presentation"}
        for drawn in self.drawn:
            noises = [noise for noise in self.noises if any(a[2] == noise and a[3] == drawn for a in self.values)]
            heads = [f"{noise:.0%} wrong, {self.seeds(noise, drawn)} seeds" for noise in noises]
            lines = ["| loss | positives | " + " | ".join(heads) + " |"]
            lines.append("|---|---|" + "---|" * len(noises))
            for loss in self.losses:
                for positives in POSITIVES if loss not in ALONE else [""]:
                    cells = [self.cell(loss, positives, noise, drawn) for noise in noises]
                    if any(cells):
                        lines.append(f"| {loss} | {positives} | " + " | ".join(cells) + " |")
            yield how[drawn].capitalize(), "\n".join(lines)

    def seeds(self, noise, drawn):
        """The number of seeds that all trained arms with this noise have."""
        arms = [self.arm(*arm[:4]) for arm in self.values if arm[2:4] == (noise, drawn if noise else "once") and arm[1]]
        return min(len(arm) for arm in arms)

    def cell(self, loss, positives, noise, drawn):
        values = list(self.arm(loss, positives, noise, drawn).values())
        if not values:
            return ""
        mean, half = interval(values)
        text = f"{mean:.1f}" + (f" ± {half:.1f}" if len(values) > 1 else "")
        difference = self.difference(loss, positives, noise, drawn) if positives not in ("", "all") else None
        if difference is not None:
            mark = "**" if abs(difference[0]) > difference[1] else ""
            text += f" ({mark}{difference[0]:+.1f}{mark} ± {difference[1]:.1f})"
        return text

    def verdicts(self, positives):
        for loss, arm_positives, noise, drawn, samples in self.values:
            if arm_positives == positives and samples == self.samples:
                found = self.difference(loss, positives, noise, drawn)
                if found is not None:
                    mean, half = found
                    yield loss, noise, drawn, "equal" if abs(mean) <= half else "better" if mean > 0 else "worse"

    def draw(self, path, title):
        """Recall over noise, a panel for each loss."""
        losses = [loss for loss in self.losses if loss not in ALONE]
        if len(self.noises) < 2 or not losses:
            return False
        columns = min(3, len(losses))
        figure, axes = plt.subplots(
            math.ceil(len(losses) / columns), columns, figsize=(3.1 * columns, 2.6 * math.ceil(len(losses) / columns)),
            dpi=150, sharex=True, sharey=True, squeeze=False, layout="constrained",
        )  # fmt: skip
        for axis, loss in zip(axes.flat, losses, strict=False):
            for positives, color in COLORS.items():
                of = "soft_triple" if positives == "" else loss
                arms = [self.arm(of, positives, noise, "once") for noise in self.noises]
                points = [
                    (noise, *interval(list(arm.values()))) for noise, arm in zip(self.noises, arms, strict=True) if arm
                ]
                if points:
                    noise, mean, half = np.array(points).T
                    style = {
                        "color": color,
                        "label": positives or "SoftTriple",
                        "linestyle": "-" if positives else ":",
                    }
                    axis.plot(100 * noise, mean, linewidth=2 if positives in ("easy", "all") else 1.2, **style)
                    axis.fill_between(100 * noise, mean - half, mean + half, color=color, alpha=0.15, linewidth=0)
            untrained = self.arm("untrained", "", 0.0, "once")
            if untrained:
                mean, _ = interval(list(untrained.values()))
                axis.axhline(mean, color="#333333", linewidth=1, linestyle="--", label="untrained")
            axis.set_title(keras_epos.losses.LOSSES[loss].__name__, size=10)
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(axis="y", alpha=0.25)
        handles, labels = axes.flat[0].get_legend_handles_labels()
        free = axes.flat[len(losses) :]
        for axis in free:
            axis.axis("off")
        for column in range(columns):
            lowest = max(row for row in range(len(axes)) if row * columns + column < len(losses))
            axes[lowest, column].set_xlabel("wrong labels (%)", size=9)
            axes[lowest, column].tick_params(labelbottom=True)
        if len(free):
            free[0].legend(handles, labels, loc="center", frameon=False, fontsize=10)
        else:
            figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=10)
        figure.suptitle(title, size=11)
        figure.supylabel("Recall@1 (%)", size=9)
        figure.savefig(path)
        plt.close(figure)
        return True

    def draw_samples(self, path, title):
        """Recall over samples of a class in a batch, all beside easy positives."""
        counts = sorted({arm[4] for arm in self.values})
        losses = [loss for loss in self.losses if loss not in ALONE]
        noises = [noise for noise in self.noises if len({a[4] for a in self.values if a[2] == noise}) > 2]
        if len(counts) < 3 or not noises:
            return False
        losses = [loss for loss in losses if len({a[4] for a in self.values if a[0] == loss}) > 2]
        figure, axis = plt.subplots(figsize=(6.2, 3.8), dpi=150, layout="constrained")
        styles = ("-", "--", ":", "-.")
        for loss, style in zip(losses, styles, strict=False):
            for positives in ("all", "easy"):
                arms = [self.arm(loss, positives, noises[-1], "once", count) for count in counts]
                points = [
                    (count, *interval(list(arm.values()))) for count, arm in zip(counts, arms, strict=True) if arm
                ]
                count, mean, half = np.array(points).T
                label = f"{keras_epos.losses.LOSSES[loss].__name__}, {positives}"
                axis.plot(count, mean, style, color=COLORS[positives], linewidth=2, label=label)
                axis.fill_between(count, mean - half, mean + half, color=COLORS[positives], alpha=0.15, linewidth=0)
        axis.set_xscale("log", base=2)
        axis.set_xticks(counts, counts)
        axis.set(xlabel="samples of a class in a batch", ylabel="Recall@1 (%)")
        axis.set_title(f"{title}, {noises[-1]:.0%} wrong labels", size=10)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.25)
        axis.legend(frameon=False, fontsize=9)
        figure.savefig(path)
        plt.close(figure)
        return True


def fine_tuned(results):
    """Tables of the arms that were fine-tuned on photographs: on held-out car models, and on the unseen ones."""
    rows = read_rows(results / "fine_tuning.csv")
    if rows:
        yield "## Cars196: a backbone fine-tuned on photographs\n"
        yield "Recall@1 in percent on 20 held-out car models before training, and after each third of it.\n"
        lines = ["| arm | wrong labels | batches | before | 1/3 | 2/3 | end |", "|---|---|---|---|---|---|---|"]
        for row in rows:
            curve = [f"{100 * row[name]:.1f}" for name in ("before", "third 1", "third 2", "third 3")]
            lines.append(f"| {row['arm']} | {row['noise']:.0%} | {row['steps']} | {' | '.join(curve)} |")
        yield "\n".join(lines) + "\n"
    arms = {}
    for row in read_rows(results / "fine_tuning_unseen.csv"):
        arms.setdefault((row["arm"], row["noise"], row["steps"]), []).append(100 * row["third 3"])
    if arms:
        yield "The best arms with all and with easy positives, on the 98 unseen car models:\n"
        lines = ["| arm | wrong labels | batches | seeds | Recall@1 |", "|---|---|---|---|---|"]
        for (arm, noise, steps), values in arms.items():
            mean, half = interval(values)
            result = f"{mean:.1f}" + (f" ± {half:.1f}" if len(values) > 1 else "")
            lines.append(f"| {arm} | {noise:.0%} | {steps} | {len(values)} | {result} |")
        yield "\n".join(lines) + "\n"


def interval(values):
    """Mean and half of the 95 % interval of Student's t; 0 for one value."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return float(values.mean()), 0.0
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(half)


def summary(of, verdicts):
    """How often easy positives find more, as much or less than all, by data set, loss and noise."""
    words = ("better", "equal", "worse")

    def line(label, chosen):
        counts = [sum(1 for verdict in chosen if verdict[-1] == word) for word in words]
        return f"| {label} | " + " | ".join(str(count) for count in counts) + " |"

    lines = [f"Recall@1 of {of}:\n", "| easy against all positives | better | equal | worse |", "|---|---|---|---|"]
    for name in dict.fromkeys(verdict[0] for verdict in verdicts):
        lines.append(line(NAMES[name], [verdict for verdict in verdicts if verdict[0] == name]))
    for loss in dict.fromkeys(verdict[1] for verdict in verdicts):
        lines.append(line(f"`{loss}`", [verdict for verdict in verdicts if verdict[1] == loss]))
    for noise in sorted({verdict[2] for verdict in verdicts}):
        lines.append(line(f"{noise:.0%} wrong labels", [verdict for verdict in verdicts if verdict[2] == noise]))
    lines.append(line("**all cells**", verdicts))
    return "\n".join(lines) + "\n"


HEAD = """# The study of collapse: tables

Made by `python studies/collapse_report.py` from `studies/results/`, which the commands in
[collapse.md](collapse.md) fill. A difference counts as better or worse when its 95 % interval over seeds
leaves out 0; it is bold then.
"""

if __name__ == "__main__":
    main()
