"""One export for every engine: written, checked in that engine, and kept only if it answers as the model does."""

import dataclasses
import json
import os
import re
import secrets
import shutil
from pathlib import Path

import keras
import numpy as np

from keras_epos._checks import integer, one_of
from keras_epos._outputs import choose
from keras_epos.serving import _card as cards
from keras_epos.serving import _litert_engine, _onnx_engine, _openvino_engine, _savedmodel_engine
from keras_epos.serving._compare import differences, fault, recall_at_1
from keras_epos.serving._engine import need, sentence, version
from keras_epos.serving._export import (
    TOLERANCE,
    allowed_difference,
    image_shape_of,
    remove_leftovers,
    without_adapters,
)
from keras_epos.serving._report import ExportReport, Row
from keras_epos.serving._sample import Sample, sample
from keras_epos.serving._served_gallery import checked

ENGINES = {
    "savedmodel": _savedmodel_engine,
    "onnx": _onnx_engine,
    "openvino": _openvino_engine,
    "litert": _litert_engine,
}
BATCH = 32


def export(
    model,
    directory,
    formats=("savedmodel", "onnx", "openvino", "litert"),
    *,
    image_size=None,
    photographs=None,
    labels=None,
    half=True,
    int8=True,
    embed_bytes=True,
    output=None,
    max_batch_size=64,
    card=None,
    gallery=None,
):
    """Write `model` for several engines, check each file in its engine, and write a model card.

        savedmodel/embed/1/             TensorFlow, TensorFlow Serving: what `export_savedmodel` writes
        onnx/embed/1/model.onnx         ONNX Runtime; with `config.pbtxt`, so that `onnx` is a repository for Triton
        openvino/embed/1/model.xml      OpenVINO and its model server
        litert/embed/model.tflite       LiteRT, on phones and small computers
        .../embed_float16, embed_int8   beside `embed`: the same with smaller weights; int8 also computes in int8
        decode_image.py                 from files to pixels by Pillow, for the engines that cannot decode
        README.md, card.json            the model card

    All take `image`, float32 (batch, height, width, channels), as the model was trained on it: what it does inside,
    such as rescaling and normalization, is in every file. They give `embedding`, float32 (batch, dim), for any batch;
    where PyTorch or JAX wrote the file, the one output may have another name.

    Each file is loaded in its engine and asked for the embeddings of `photographs`. Where they differ from the model's
    by more than 0.1 % of the largest entry (5 % in float16, 0.1 of cosine in int8) it is not kept. What an engine
    cannot do, or whose package is missing, is one sentence in the report, and the rest is written. The directory
    appears complete or not at all: it is written beside its place and then renamed.

    Keras writes SavedModels on TensorFlow, LiteRT on TensorFlow and PyTorch, ONNX and OpenVINO on those and JAX.

    Args:
        model: A built `keras.Model` from images `(batch, height, width, channels)` to embeddings `(batch, dim)`. A
            subclassed model must have been called once.
        directory: Folder to make. It must not exist.
        formats: Some of `"savedmodel"`, `"onnx"`, `"openvino"`, `"litert"`. The packages come with
            `keras-epos[onnx]`, `keras-epos[openvino]` and `keras-epos[litert]`.
        image_size: Side in pixels or `(height, width)`, when the model does not fix it.
        photographs: What to check with: N paths, or an array `(N, height, width, channels)`. Some hundred are enough;
            they are all in memory. Without any, random images are taken and the card says so.
        labels: Integers or strings `(N,)`, for Recall@1 on the photographs (leave-one-out).
        half: Whether to write float16 as well.
        int8: Whether to write int8 as well. The ranges of its values come from the first hundred photographs, so
            random images are not enough.
        embed_bytes: `False` for models that do not take values from 0 to 255, or neither 1 nor 3 channels.
        output: Key, name or place of the embedding among several outputs.
        max_batch_size: The largest batch that Triton may form.
        card: Dictionary for the model card: texts under `"data"`, `"classes"`, `"training"`, `"license_of_weights"`
            and `"license_of_data"`, and `"figures"`, whose values are numbers or `(number, low, high)`. What is left
            out is a box to be filled in; `"training"` is what the compiled model knows.
        gallery: A `keras_epos.Gallery` of this model, which the SavedModel then searches, see `export_savedmodel`. No
            other engine can.

    Returns:
        `ExportReport`: a row for each format and precision. Print it.

    Raises:
        ValueError: for a model that is not of that form, a directory that exists, photographs, labels or a gallery that
            do not fit, and when nothing at all could be written.

    Examples:
        >>> import keras
        >>> pixels = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(4)])
        >>> report = keras_epos.export(pixels, "exported", formats=["savedmodel"])
        >>> report["savedmodel"].path
        'savedmodel/embed/1'
    """
    formats = [one_of("formats", name, ENGINES) for name in ([formats] if isinstance(formats, str) else formats)]
    max_batch_size = integer("max_batch_size", max_batch_size, 1)
    card = cards.checked(card)
    if gallery is not None:
        if "savedmodel" not in formats:
            raise ValueError(f'`formats` must have "savedmodel" for a `gallery`. Received: formats={formats!r}.')
        checked(gallery, model, None)
    image_shape = image_shape_of(model, image_size, embed_bytes)
    directory = _free(directory)
    task = Task(
        model,
        _named(without_adapters(model), image_shape, output),
        image_shape,
        output,
        embed_bytes,
        max_batch_size,
        sample(photographs, labels, image_shape, embed_bytes),
        gallery,
    )
    expected = task.embed(task.sample.images)
    recall = recall_at_1(expected, task.sample.labels)
    rows = [Row("keras", "float32", engine=f"keras {keras.__version__}", recall=recall)]
    directory.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(directory.parent, re.escape(directory.name))
    unfinished = directory.parent / f".{directory.name}-{secrets.token_hex(4)}"
    try:
        unfinished.mkdir()
        if embed_bytes:
            rows.append(_decoder(task, unfinished, expected))
        precisions = ["float32", *["float16"] * bool(half), *["int8"] * bool(int8)]
        for name in dict.fromkeys(formats):
            rows += _written(name, precisions, task, unfinished, expected)
        if not any(row.path for row in rows if row.format in formats):
            reasons = " ".join(f"{row.format}: {row.reason}" for row in rows if row.reason)
            raise ValueError(f"`formats` must have one that can be written. Received: formats={formats!r}. {reasons}")
        facts = cards.facts(model, image_shape, expected, task.sample.words, card, rows)
        (unfinished / "card.json").write_text(json.dumps(facts, indent=1) + "\n")
        (unfinished / "README.md").write_text(cards.markdown(facts))
        _free(directory)
        os.rename(unfinished, directory)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return ExportReport(directory, rows)


@dataclasses.dataclass
class Task:
    """What is exported, for the engines.

    Attributes:
        model: As the caller has it.
        exported: A functional model around it, from `image` to `embedding`, both float32.
        image_shape: `(height, width, channels)`.
        output: Which output is the embedding.
        embed_bytes: Whether files can be decoded for it.
        max_batch_size: For Triton.
        sample: The `Sample` to check with.
        gallery: A `Gallery` for the SavedModel, or `None`.
    """

    model: keras.Model
    exported: keras.Model
    image_shape: tuple
    output: object
    embed_bytes: bool
    max_batch_size: int
    sample: Sample
    gallery: object

    def embed(self, images):
        """The model's own embeddings, float32 `(N, dim)`."""

        def embed(batch):
            embedding = choose(self.model, self.model(batch, training=False), self.output)
            return keras.ops.convert_to_numpy(keras.ops.cast(embedding, "float32"))

        return in_batches(embed, images)


def in_batches(embed, images):
    """What `embed` makes of all images, a batch at a time."""
    return np.concatenate([np.asarray(embed(images[row : row + BATCH])) for row in range(0, len(images), BATCH)])


def _written(name, precisions, task, folder, expected):
    """A row for each precision of a format; without float32 there are no others."""
    rows, source = [], None
    for precision in precisions:
        place = folder / name / ("embed" if precision == "float32" else f"embed_{precision}")
        row, path = Row(name, precision), None
        try:
            if precision == "float32":
                path = source = ENGINES[name].write(task, place)
            else:
                path = ENGINES[name].smaller(task, source, place, precision)
            embed, row.engine = ENGINES[name].load(path)
            _compare(row, in_batches(embed, task.sample.images), expected, task.sample.labels)
            allowed = TOLERANCE["half"] if precision == "float16" else allowed_difference(task.model)
            row.reason = fault(row.cosine, row.entry, precision, allowed)
        except Exception as error:
            row.reason = sentence(error)
        if row.reason:
            shutil.rmtree(place, ignore_errors=True)
            if place.parent.is_dir() and not any(place.parent.iterdir()):
                place.parent.rmdir()
        else:
            row.path = path.relative_to(folder).as_posix()
            row.megabytes = sum(file.stat().st_size for file in place.rglob("*") if file.is_file()) / 1e6
        rows.append(row)
        if precision == "float32" and row.reason:
            break
    return rows


def _decoder(task, folder, expected):
    """Writes `decode_image.py`, and compares what the model makes of its pixels where photographs are files."""
    row = Row("decoder", "float32")
    try:
        need("PIL", "pillow", "pillow")
        row.engine = version("pillow")
        from keras_epos.serving import _decode_image as decoder

        *size, channels = task.image_shape
        if task.sample.files:
            images = [decoder.decode_image(contents, tuple(size), channels) for contents in task.sample.files]
            _compare(row, task.embed(np.stack(images)), expected, task.sample.labels)
        text = Path(decoder.__file__).read_text()
        path = folder / "decode_image.py"
        path.write_text(re.sub("(?m)^SIZE, CHANNELS = .*$", f"SIZE, CHANNELS = {tuple(size)}, {channels}", text))
        row.path = path.name
    except Exception as error:
        row.reason = sentence(error)
    return row


def _compare(row, found, expected, labels):
    row.cosine, row.entry = differences(found, expected)
    row.recall = recall_at_1(found, labels) if np.isfinite(found).all() else None


def _named(model, image_shape, output):
    """The model from `image` to `embedding`, float32, called once, as Keras's exporters want it."""
    image = keras.Input(image_shape, dtype="float32", name="image")
    embedding = choose(model, model(image, training=False), output)
    if getattr(embedding, "shape", None) is None or len(embedding.shape) != 2:
        found = getattr(embedding, "shape", type(embedding).__name__)
        raise ValueError(
            f"`model` must return one embedding (batch, dim). Received: a model that returns {found}. "
            "Choose one of several outputs by `output`."
        )
    # Clients should not have to know the precision that the model computes in.
    embedding = keras.layers.Activation("linear", dtype="float32", name="embedding")(embedding)
    # TensorFlow's converters call the output by its key; those of PyTorch take no dictionary.
    outputs = {"embedding": embedding} if keras.backend.backend() == "tensorflow" else embedding
    named = keras.Model(image, outputs, name="embed")
    named(np.zeros((1, *image_shape), np.float32))
    return named


def _free(directory):
    directory = Path(directory)
    if directory.exists():
        raise ValueError(
            f"`directory` must not exist yet. Received: directory={str(directory)!r}, which is there. An export is "
            "written whole: choose another name, or move the old one away."
        )
    return directory
