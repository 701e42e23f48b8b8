"""From encoded images to embeddings in any process: what a worker unpickles, with its model loaded once."""

import contextlib
import functools
import hashlib
import json
import os
from multiprocessing.pool import ThreadPool
from pathlib import Path

import keras
import numpy as np

from keras_epos._checks import integer, one_of
from keras_epos._outputs import choose
from keras_epos.data import decode_and_resize
from keras_epos.data._inputs import describe_error
from keras_epos.gallery._fingerprint import fingerprint_of
from keras_epos.serving._export import image_shape_of
from keras_epos.serving._formats import ENGINES


class Embedder:
    """A picklable function from a batch of images to their embeddings, for the workers of `embed` and of pipelines.

    It holds where the model is, and neither weights nor engine, so it is small to send. A process loads the model at
    its first batch and keeps it. It refuses a file that has changed since the embedder was made, and another backend.
    It works without Ray: `embedder({"path": paths})`. In a pipeline of Ray Data each actor makes its own:
    `dataset.map_batches(Embedder, fn_constructor_args=["birds.keras"], compute=ray.data.ActorPoolStrategy(size=8))`.

    Images are decoded and resized as `keras_epos.data.decode_and_resize` does it, in threads, while the batch before is
    embedded. One that cannot be read gets a row of NaN and the reason in `error`; no row is dropped.

    Args:
        model: A `.keras` file, or a folder that `keras_epos.export` has written. Every process must find it there.
        image_size: Side in pixels or `(height, width)`, for a `.keras` file of a model of any size.
        format: Which engine of an export: `"savedmodel"`, `"onnx"`, `"openvino"` or `"litert"`; by default the first
            of them that is there.
        dtype: `"float32"` or `"float16"`, of the embeddings.
        batch_size: Images that the model gets at once, always as many: black ones fill the last batch.

    Attributes:
        fingerprint: That of the model in `keras_epos.Gallery`; an export has the one of the model that it was made of.
        image_size: `(height, width)`.

    Raises:
        ValueError: for a file that is no such model, or a model that does not take RGB images.

    Examples:
        >>> embedder = keras_epos.scale.Embedder("birds.keras")  # doctest: +SKIP
        >>> embedder({"id": [7], "path": ["robin.jpg"]})["embedding"].shape  # doctest: +SKIP
        (1, 128)
    """

    def __init__(self, model, image_size=None, *, format=None, dtype="float32", batch_size=64):
        self.path = Path(model).absolute()
        self.dtype = one_of("dtype", dtype, ("float32", "float16"))
        self.batch_size = integer("batch_size", batch_size, 1)
        self._loaded, self._backend = None, keras.backend.backend()
        if self.path.is_dir():
            self._format, self._file, self.fingerprint, shape = _exported(self.path, format)
            if image_size is not None and tuple(np.broadcast_to(image_size, 2)) != tuple(shape[:2]):
                raise ValueError(
                    f"`image_size` must be the {tuple(shape[:2])} of the export. Received: image_size={image_size!r}."
                )
            # OpenVINO's weights, and those of large models in ONNX, lie in a file beside it.
            self._weights = self._file if self._file.is_dir() else self._file.parent
        else:
            if format is not None:
                raise ValueError(
                    f"`format` is for the folder of an export. Received: format={format!r}, model={model}."
                )
            self._format, self._file, self._weights = "keras", self.path, self.path
            loaded = _keras_model(self.path)
            self.fingerprint = fingerprint_of(loaded)
            shape = image_shape_of(loaded, image_size, embed_bytes=False)
            self._loaded = _by_keras(loaded), _decoder(tuple(shape[:2]))
        if shape[2] != 3:
            raise ValueError(f"`model` must take RGB images. Received: a model of images with {shape[2]} channels.")
        self.image_size, self._digest = tuple(shape[:2]), digest_of(self._weights)

    def __getstate__(self):
        return {**self.__dict__, "_loaded": None}

    def __repr__(self):
        return f"<Embedder {self.path.name} ({self._format}), {self.image_size}, {self.dtype}>"

    def __call__(self, batch):
        """Embed a batch.

        Args:
            batch: A dictionary of N entries each: `bytes`, encoded images, or `path`, their files; and what else there
                is, such as `id`.

        Returns:
            The dictionary without `bytes`, with `embedding`, `(N, dim)` of `dtype`, and `error`, `None` or a text
            `(N,)`. An embedding that is not finite is an error too.

        Raises:
            ValueError: for a batch without images, and a model that has changed.
        """
        name = next((name for name in ("bytes", "path") if name in batch), None)
        if name is None:
            raise ValueError(f"`batch` must have a column `bytes` or `path`. Received: batch with {list(batch)}.")
        if self._loaded is None:
            self._loaded = self._load()
        embed, decode = self._loaded
        rows, errors = _embedded(batch[name], embed, _from(name, decode), self.image_size, self.batch_size)
        with np.errstate(over="ignore"):
            rows = rows.astype(self.dtype)
        for place in np.flatnonzero(~np.isfinite(rows).all(axis=1)):
            errors[place] = errors[place] or "The embedding is not finite."
        rows[[error is not None for error in errors]] = np.nan
        kept = {column: values for column, values in batch.items() if column != "bytes"}
        return {**kept, "embedding": rows, "error": errors}

    def _load(self):
        if keras.backend.backend() != self._backend:
            raise ValueError(
                f"The backend of Keras must be {self._backend!r}, with which the embedder was made. Received: "
                f"{keras.backend.backend()!r} in this process. For the workers of Ray set it by "
                f'runtime_env={{"env_vars": {{"KERAS_BACKEND": "{self._backend}"}}}}.'
            )
        if digest_of(self._weights) != self._digest:
            raise ValueError(
                f"`model` must be the file that the embedder was made with. Received: {self._file}, which has changed "
                "since. Make a new Embedder, and embed into another folder."
            )
        if self._format == "keras":
            return _by_keras(_keras_model(self._file)), _decoder(self.image_size)
        return ENGINES[self._format].load(self._file)[0], _decoder(self.image_size)


def _embedded(inputs, embed, load, size, batch_size):
    """Float32 embeddings `(N, dim)` of all inputs, and why some of them are not: `None` or a text each."""
    rows, errors = [], np.full(len(inputs), None, object)
    starts = range(0, max(1, len(inputs)), batch_size)
    with ThreadPool(min(8, os.cpu_count() or 1)) as pool:

        def ahead(start):
            return pool.map_async(load, list(inputs[start : start + batch_size]))

        waiting = ahead(0)
        for start in starts:
            loaded = waiting.get()
            if start + batch_size < len(inputs):
                waiting = ahead(start + batch_size)
            images = np.zeros((batch_size, *size, 3), np.float32)
            for place, (image, error) in enumerate(loaded):
                errors[start + place] = error
                if error is None:
                    images[place] = image
            rows.append(np.asarray(embed(images), np.float32)[: len(loaded)])
    return np.concatenate(rows), errors


def _from(name, decode):
    """A function from an entry of the column to `(image, None)` or `(None, why there is none)`."""

    def load(entry):
        if name == "path" and not entry:
            return None, "There is no path."
        try:
            return decode(entry if name == "bytes" else Path(os.fsdecode(entry)).read_bytes()), None
        except Exception as error:  # of many kinds, from inside of decoders
            return None, " ".join(describe_error(error).split())

    return load


@functools.cache
def _decoder(size):
    """`decode_and_resize` to a size, from bytes to a NumPy array."""
    if keras.backend.backend() != "tensorflow":
        return lambda contents: decode_and_resize(contents, size)
    import tensorflow as tf

    # Traced once; called from many threads, none of which may take a GPU for it.
    traced = tf.function(lambda contents: decode_and_resize(contents, size), [tf.TensorSpec((), tf.string)])

    def decode(contents):
        with tf.device("CPU:0"):
            try:
                return traced(tf.constant(contents)).numpy()
            except tf.errors.OpError:
                # Says why in words of its own, where the graph has those of its nodes.
                return decode_and_resize(contents, size).numpy()

    return decode


def _by_keras(model):
    return lambda images: choose(model, model.predict_on_batch(images), None)


def _keras_model(path):
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # of many kinds, from inside of Keras
        raise ValueError(
            "`model` must be a .keras file that can be loaded, or a folder that keras_epos.export has written. "
            f"Received: model={str(path)!r}. {error}"
        ) from error


def _exported(folder, format):
    """Format, file, fingerprint and image shape of an export."""
    facts = {}
    with contextlib.suppress(FileNotFoundError):
        facts = json.loads((folder / "card.json").read_text())
    if "fingerprint" not in facts:
        raise ValueError(
            "`model` must be a .keras file, or a folder that keras_epos.export has written, whose card.json has a "
            f"fingerprint. Received: model={str(folder)!r}."
        )
    if "decoder" not in [row["format"] for row in facts["files"]]:
        raise ValueError(
            "`model` must take values from 0 to 255, as files decode to. Received: an export with embed_bytes=False. "
            "Put the rescaling into the model, and export it again."
        )
    rows = {row["format"]: row for row in facts["files"] if row["precision"] == "float32" and row["path"]}
    there = [name for name in ENGINES if name in rows]
    format = one_of("format", there[0] if format is None else format, there)
    return format, folder / rows[format]["path"], facts["fingerprint"], facts["input"]["shape"][1:]


def digest_of(path):
    """SHA-256 of a file, or of the names and contents of all files in a folder."""
    if path.is_file():
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    parts = [[str(one.relative_to(path)), digest_of(one)] for one in sorted(path.rglob("*")) if one.is_file()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
