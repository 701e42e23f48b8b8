"""The requests by which TensorFlow Serving warms up: as its own messages are, small, and answered."""

import pytest
from c_api import fields, key_and_value

from keras_epos.serving import _warm_up as warm_up

pytestmark = pytest.mark.backend("tensorflow", reason="only TensorFlow writes SavedModels")


def records(path):
    import tensorflow as tf

    return [record.numpy() for record in tf.data.TFRecordDataset(str(path / warm_up.FILE))]


def read(record):
    """`(model, signature, {name: TensorProto})`, by the wire format and the numbers of the fields alone."""
    from tensorflow.core.framework.tensor_pb2 import TensorProto

    ((log,),) = fields(record).values()
    asked = fields(fields(log)[1][0])
    assert list(fields(record)) == [6]
    spec, inputs = fields(asked[1][0]), dict(map(key_and_value, asked[2]))
    tensors = {name: TensorProto.FromString(content) for name, content in inputs.items()}
    return spec[1][0].decode(), spec[3][0].decode(), tensors


def test_every_signature_is_asked_once_and_answers(exported, signatures):
    import tensorflow as tf

    found = [read(record) for record in records(exported)]
    assert [model for model, *_ in found] == ["birds"] * 7
    assert sorted(name for _, name, _ in found) == sorted(signatures)
    for _, name, inputs in found:
        inputs = {key: tf.constant(tf.make_ndarray(tensor)) for key, tensor in inputs.items()}
        declared = signatures[name].structured_input_signature[1]
        assert {key: spec.dtype for key, spec in declared.items()} == {key: one.dtype for key, one in inputs.items()}
        answer = signatures[name](**inputs)
        assert len(next(iter(answer.values()))) == (2 if name.endswith("_bytes") else 1), name
        if "valid" in answer:
            assert answer["valid"].numpy().all(), name


def test_they_are_small_whatever_the_model_takes(exported, tmp_path):
    import tensorflow as tf

    assert (exported / warm_up.FILE).stat().st_size < 3000
    specs = [
        tf.TensorSpec((None, 4096, 4096, 3), tf.float16, "picture"),
        tf.TensorSpec((None, None), tf.string, "words"),
        tf.TensorSpec((None, 5), tf.int64, "code"),
    ]
    warm_up.write(tmp_path, [("embed", specs)])
    assert (tmp_path / warm_up.FILE).stat().st_size < 300
    ((_, _, inputs),) = map(read, records(tmp_path))
    assert {name: (tuple(side.size for side in one.tensor_shape.dim), one.dtype) for name, one in inputs.items()} == {
        "picture": ((1, 4096, 4096, 3), tf.float16.as_datatype_enum),
        "words": ((1, 4), tf.string.as_datatype_enum),
        "code": ((1, 5), tf.int64.as_datatype_enum),
    }


def test_the_messages_are_those_of_tensorflow_serving(exported):
    prediction_log_pb2 = pytest.importorskip(
        "tensorflow_serving.apis.prediction_log_pb2", reason="the package tensorflow-serving-api is not installed"
    )
    for record in records(exported):
        log = prediction_log_pb2.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log"
        asked = log.predict_log.request
        found = asked.model_spec.name, asked.model_spec.signature_name, dict(asked.inputs)
        assert found == read(record)
        # Nothing that these messages do not know.
        log.DiscardUnknownFields()
        assert log.ByteSize() == len(record)
