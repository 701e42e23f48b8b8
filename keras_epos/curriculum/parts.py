"""Parts: which samples are clean, noisy and highly noisy, as data to look at and to keep."""

import csv
import dataclasses
import os
from pathlib import Path

import numpy as np

COLUMNS = ("sample", "label", "density", "part")


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
            writer.writerow(
                [f"{COLUMNS[0]} of {self.num_parts} parts", *COLUMNS[1:], *(["name"] * (names is not None))]
            )
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
        header, lines = lines[0] if lines else [], lines[1:]
        if not lines or tuple(header[1:4]) != COLUMNS[1:] or any(line[0] != str(row) for row, line in enumerate(lines)):
            raise ValueError(f"`path` must be a file written by `Parts.save`. Received: path={path}.")
        _, labels, density, parts = zip(*(line[:4] for line in lines), strict=True)
        labels = np.array(labels)
        if all(label.lstrip("-").isdecimal() for label in labels):
            labels = labels.astype(np.int64)
        return cls(labels, np.array(density, np.float64), np.array(parts, np.int64), int(header[0].split()[2]))
