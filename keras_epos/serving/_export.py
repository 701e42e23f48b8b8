"""Export of an embedding model as a SavedModel that TensorFlow alone can load and serve."""

import errno
import os
import re
import secrets
import shutil
import time
import warnings
from pathlib import Path

import keras
import numpy as np

from keras_epos._checks import integer
from keras_epos._outputs import choose
from keras_epos.serving import _signatures as signatures
from keras_epos.serving import _warm_up as warm_up
from keras_epos.serving._served_gallery import ServedGallery, checked, verify_gallery

# Difference allowed between the model and its export, as a share of the largest entry of the embeddings, for
# computation in float32 and in half precision: the export is optimized as a whole and may round differently.
TOLERANCE = {"float32": 1e-3, "half": 5e-2}

# No export pauses for so long between two files, so what is older belongs to a process that was killed.
STALE_SECONDS = 24 * 3600


def export_savedmodel(
    model,
    directory,
    *,
    version=None,
    image_size=None,
    embed_bytes=True,
    output=None,
    verify=True,
    gallery=None,
    threshold=None,
    fingerprint=None,
    gallery_storage=None,
    max_k=100,
):
    """Write `model` to `<directory>/<version>/`, the layout of TensorFlow Serving.

    The SavedModel holds the weights and these signatures, and needs neither keras nor keras_epos nor the optimizer:

        embed (also serving_default)   image: float32 (batch, height, width, channels), as the model was trained on
        embed_bytes                    image_bytes: string (batch,), encoded JPEG, PNG, BMP, GIF or WebP of any size
        both                           -> {"embedding": float32 (batch, dim)}
        embed_bytes also               -> {"valid": bool (batch,)}

    With a `gallery` it also answers for embeddings and, with `embed_bytes`, for encoded images:

        search         embedding: float32 (n, dim), k: int32, a number or one for each query
        search_bytes   image_bytes: string (n,), k
                       -> {"ids", "labels": string (n, k), "similarities": float32 (n, k), "valid": bool (n,)}
        match          embedding           written where there is a threshold
        match_bytes    image_bytes
                       -> {"label", "id": string (n,), "similarity": float32 (n,), "accepted", "valid": bool (n,)}

    They answer as `gallery.search` and `gallery.match` do, ties included; ids and labels are strings. `label` is
    `"unknown"` where the nearest row is not accepted. Where fewer than `k` rows exist, `""` and -inf stand. What is
    not `valid` has `""` and NaN. A `k` below 1 or above `max_k` is refused. The rows are variables in the files of the
    weights, so a gallery may be larger than 2 GB. Payload is not served.

    Images of another size are refused, not embedded. Encoded images are decoded and resized as
    `keras_epos.data.decode_and_resize` does, the EXIF orientation included, so the model gets upright RGB (or gray)
    values from 0 to 255. What cannot be decoded, or what would be larger than its `max_pixels`, gets a row of NaN and
    `valid` False; the other images of the request are not touched.

    `assets.extra/tf_serving_warmup_requests` holds a small request to each signature. TensorFlow Serving answers them
    for itself while it loads the version.

    The folder appears complete or not at all: it is written beside its place and then renamed.

    Args:
        model: A built `keras.Model` from images `(batch, height, width, 1 or 3)` to embeddings `(batch, dim)`. A
            subclassed model must have been called once. A functional model, or an `EmbeddingModel` of one, may take
            anything else, such as token ids, strings, or several inputs: then `embed` is the only signature, and its
            inputs have the names and dtypes that the model declares.
        directory: Folder of the model, which holds its versions; made when missing.
        version: Integer from 0, not yet present. By default one more than the highest present, or 1.
        image_size: Side in pixels or `(height, width)`, when the model does not fix it.
        embed_bytes: Whether to write that signature. `False` for models that do not take images from 0 to 255.
        output: Key, name or place of the embedding among several outputs; by default the one called `"embedding"`.
        verify: Whether to load the result and compare a batch with the model, and some answers with the gallery, before
            it gets its name.
        gallery: A `keras_epos.Gallery` with rows, made by this model.
        threshold: As `Gallery.threshold`, and that of the gallery by default.
        fingerprint: The gallery's, where that is a string of yours.
        gallery_storage: `"float32"`, `"float16"` or `"int8"`. By default what the gallery ranks by: float16 for a
            gallery of that, else float32 (of int8 and binary too, which rank by their float32 rows). `"int8"` takes a
            quarter of the memory; similarities then differ by some 1e-3.
        max_k: The largest `k` that is answered.

    Returns:
        `pathlib.Path` of the version's folder.

    Raises:
        ValueError: for a model that is not built or not of that form, a version that exists, a directory that is a
            file, another backend than TensorFlow, an export whose embeddings differ from the model's, and a gallery
            that is empty, of another model, or whose ids or labels are the same as strings (1 and "1").

    Examples:
        >>> path = keras_epos.export_savedmodel(model, "saved_models/vectors", embed_bytes=False)
        >>> path.name
        '1'
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "`export_savedmodel` must run on the TensorFlow backend. Received: "
            f"backend={keras.backend.backend()!r}. Save the model as `.keras` and export it in a process with "
            "KERAS_BACKEND=tensorflow."
        )
    inputs = signatures.declared_inputs(model) if isinstance(model, keras.Model) else None
    served = None
    if gallery is not None:
        served = ServedGallery(checked(gallery, model, fingerprint), threshold, gallery_storage, max_k)
    elif threshold is not None:
        raise ValueError(f"`threshold` must come with a `gallery`. Received: threshold={threshold!r}, gallery=None.")
    written = without_adapters(model)
    if inputs is None or (hasattr(inputs, "shape") and len(inputs.shape) == 4):
        image_shape = image_shape_of(model, image_size, embed_bytes)
        endpoints = list(signatures.endpoints(written, image_shape, embed_bytes, output, served))
    else:
        endpoints = list(signatures.any_inputs_endpoints(written, inputs, output, served))
    if served is not None:
        served.check_dim(_of_noise(model, inputs, endpoints[0][2], output)[1])
    if getattr(model, "optimizer", None) is not None and int(model.optimizer.iterations.numpy()) == 0:
        warnings.warn(
            f"The model {model.name!r} is compiled and was never trained in this process: it is exported as it is.",
            stacklevel=2,
        )
    directory = Path(directory)
    target = directory / str(_free_version(directory, version))
    directory.mkdir(parents=True, exist_ok=True)
    remove_leftovers(directory)
    # Servers look for folders named by a number, so they never load this one half-written.
    unfinished = directory / f".{target.name}-{secrets.token_hex(4)}"
    try:
        _write(written, unfinished, endpoints)
        if verify:
            _verify(model, unfinished, inputs, endpoints[0][2], output)
            if served is not None:
                verify_gallery(unfinished, served, gallery)
        target = _move(unfinished, directory, version)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise OSError(errno.ENOSPC, "No space left to export the model; nothing was kept", str(target)) from error
        raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return target


def without_adapters(model):
    """The model as it is exported: an `EmbeddingModel` with `lora` has its adapters in its kernels."""
    return model.merged() if hasattr(model, "merged") else model


def remove_leftovers(directory, names=r"\d+"):
    """Removes what killed exports left: hidden folders in which nothing was written for a day.

    Args:
        names: Pattern of what the exports are called.
    """
    for path in directory.glob(".*-*"):
        if re.fullmatch(rf"\.(?:{names})-[0-9a-f]{{8}}", path.name) and path.is_dir():
            newest = max(part.stat().st_mtime for part in (path, *path.rglob("*")))
            if time.time() - newest > STALE_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


def _write(model, path, endpoints):
    import tensorflow as tf

    # Not `archive.track(model)`: what the endpoints use is tracked anyway, and Keras 3.15 writes the variables of a
    # tracked model a second time.
    archive = keras.export.ExportArchive()
    if any(not spec.dtype.is_floating for spec in endpoints[0][2]):
        # The tables of vocabularies must be tracked. Held by a module, for see above.
        holder = tf.Module()
        holder.model = model
        archive.track(holder)
    for name, function, inputs in endpoints:
        archive.add_endpoint(name, function, inputs)
    archive.write_out(str(path), verbose=False)
    requests = [(name, inputs) for name, _, inputs in endpoints]
    warm_up.write(path, [("serving_default", requests[0][1]), *requests])


def _verify(model, path, inputs, specs, output):
    """Compares the export with the model on two rows of noise."""
    import tensorflow as tf

    noise, expected = _of_noise(model, inputs, specs, output)
    is_constant = np.abs(expected[0] - expected[1]).max() <= 1e-6 * np.abs(expected).max()
    # Words and ids drawn at random may be the same in both rows, or unknown to the model.
    if is_constant and all(spec.dtype.is_floating for spec in specs):
        warnings.warn(
            f"The model {model.name!r} gives two different inputs one embedding: it may be constant. If training mode "
            "differs, BatchNormalization has not reached its statistics: train longer, or lower its `momentum`.",
            stacklevel=3,
        )
    loaded = tf.saved_model.load(str(path))
    named = {spec.name: rows for spec, rows in zip(specs, noise, strict=True)}
    found = loaded.signatures["embed"](**named)["embedding"].numpy()
    allowed = allowed_difference(model)
    difference = np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-30)
    # Written so that NaN fails as well.
    if not difference <= allowed:
        raise ValueError(
            "`model` must give the same embeddings after export. Received: a model whose export differs by "
            f"{difference:.2g} of the largest entry on random images. Are its outputs finite, and the same in every "
            "call with training=False? `verify=False` exports it nevertheless."
        )


def _of_noise(model, inputs, specs, output):
    """Two rows for each of the inputs, and the model's own embeddings of them."""
    import tensorflow as tf

    noise = [_noise(spec) for spec in specs]
    own = noise[0] if inputs is None else signatures.pack(inputs, noise)
    return noise, np.asarray(tf.cast(choose(model, model(own, training=False), output), tf.float32))


def allowed_difference(model):
    """The entry of `TOLERANCE` for what the model computes in."""
    policies = {layer.compute_dtype for layer in model._flatten_layers()}
    return TOLERANCE["half" if policies & {"float16", "bfloat16"} else "float32"]


def _noise(spec):
    """Two rows: images from 0 to 255, other numbers from 0 to 1, the ids 0 and 1, two words."""
    import tensorflow as tf

    rng, shape = np.random.default_rng(0), (2, *(side or 4 for side in spec.shape[1:]))
    if spec.dtype == tf.string:
        return tf.constant(rng.choice(["one", "another"], shape))
    if spec.dtype.is_floating:
        return tf.cast(rng.uniform(0, 255 if len(shape) == 4 else 1, shape), spec.dtype)
    return tf.cast(rng.integers(0, 2, shape), spec.dtype)


def _move(unfinished, directory, version):
    """Gives the finished folder its name. A version that another process wrote meanwhile stays as it is."""
    while True:
        target = directory / str(_free_version(directory, version))
        try:
            os.rename(unfinished, target)
            return target
        except OSError as error:
            if not target.exists():
                raise
            if version is not None:
                raise _exists(target) from error


def _exists(target):
    return ValueError(
        f"`version` must not exist yet. Received: version={target.name}, and {target} is there. Pass another, or none "
        "for the next free one."
    )


def _free_version(directory, version):
    if directory.suffix in (".keras", ".h5", ".tflite", ".onnx"):
        raise ValueError(
            f"`directory` must be the folder of the model's versions. Received: directory={str(directory)!r}, the name "
            "of a file. To write a file use `model.save`."
        )
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"`directory` must be a folder. Received: directory={str(directory)!r}, which is a file.")
    if version is None:
        names = os.listdir(directory) if directory.is_dir() else []
        return max((int(name) for name in names if name.isascii() and name.isdigit()), default=0) + 1
    version = integer("version", version, 0)
    if (directory / str(version)).exists():
        raise _exists(directory / str(version))
    return version


def image_shape_of(model, image_size, embed_bytes):
    """`(height, width, channels)` of the images that `model` takes."""
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"`model` must be a keras.Model. Received: model of type {type(model).__name__}. It comes first: "
            "export_savedmodel(model, directory)."
        )
    shape, is_fixed = _input_shape(model)
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[3] is None:
        raise ValueError(
            "`model` must take images of shape (batch, height, width, channels). Received: a model with input shape "
            f"{shape}."
        )
    size = _size(image_size) or shape[1:3]
    if None in size:
        raise ValueError(
            f"`image_size` must be given for a model with input shape {shape}. Received: image_size=None. Pass the "
            "size that it was validated with."
        )
    if is_fixed and any(own not in (None, asked) for own, asked in zip(shape[1:3], size, strict=True)):
        raise ValueError(f"`image_size` must be the {shape[1:3]} of the model. Received: image_size={image_size!r}.")
    if embed_bytes and shape[3] not in (1, 3):
        raise ValueError(
            f"`embed_bytes` must be False for images of {shape[3]} channels. Received: embed_bytes=True; files decode "
            "to 1 or 3 channels."
        )
    return (*size, shape[3])


def _size(image_size):
    if image_size is None:
        return None
    sides = (image_size,) * 2 if isinstance(image_size, (int, np.integer)) else tuple(image_size)
    if len(sides) != 2 or not all(isinstance(side, (int, np.integer)) and side > 0 for side in sides):
        raise ValueError(
            f"`image_size` must be a side in pixels or (height, width). Received: image_size={image_size!r}."
        )
    return tuple(int(side) for side in sides)


def _input_shape(model):
    """Input shape of a Functional model or backbone, or of the first call of another; and whether it is binding."""
    if not model.built:
        raise ValueError(
            f"`model` must be built. Received: model {model.name!r}, which was never called. Call it once on a batch "
            "of images: model(images)."
        )
    part = model
    while part is not None:
        try:
            return part.input_shape, True
        except AttributeError:
            part = getattr(part, "backbone", None)
    return (model.get_build_config() or {}).get("input_shape"), False
