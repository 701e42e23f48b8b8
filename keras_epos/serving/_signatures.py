"""What an exported model can be asked: functions of tensors, with names and types for their inputs."""

import keras

from keras_epos._outputs import choose


def declared_inputs(model):
    """The structure of symbolic inputs of a functional model, or of the functional backbone of another; or None."""
    for part in (model, getattr(model, "backbone", None)):
        if isinstance(part, keras.Sequential) and part.built:
            return part.inputs[0]
        try:
            return part.input
        except (AttributeError, ValueError):
            continue
    return None


def input_specs(inputs):
    """A `tf.TensorSpec` for each input, with the name and dtype that the model declares."""
    import tensorflow as tf

    if _is_flat_dict(inputs):
        names, tensors = list(inputs), list(inputs.values())
    else:
        tensors = keras.tree.flatten(inputs)
        names = [tensor.name for tensor in tensors]
    pairs = zip(names, tensors, strict=True)
    return [tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype, name=name) for name, tensor in pairs]


def pack(inputs, tensors):
    """The tensors of `input_specs` in the structure that the model takes."""
    if _is_flat_dict(inputs):
        return dict(zip(inputs, tensors, strict=True))
    return keras.tree.pack_sequence_as(inputs, list(tensors))


def _is_flat_dict(inputs):
    return isinstance(inputs, dict) and all(hasattr(tensor, "shape") for tensor in inputs.values())


def any_inputs_endpoints(model, inputs, output, served=None):
    """`(name, function, inputs)` for the signature of a model on numbers, token ids, strings or several inputs.

    Args:
        served: A `ServedGallery`, whose signatures on embeddings come after it.
    """
    import tensorflow as tf

    specs = input_specs(inputs)

    def embed(*tensors):
        tensors = [tf.ensure_shape(tensor, spec.shape) for tensor, spec in zip(tensors, specs, strict=True)]
        return {"embedding": _as_embedding(choose(model, model(pack(inputs, tensors), training=False), output))}

    yield "embed", embed, specs
    yield from _gallery_endpoints(served)


def endpoints(model, image_shape, embed_bytes, output=None, served=None):
    """`(name, function, inputs)` for each signature; the first is also `serving_default`.

    Args:
        model: Maps float32 `(batch, height, width, channels)` to embeddings `(batch, dim)`.
        image_shape: `(height, width, channels)`.
        embed_bytes: Whether encoded images are taken as well.
        served: A `ServedGallery` that is searched too, or `None`.

    Raises:
        ValueError: when `model` does not return one matrix `(batch, dim)`.
    """
    import tensorflow as tf

    def embed(image):
        # A server checks names and types, but not shapes: a wrong size would return embeddings that look right.
        image = tf.ensure_shape(image, (None, *image_shape))
        return {"embedding": _as_embedding(choose(model, model(image, training=False), output))}

    def embed_encoded(image_bytes):
        images, valid = _decode_all(tf.ensure_shape(image_bytes, (None,)), image_shape)
        embedding = embed(images)["embedding"]
        return {"embedding": tf.where(valid[:, tf.newaxis], embedding, float("nan")), "valid": valid}

    image = tf.TensorSpec((None, *image_shape), tf.float32, name="image")
    yield "embed", embed, [image]
    if embed_bytes:
        yield "embed_bytes", embed_encoded, [tf.TensorSpec((None,), tf.string, name="image_bytes")]
    yield from _gallery_endpoints(served, embed_encoded if embed_bytes else None)


def _gallery_endpoints(served, embed_encoded=None):
    """What a `ServedGallery` can be asked, for embeddings and for what `embed_encoded` embeds."""
    import tensorflow as tf

    if served is None:
        return

    def of_bytes(answer):
        def answer_bytes(image_bytes, *k):
            found = embed_encoded(image_bytes)
            return answer(found["embedding"], *k)

        return answer_bytes

    image_bytes = tf.TensorSpec((None,), tf.string, name="image_bytes")
    embedding = tf.TensorSpec((None, served.dim), tf.float32, name="embedding")
    # A server's clients write one number, or one for each row: both are taken.
    k = tf.TensorSpec(None, tf.int32, name="k")
    answers = [("search", served.search, [k])] + ([("match", served.match, [])] if served.limits is not None else [])
    for name, answer, more in answers:
        yield name, answer, [embedding, *more]
        if embed_encoded is not None:
            yield f"{name}_bytes", of_bytes(answer), [image_bytes, *more]


def _as_embedding(output):
    import tensorflow as tf

    shape = getattr(output, "shape", None)
    if shape is None or len(shape) != 2:
        found = shape if shape is not None else type(output).__name__
        raise ValueError(
            f"`model` must return one embedding (batch, dim). Received: a model that returns {found}. "
            "Choose one of several outputs by `output`."
        )
    # Clients should not have to know the precision that the model computes in.
    return tf.cast(output, tf.float32)


def _decode_all(image_bytes, image_shape):
    """Return all images, zeros for what cannot be decoded, and which could be.

    Nothing in a graph catches the error of an op but `ignore_errors` of tf.data, whose ops live in a SavedModel as any
    others do. Each image carries its place, so that the others stay where they are.
    """
    import tensorflow as tf

    from keras_epos.data._images import decode_and_resize

    *size, channels = image_shape
    count = tf.size(image_bytes, out_type=tf.int64)
    images = tf.data.Dataset.from_tensor_slices((tf.range(count), image_bytes))
    images = images.map(
        lambda place, contents: (
            place,
            tf.ensure_shape(decode_and_resize(contents, tuple(size), channels=channels), image_shape),
        )
    )
    # One more row at the end, for a batch must not be empty.
    images = images.ignore_errors().concatenate(tf.data.Dataset.from_tensors((count, tf.zeros(image_shape))))
    places, images = images.batch(count + 1).get_single_element()
    places, images = places[:-1, tf.newaxis], images[:-1]
    valid = tf.scatter_nd(places, tf.ones_like(places[:, 0], tf.bool), [count])
    shape = tf.concat([[count], tf.constant(image_shape, tf.int64)], axis=0)
    return tf.scatter_nd(places, images, shape), valid
