"""TensorFlow Serving's REST addresses on `http.server`."""

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import json_tensors
from google.protobuf.json_format import MessageToDict
from served_versions import DEFAULT
from serving_status import INVALID_ARGUMENT, NOT_FOUND, Status

MODEL = r"/v1/models/([^/:]+)(?:/versions/(\d{1,18}))?"
PREDICT, METADATA, STATUS = (re.compile(MODEL + end, re.IGNORECASE) for end in (":predict", "/metadata", ""))


def predict(model, name, number, body):
    version = model.find(name, number)
    request, form = json_tensors.parse(body)
    signature = request.get("signature_name") or DEFAULT
    inputs = json_tensors.tensors(request, form, version.dtypes(signature, INVALID_ARGUMENT))
    return json_tensors.answer(version.predict(signature, inputs), form)


def metadata(model, name, number):
    version = model.find(name, number)
    definitions = {
        key: MessageToDict(one, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        for key, one in version.definitions.items()
    }
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(version.number)},
        "metadata": {"signature_def": {"signature_def": definitions}},
    }


def status(model, name, number):
    try:
        version = model.find(name, number)
    except Status as error:
        raise Status(NOT_FOUND, f"Could not find any versions of model {name}") from error
    state = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    return {"model_version_status": [{"version": str(version.number), **state}]}


def respond(model, method, path, body=b""):
    """`(HTTP code, answer)` of a request."""
    ways = [(PREDICT, predict)] if method == "POST" else [(METADATA, metadata), (STATUS, status)]
    try:
        for pattern, answer in ways:
            if match := pattern.fullmatch(path):
                name, number = match.groups()
                arguments = (body,) if answer is predict else ()
                return 200, answer(model, name, None if number is None else int(number), *arguments)
        raise Status(INVALID_ARGUMENT, f"Malformed request: {method} {path}")
    except Status as error:
        return error.http, {"error": error.message}
    except Exception as error:
        return 500, {"error": f"{type(error).__name__}: {error}"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        self.send(*respond(self.server.model, "GET", self.path))

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self.close_connection = True
            self.send(400, {"error": "Malformed request: no Content-Length"})
            return
        self.send(*respond(self.server.model, "POST", self.path, self.rfile.read(int(length))))

    def send(self, code, answer):
        body = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, model, port):
        super().__init__(("127.0.0.1", port), Handler)
        self.model = model

    def handle_error(self, request, client_address):
        """Clients may go away before they have their answer."""
