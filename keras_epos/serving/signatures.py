"""What an exported model can be asked: functions of tensors, with names and types for their inputs."""


def endpoints(model, image_shape, embed_bytes):
    """`(name, function, [input])` for each signature; the first is also `serving_default`.

    Args:
        model: Maps float32 `(batch, height, width, channels)` to embeddings `(batch, dim)`.
        image_shape: `(height, width, channels)`.
        embed_bytes: Whether encoded images are taken as well.

    Raises:
        ValueError: when `model` does not return one matrix `(batch, dim)`.
    """
    import tensorflow as tf

    def embed(image):
        # A server checks names and types, but not shapes: a wrong size would return embeddings that look right.
        image = tf.ensure_shape(image, (None, *image_shape))
        return {"embedding": _as_embedding(model(image, training=False))}

    def embed_encoded(image_bytes):
        decoded = tf.map_fn(
            lambda contents: _decode(contents, image_shape),
            image_bytes,
            fn_output_signature=tf.TensorSpec(image_shape, tf.float32),
        )
        return embed(decoded)

    image = tf.TensorSpec((None, *image_shape), tf.float32, name="image")
    yield "embed", embed, [image]
    if embed_bytes:
        yield "embed_bytes", embed_encoded, [tf.TensorSpec((None,), tf.string, name="image_bytes")]


def _as_embedding(output):
    import tensorflow as tf

    shape = getattr(output, "shape", None)
    if shape is None or len(shape) != 2:
        found = shape if shape is not None else type(output).__name__
        raise ValueError(f"`model` must return one embedding (batch, dim). Received: a model that returns {found}.")
    # Clients should not have to know the precision that the model computes in.
    return tf.cast(output, tf.float32)


def _decode(contents, image_shape):
    import tensorflow as tf

    from keras_epos.data.images import decode_and_resize

    height, width, channels = image_shape
    if channels == 3:
        return decode_and_resize(contents, (height, width))
    image = tf.ensure_shape(tf.io.decode_image(contents, channels=1, expand_animations=False), (None, None, 1))
    return tf.image.resize(image, (height, width), antialias=True)
