"""TensorFlow Serving's PredictionService in gRPC, by its own stubs: `pip install --no-deps tensorflow-serving-api`."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import grpc
import tensorflow as tf
from served_versions import DEFAULT
from serving_status import INVALID_ARGUMENT, Status
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

CODES = {code.value[0]: code for code in grpc.StatusCode}


@contextlib.contextmanager
def statuses(context):
    try:
        yield
    except Status as error:
        context.abort(CODES[error.code], error.message)


def array(name, proto):
    try:
        return tf.make_ndarray(proto)
    except (TypeError, ValueError) as error:
        raise Status(INVALID_ARGUMENT, f"tensor parsing error: {name}") from error


class Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model):
        self.model = model

    def find(self, request):
        if not request.HasField("model_spec"):
            raise Status(INVALID_ARGUMENT, "Missing ModelSpec")
        spec = request.model_spec
        return self.model.find(spec.name, spec.version.value if spec.HasField("version") else None)

    def Predict(self, request, context):
        with statuses(context):
            version = self.find(request)
            signature = request.model_spec.signature_name or DEFAULT
            inputs = {name: array(name, proto) for name, proto in request.inputs.items()}
            outputs = version.predict(signature, inputs, tuple(request.output_filter))
            response = predict_pb2.PredictResponse()
            response.model_spec.name, response.model_spec.signature_name = self.model.name, signature
            response.model_spec.version.value = version.number
            for name, value in outputs.items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
            return response

    def GetModelMetadata(self, request, context):
        with statuses(context):
            version = self.find(request)
            if list(request.metadata_field) != ["signature_def"]:
                raise Status(INVALID_ARGUMENT, "GetModelMetadataRequest must specify metadata_field signature_def")
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.model_spec.name, response.model_spec.version.value = self.model.name, version.number
            definitions = get_model_metadata_pb2.SignatureDefMap()
            for name, definition in version.definitions.items():
                definitions.signature_def[name].CopyFrom(definition)
            response.metadata["signature_def"].Pack(definitions)
            return response


def serve(model, port):
    """A started server and its port."""
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Predictions(model), server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, port
