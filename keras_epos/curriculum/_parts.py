"""Parts: which samples are clean, noisy and highly noisy, as data to keep and a picture to look at."""

import csv
import dataclasses
import os
import re
from pathlib import Path

import numpy as np

COLUMNS = ("sample", "label", "density", "part")
# Before the number of parts, in the first line of a file. A file without that line has as many as occur in it.
COUNT = "# num_parts="
# Title of the first column in files of keras_epos 0.1.
OLD_HEADER = re.compile(r"sample of (\d+) parts")


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """The split of a data set by density.

    Attributes:
        labels: Integers or strings `(N,)`: the observed classes.
        density: Float64 `(N,)`, comparable inside a class only.
        parts: Int64 `(N,)`: 0 for the densest samples of a class ("clean"), 1 for the next ("noisy"), and so on.
        num_parts: How many there may be; a class of fewer distinct densities has fewer.
    """

    labels: np.ndarray
    density: np.ndarray
    parts: np.ndarray
    num_parts: int

    def __len__(self):
        return len(self.parts)

    @property
    def sizes(self):
        """Samples of each part, int64 `(num_parts,)`."""
        return np.bincount(self.parts, minlength=self.num_parts)

    def save(self, path, names=None):
        """Write a CSV file, a line a sample, that a spreadsheet opens and `load` reads.

        The first line is a comment with `num_parts`, the second names the columns.

        Args:
            path: Where to; an existing file is replaced when the new one is complete.
            names: Strings `(N,)`, such as the files of the samples, for one more column, or `None`. Not read back.
        """
        columns = [range(len(self)), self.labels.tolist(), self.density.tolist(), self.parts.tolist()]
        if names is not None:
            columns.append(map(str, names))
        unfinished = Path(f"{path}.unfinished")
        with unfinished.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            file.write(f"{COUNT}{self.num_parts}\n")
            writer.writerow([*COLUMNS, *(["name"] * (names is not None))])
            writer.writerows(zip(*columns, strict=True))
        os.replace(unfinished, path)

    @classmethod
    def load(cls, path):
        """What `save` has written.

        Raises:
            ValueError: If the file is none of those, or was cut off.
        """
        with open(path, newline="", encoding="utf-8") as file:
            lines = list(csv.reader(file))
        first = ",".join(lines[0]).rstrip(",") if lines else ""
        count = first.removeprefix(COUNT) if first.startswith(COUNT) else None
        header, lines = ([*lines, [], []][1], lines[2:]) if count else ([*lines, []][0], lines[1:])
        if count is None and (old := OLD_HEADER.fullmatch(header[0] if header else "")):
            count, header = old[1], [COLUMNS[0], *header[1:]]
        if (
            not lines
            or tuple(header[:4]) != COLUMNS
            or any(line[0] != str(row) for row, line in enumerate(lines))
            or not (count is None or count.isdecimal())
        ):
            raise ValueError(f"`path` must be a file written by `Parts.save`. Received: path={path}.")
        _, labels, density, parts = zip(*(line[:4] for line in lines), strict=True)
        labels = np.array(labels)
        if all(label.lstrip("-").isdecimal() for label in labels):
            labels = labels.astype(np.int64)
        parts = np.array(parts, np.int64)
        return cls(labels, np.array(density, np.float64), parts, int(count) if count else int(parts.max()) + 1)


def draw_parts(path, parts, images, is_wrong=None, class_names=None, classes=None, examples=6):
    """Draw images from each part of some classes, so that a person sees what was taken for noise.

    A row is a class, a block of columns a part; inside it images run from the densest to the least dense, evenly
    spaced by rank.

    Args:
        path: The file, such as `"parts.png"`.
        parts: `Parts` with integer labels.
        images: `(N, H, W)` or `(N, H, W, C)`: uint8, or floats in [0, 1].
        is_wrong: Bool `(N,)`, or `None`: samples that get a red frame.
        class_names: Names by label, or `None`.
        classes: Labels of the rows; by default the first eight.
        examples: Images of a part, at least 1.

    Raises:
        ImportError: if matplotlib is missing.
        ValueError: if `images` are not one for each sample.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("`draw_parts` needs matplotlib: `pip install matplotlib`.") from error
    if len(images) != len(parts):
        raise ValueError(f"`images` must be one for each of {len(parts)} samples. Received: {len(images)} images.")
    classes = np.unique(parts.labels)[:8] if classes is None else classes
    columns = parts.num_parts * examples
    figure = Figure(figsize=(0.62 * columns + 1.2, 0.68 * len(classes) + 0.7), dpi=120, layout="constrained")
    blocks = figure.subfigures(1, parts.num_parts, wspace=0.02, squeeze=False)[0]
    for part, block in enumerate(blocks):
        block.suptitle(title_of(part, parts.num_parts), size=11)
        axes = block.subplots(len(classes), examples, squeeze=False)
        for row, label in enumerate(classes):
            _draw_row(axes[row], _evenly(parts, label, part, examples), images, is_wrong)
            if part == 0:
                name = class_names[label] if class_names is not None else label
                axes[row, 0].set_ylabel(name, size=9, rotation=0, ha="right", va="center")
    figure.savefig(path)


def title_of(part, num_parts):
    """What a part is called."""
    if num_parts == 3:
        return ("clean", "noisy", "highly noisy")[part]
    return f"part {part}" + (" (densest)" if part == 0 else "")


def _evenly(parts, label, part, examples):
    """Up to `examples` samples of one part of a class, evenly spaced by density, the densest first."""
    members = np.flatnonzero((parts.labels == label) & (parts.parts == part))
    members = members[np.argsort(-parts.density[members], kind="stable")]
    return members[np.unique(np.linspace(0, len(members) - 1, examples).round().astype(int))] if len(members) else []


def _draw_row(axes, members, images, is_wrong):
    for axis in axes:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for axis, member in zip(axes, members, strict=False):
        axis.imshow(images[member], cmap="gray")
        if is_wrong is not None and is_wrong[member]:
            axis.spines[:].set(visible=True, color="red", linewidth=2)
