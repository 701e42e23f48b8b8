"""Requests that TensorFlow Serving answers for itself while it loads a version, so that no client waits for the first.

They are `PredictionLog` messages of `tensorflow_serving/apis/prediction_log.proto` in a TFRecord file. Of these four
messages only a few fields are written, so they are encoded here and need no package besides TensorFlow.
"""

from pathlib import Path

FILE = Path("assets.extra", "tf_serving_warmup_requests")
# Numbers of the fields in prediction_log.proto, predict.proto and model.proto; those of an entry of a map.
PREDICT_LOG, REQUEST, MODEL_SPEC, INPUTS, NAME, SIGNATURE_NAME = 6, 1, 1, 2, 1, 3
KEY, VALUE = 1, 2
# Beyond it a varint goes on, and tags of fields end: all numbers above are below 16.
SEVEN_BITS = 0x7F
LENGTH_DELIMITED = 2


def write(path, signatures):
    """Writes `FILE` into the folder of a version: a request to each signature.

    Args:
        path: Of the version, in the folder of the model, whose name is what clients ask for.
        signatures: `(name, specs)` of each, a `tf.TensorSpec` for every input.
    """
    import tensorflow as tf

    (path / FILE).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path / FILE)) as records:
        for name, specs in signatures:
            inputs = {spec.name: _tensor(spec).SerializeToString() for spec in specs}
            records.write(request(path.parent.name, name, inputs))


def request(model, signature, inputs):
    """A serialized `PredictionLog`.

    Args:
        inputs: A serialized `TensorProto` for each name.
    """
    spec = _field(NAME, model.encode()) + _field(SIGNATURE_NAME, signature.encode())
    entries = [_field(KEY, name.encode()) + _field(VALUE, tensor) for name, tensor in inputs.items()]
    asked = _field(MODEL_SPEC, spec) + b"".join(_field(INPUTS, entry) for entry in entries)
    return _field(PREDICT_LOG, _field(REQUEST, asked))


def _tensor(spec):
    """The `TensorProto` of one row, or of a JPEG and a PNG. Where all entries are the same it holds one of them."""
    import tensorflow as tf

    if spec.name == "image_bytes":
        gray = tf.fill((8, 8, 3), tf.constant(127, tf.uint8))
        return tf.make_tensor_proto([tf.io.encode_jpeg(gray).numpy(), tf.io.encode_png(gray).numpy()])
    shape = [] if spec.shape.rank is None else [1, *(side or 4 for side in spec.shape[1:])]
    if spec.dtype == tf.string:
        return tf.make_tensor_proto("one", shape=shape)
    return tf.make_tensor_proto(1, spec.dtype, shape)


def _field(number, content):
    """A length-delimited field of a protobuf message."""
    size, length = len(content), bytearray()
    while size > SEVEN_BITS:
        length.append(size & SEVEN_BITS | SEVEN_BITS + 1)
        size >>= 7
    return bytes([number << 3 | LENGTH_DELIMITED, *length, size]) + content
