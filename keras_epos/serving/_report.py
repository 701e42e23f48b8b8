"""What came of an export, for each format and precision."""

import dataclasses
from pathlib import Path

HEADINGS = ("format", "precision", "engine", "1 - cosine", "Recall@1", "MB", "file")


@dataclasses.dataclass
class Row:
    """One file of an export, or why there is none.

    Attributes:
        format: `"savedmodel"`, `"onnx"`, `"openvino"` or `"litert"`; also `"keras"`, the model itself, and `"decoder"`,
            the model on photographs decoded by `decode_image.py`.
        precision: `"float32"`, `"float16"` or `"int8"`.
        path: Of the file or folder that an engine loads, within the export. None where nothing was written.
        engine: Name and version of what it was checked in.
        cosine: Of all photographs the largest 1 - cosine between this embedding and the model's.
        entry: The largest difference of an entry, as a share of the model's largest entry.
        recall: Recall@1 on the photographs, or None without labels.
        megabytes: On disk.
        reason: Why there is no file, in one sentence.
    """

    format: str
    precision: str
    path: str | None = None
    engine: str | None = None
    cosine: float | None = None
    entry: float | None = None
    recall: float | None = None
    megabytes: float | None = None
    reason: str | None = None

    def cells(self):
        """The texts of this row of the table."""
        if self.reason:
            return [self.format, self.precision, f"not written: {self.reason}"]
        shown = [
            "" if value is None else f"{value:{form}}"
            for value, form in ((self.cosine, ".1e"), (self.recall, ".4f"), (self.megabytes, ".1f"))
        ]
        return [self.format, self.precision, self.engine, *shown, self.path or ""]


@dataclasses.dataclass
class ExportReport:
    """What `export` wrote. Printed, it is a table; `report["onnx"]` and `report["onnx", "int8"]` are its rows.

    Attributes:
        directory: Where everything lies.
        rows: A `Row` for each format and precision; the first one is the model in Keras.
    """

    directory: Path
    rows: list

    def __getitem__(self, key):
        name, precision = (key, "float32") if isinstance(key, str) else key
        for row in self.rows:
            if (row.format, row.precision) == (name, precision):
                return row
        raise KeyError(key)

    def __str__(self):
        return table([row.cells() for row in self.rows])


def table(rows):
    """Lines of aligned columns. A row of three cells has a sentence in its last."""
    full = [HEADINGS, *(row for row in rows if len(row) == len(HEADINGS))]
    widths = [max(len(row[column]) for row in full) for column in range(len(HEADINGS))]
    widths[:2] = [max(len(row[column]) for row in [HEADINGS, *rows]) for column in range(2)]

    def line(row):
        cells = [
            cell.rjust(width) if len(row) == len(HEADINGS) and 3 <= column < 6 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        return "  ".join(cells).rstrip()

    return "\n".join(line(row) for row in [HEADINGS, *rows])
