"""What the studies share: files of results, cached features, models with new weights, images of clothes and digits."""

import csv
import gzip
import io
import os
from pathlib import Path

import keras
import numpy as np

import keras_epos

# --- results ---


class Results(dict):
    """Numbers by key, in a CSV file: `results[key] = values` also writes them, so that a stopped study goes on.

    The file is written beside its place and renamed: it is never half-written. One process writes it at a time.

    Args:
        path: The file. What it holds already is read.
        keys: Names of the parts of a key, which are texts.
        measures: Names of the numbers.
    """

    def __init__(self, path, keys, measures):
        super().__init__()
        self.path, self.header = Path(path), [*keys, *measures]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            with self.path.open() as file:
                for row in list(csv.reader(file))[1:]:
                    super().__setitem__(tuple(row[: len(keys)]), [float(value) for value in row[len(keys) :]])

    def __setitem__(self, key, values):
        super().__setitem__(key, values)
        write_whole(self.path, self._write)

    def _write(self, path):
        with path.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self.header)
            writer.writerows([*key, *(f"{value:.5g}" for value in values)] for key, values in self.items())


def write_whole(path, save):
    """Write a file whole or not at all: `save` gets a path beside its place, which is then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"unfinished-{os.getpid()}-{path.name}")
    try:
        save(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def read_rows(path):
    """Rows of a file of `append_row` as dictionaries, numbers as numbers; a line that was cut off does not count."""
    if not path.exists():
        return []
    with path.open() as file:
        rows = [row for row in csv.DictReader(file) if None not in row.values()]
    texts = ("loss", "positives", "drawn", "part", "arm")
    whole = ("samples", "steps", "seed")
    return [
        {name: value if name in texts else int(value) if name in whole else float(value) for name, value in row.items()}
        for row in rows
    ]


def append_row(path, names, key, values):
    """Add a line to a file that other processes may add to; an end that was cut off stays a line of its own."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    content = path.read_text() if path.exists() else ""
    if not content:
        writer.writerow([*names, *values])
    elif not content.endswith("\n"):
        text.write("\n")
    writer.writerow([*key, *(f"{value:.5g}" for value in values.values())])
    with path.open("a") as file:
        file.write(text.getvalue())


def mean_and_half_range(shares):
    """`12.3 ± 0.4` in percent: the mean over seeds and half the range between the worst and the best."""
    return f"{100 * np.mean(shares):.1f} ± {50 * np.ptp(shares):.1f}"


# --- models ---

_KEPT = {}


def refilled(name, model):
    """A model with the weights of `model`, its optimizer's among them; the first one of a name is kept and refilled.

    Tracing takes as long as training.
    """
    model.optimizer.build(model.trainable_variables)
    kept = _KEPT.setdefault(name, model)
    if kept is not model:
        kept.set_weights(model.get_weights())
        for variable, new in zip(kept.optimizer.variables, model.optimizer.variables, strict=True):
            variable.assign(new)
        for side in ("positives", "negatives"):
            old, new = getattr(kept.loss, side, None), getattr(model.loss, side, None)
            if hasattr(old, "generator"):
                old.generator.state.assign(new.generator.state)
    return kept


def forget_models():
    _KEPT.clear()
    keras.backend.clear_session()


def small_network(filters=((16, 5), (32, 3)), last=()):
    """A network for images of 28 x 28: a convolution of stride 2 for each `(filters, size)`, and further layers."""
    layers = [keras.Input((28, 28, 1)), keras.layers.Rescaling(1 / 255)]
    for number, size in filters:
        layers.append(keras.layers.Conv2D(number, size, strides=2, padding="same", activation="relu"))
    return keras.Sequential([*layers, keras.layers.Flatten(), *last])


def features_as_they_are(size):
    """The network of inputs that are features already."""
    return keras.Sequential([keras.Input((size,)), keras.layers.Identity()])


# --- data ---


def cars196_features(split, backbone, size=160):
    """Features of a frozen backbone for each part of Cars196, computed once and kept in `runs/`."""
    kept = Path("runs") / f"features-cars196-{Path(backbone).stem}-{size}.npz"
    if not kept.exists():
        print("Computing the features of the frozen backbone, once")
        model = keras_epos.EmbeddingModel(backbone, embedding_dim=1)
        frozen = keras.Sequential([model.backbone, *([model.pooling] if model.pooling else [])])
        batches = [keras_epos.data.image_batches(part.inputs, size) for part in split]
        features = [frozen.predict(part, verbose=1) for part in batches]
        write_whole(kept, lambda path: np.savez(path, *features))
    with np.load(kept) as arrays:
        return [arrays[name] for name in arrays.files]


def idx_files(data_dir, part):
    """Images `(N, 28, 28)` and labels `(N,)` of one part of the official idx files, packed or not."""

    def read(name, header):
        for suffix in ("", ".gz"):
            for written in (name, name.replace("-idx", ".idx")):
                path = Path(data_dir) / f"{written}{suffix}"
                if path.exists():
                    content = gzip.decompress(path.read_bytes()) if suffix else path.read_bytes()
                    return np.frombuffer(content, np.uint8, offset=header)
        raise FileNotFoundError(f"`--data-dir` must hold {name}[.gz]. Received: {data_dir}")

    labels = read(f"{part}-labels-idx1-ubyte", 8).astype(np.int64)
    return read(f"{part}-images-idx3-ubyte", 16).reshape(-1, 28, 28), labels
