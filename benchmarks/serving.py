"""Clients at once, good and malformed, against a server of an exported gallery: answers, memory and waiting times.

    python benchmarks/serving.py --seconds 120
    pip install --no-deps tensorflow-serving-api    # asks by gRPC too

The server is `tests/serving/model_server.py`, in a process of its own: it has the addresses of TensorFlow Serving, and
its times are its own. Every answer is checked: good requests against model and gallery in Python, malformed ones for
an HTTP code from 400 to 499 with an error in JSON. Mutated bodies may be either: one that is answered must get what
the SavedModel says in this process. Ends with 1 if any answer was wrong or the server ended. Linux only.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import base64
import collections
import http.client
import importlib.util
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import side_by_side

import keras_epos

TESTS = Path(__file__).resolve().parents[1] / "tests" / "serving"
K = 4


def b64(contents):
    return {"b64": base64.b64encode(contents).decode()}


class Requests:
    """Bodies by kind; each is `(kind, body, check)`, where `check(code, answer)` says whether the answer is right."""

    def __init__(self, files, images, own, signatures):
        self.files, self.images, self.own, self.signatures = [b64(one) for one in files], images, own, signatures
        self.embeddings = own["embed"]["embedding"].tolist()
        self.dim = len(self.embeddings[0])

    def inputs(self, signature, rows):
        if signature.endswith("_bytes"):
            found = {"image_bytes": [self.files[row] for row in rows]}
        elif signature == "embed":
            found = {"image": [self.images[row] for row in rows]}
        else:
            found = {"embedding": [self.embeddings[row] for row in rows]}
        return found | ({"k": [K] * len(rows)} if signature.startswith("search") else {})

    def some(self, generator):
        signature = str(generator.choice([name for name in self.own if name != "serving_default"]))
        return signature, generator.integers(0, len(self.files), generator.integers(1, 5)).tolist()

    def columns(self, generator):
        signature, rows = self.some(generator)
        body = {"signature_name": signature, "inputs": self.inputs(signature, rows)}
        return body, lambda code, answer: code == 200 and self.is_own(signature, rows, named(answer["outputs"]))

    def rows(self, generator):
        signature, rows = self.some(generator)
        inputs = self.inputs(signature, rows)
        body = {
            "signature_name": signature,
            "instances": [dict(zip(inputs, row, strict=True)) for row in zip(*inputs.values(), strict=True)],
        }

        def check(code, answer):
            found = answer.get("predictions")
            if code == 200 and isinstance(found[0], dict):
                found = {name: [row[name] for row in found] for name in found[0]}
            return code == 200 and self.is_own(signature, rows, named(found))

        return body, check

    def corrupt(self, generator):
        """One of two files is cut: the other is answered nevertheless."""
        signature = str(generator.choice(["embed_bytes", "search_bytes", "match_bytes"]))
        row = int(generator.integers(0, len(self.files)))
        cut = b64(base64.b64decode(self.files[row]["b64"])[: int(generator.integers(0, 60))])
        body = {"signature_name": signature, "inputs": self.inputs(signature, [row, row])}
        body["inputs"]["image_bytes"][0] = cut

        def check(code, answer):
            if code != 200 or answer["outputs"]["valid"] != [False, True]:
                return False
            return self.is_own(signature, [row], {name: values[1:] for name, values in answer["outputs"].items()})

        return body, check

    def malformed(self, generator):
        signature, rows = self.some(generator)
        body = {"signature_name": signature, "inputs": self.inputs(signature, rows)}
        vector = [1.0] * self.dim
        bad = [
            json.dumps(body)[: int(generator.integers(0, 60))],
            {**body, "signature_name": "paint"},
            {"signature_name": "embed", "inputs": [[[["1"] * 3] * 8] * 8]},
            {"signature_name": "embed", "inputs": [[[[1.0] * 3] * 9] * 9]},
            {"signature_name": "match", "inputs": [vector[1:]]},
            {"signature_name": "match", "inputs": [vector, vector[1:]]},
            {"signature_name": "embed_bytes", "inputs": [{"b64": "*" + self.files[0]["b64"]}]},
            {"signature_name": "search_bytes", "inputs": {"image_bytes": self.files[:1], "k": 2**31 - 1}},
            {"signature_name": "search", "inputs": {"embedding": [vector], "k": -1}},
            {**body, "inputs": {"other": 1}},
        ]
        return bad[generator.integers(len(bad))], is_refused

    def mutated(self, generator):
        body, _ = (self.rows if generator.random() < 0.5 else self.columns)(generator)
        if generator.random() < 0.5:
            for _ in range(generator.integers(1, 3)):
                body = change_a_part(body, generator)
            body = json.dumps(body).encode()
        else:
            body = change_bytes(json.dumps(body).encode(), generator)
        return body, lambda code, answer: is_refused(code, answer) or (code == 200 and self.is_saved(body, answer))

    def is_own(self, signature, rows, found):
        """Whether the outputs are those of model and gallery for these rows."""
        expected = self.own[signature]
        found = found if isinstance(found, dict) else {"embedding": found[""]}
        if list(found) == [""]:
            found = dict(zip(expected, found.values(), strict=True))
        return set(found) == set(expected) and all(
            same(found[name], [expected[name][row] for row in rows]) for name in expected
        )

    def is_saved(self, body, answer):
        """Whether the outputs are those of the SavedModel in this process for what stands in the body."""
        request = json.loads(body, object_pairs_hook=lambda pairs: dict(reversed(pairs)))
        signature = self.signatures[request.get("signature_name") or "serving_default"]
        specs = signature.structured_input_signature[1]
        given = request["inputs"] if "inputs" in request else request["instances"]
        if "instances" in request and isinstance(given[0], dict) and list(given[0]) != ["b64"]:
            given = {name: [row[name] for row in given] for name in specs}
        elif not isinstance(given, dict) or list(given) == ["b64"]:
            given = {next(iter(specs)): given}
        outputs = signature(**{name: tensor(given[name], spec.dtype) for name, spec in specs.items()})
        found = answer["predictions"] if "predictions" in answer else answer["outputs"]
        if "predictions" in answer and len(outputs) > 1:
            found = {name: [row[name] for row in found] for name in outputs}
        elif len(outputs) == 1:
            found = dict.fromkeys(outputs, found)
        return set(found) == set(outputs) and all(same(found[name], np.asarray(outputs[name])) for name in outputs)


def named(outputs):
    """One output alone has no name."""
    return outputs if isinstance(outputs, dict) else {"": outputs}


def tensor(value, dtype):
    import tensorflow as tf

    if dtype != tf.string:
        return tf.constant(np.array(value, dtype.as_numpy_dtype))

    def contents(one):
        if isinstance(one, list):
            return [contents(part) for part in one]
        return one.encode() if isinstance(one, str) else base64.b64decode(one["b64"] + "==")

    return tf.constant(contents(value), tf.string)


def same(found, expected):
    expected = np.asarray(expected)
    if expected.dtype.kind == "f":
        found = np.array(found, np.float32)
        return found.shape == expected.shape and np.allclose(found, expected, rtol=1e-4, atol=1e-5, equal_nan=True)
    expected = [one.decode() if isinstance(one, bytes) else one for one in expected.ravel().tolist()]
    return np.array(found).ravel().tolist() == expected


def is_refused(code, answer):
    return 400 <= code < 500 and list(answer) == ["error"]


ODD = [
    None,
    True,
    -1,
    0,
    2**31,
    2**70,
    1.5,
    1e39,
    float("nan"),
    "",
    "é",
    [],
    {},
    [[]],
    {"b64": "AA"},
    {"b64": 1},
    "embed",
]


def change_a_part(value, generator):
    """Replace, remove, repeat or rename something somewhere in a structure of JSON."""
    if isinstance(value, dict | list) and value and generator.random() < 0.8:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = keys[generator.integers(len(keys))]
        value = value.copy()
        draw = generator.random()
        if draw < 0.1:
            del value[key]
        elif draw < 0.2 and isinstance(value, list):
            value.insert(key, value[key])
        elif draw < 0.2:
            value[str(generator.choice(["k", "x", "inputs", "image_bytes"]))] = value.pop(key)
        else:
            value[key] = change_a_part(value[key], generator)
        return value
    if isinstance(value, str) and len(value) > 40 and generator.random() < 0.7:
        return b64(change_bytes(base64.b64decode(value + "=="), generator))["b64"]
    return ODD[generator.integers(len(ODD))]


def change_bytes(contents, generator):
    contents = bytearray(contents)
    for _ in range(generator.integers(1, 4)):
        start = int(generator.integers(0, len(contents) + 1))
        stop = start + int(generator.integers(0, 9))
        part = contents[start:stop]
        contents[start:stop] = [b"", generator.bytes(len(part)), part * 2, b'"', b"]", b"9"][generator.integers(6)]
    return bytes(contents)


def client(port, requests, weights, until, seed, found):
    """Ask each kind once and then until the time is over; `found[kind]` gets `(seconds, is right, code)`."""
    generator, kinds = np.random.default_rng(seed), list(weights)
    share = np.array(list(weights.values())) / sum(weights.values())
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    first = list(kinds)
    while first or time.monotonic() < until:
        kind = first.pop() if first else kinds[generator.choice(len(kinds), p=share)]
        body, check = getattr(requests, kind)(generator)
        sent = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
        code, start = None, time.perf_counter()
        try:
            connection.request("POST", "/v1/models/birds:predict", sent)
            response = connection.getresponse()
            code, answer = response.status, json.loads(response.read())
            seconds = time.perf_counter() - start
            is_right = bool(check(code, answer))
        except Exception as error:
            seconds, is_right, answer = time.perf_counter() - start, False, repr(error)
            connection.close()
        if not is_right:
            print(f"wrong, {kind}: {sent[:300]!r} -> {code} {str(answer)[:300]}", file=sys.stderr)
        found[kind].append((seconds, is_right, code))


def grpc_client(port, requests, until, seed, found):
    """Good requests by gRPC, and some of another dtype and signature."""
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    generator = np.random.default_rng(seed)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        while time.monotonic() < until:
            signature, rows = requests.some(generator)
            bad = generator.choice(["", "", "", "dtype", "signature"])
            request = predict_pb2.PredictRequest()
            request.model_spec.name = "birds"
            request.model_spec.signature_name = "paint" if bad == "signature" else signature
            for name, value in requests.inputs(signature, rows).items():
                spec = requests.signatures[signature].structured_input_signature[1][name]
                value = tf.make_tensor_proto(np.int64([1])) if bad == "dtype" else tensor(value, spec.dtype)
                request.inputs[name].CopyFrom(value if bad == "dtype" else tf.make_tensor_proto(value.numpy()))
            start = time.perf_counter()
            try:
                outputs = {name: tf.make_ndarray(one) for name, one in stub.Predict(request, 60).outputs.items()}
                seconds, code = time.perf_counter() - start, "OK"
                outputs = {name: one.astype(str) if one.dtype == object else one for name, one in outputs.items()}
                is_right = not bad and requests.is_own(signature, rows, outputs)
            except grpc.RpcError as error:
                seconds, code = time.perf_counter() - start, error.code().name
                is_right = code == {"dtype": "INVALID_ARGUMENT", "signature": "FAILED_PRECONDITION"}.get(bad)
            found["grpc_malformed" if bad else "grpc"].append((seconds, is_right, code))


def resident(process):
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def load(args, folder):
    """`{kind of request: [(seconds, is right, code), ...]}`, and the server's MB at the start and the end."""
    import tensorflow as tf

    sys.path.append(str(TESTS))
    import birds
    from served_birds import own_answers

    model, images = birds.network(), birds.PIXELS.astype("float32")
    gallery = keras_epos.Gallery(model, threshold=0.9)
    gallery.add(images[:15], ids=range(15), labels=[f"class {row % 4}" for row in range(15)])
    path = keras_epos.export_savedmodel(model, Path(folder) / "birds", gallery=gallery, max_k=25, verify=False)
    own = own_answers(model, gallery, images, K)
    requests = Requests(birds.FILES, images.tolist(), own, tf.saved_model.load(str(path)).signatures)
    has_stubs = importlib.util.find_spec("tensorflow_serving") is not None
    command = [sys.executable, TESTS / "model_server.py", "--model_name=birds", f"--model_base_path={path.parent}"]
    command += ["--port=0", "--rest_api_port=0"]
    weights = {"rows": 3, "columns": 3, "corrupt": 1, "malformed": 3, "mutated": 3}
    found = collections.defaultdict(list)

    def run(seconds, seed, found):
        until = time.monotonic() + seconds
        threads = [
            threading.Thread(target=client, args=(rest_port, requests, weights, until, seed + number, found))
            for number in range(args.clients)
        ]
        if has_stubs:
            threads.append(threading.Thread(target=grpc_client, args=(grpc_port, requests, until, seed, found)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            grpc_port, rest_port = map(json.loads(process.stdout.readline()).get, ("port", "rest_api_port"))
            # What is computed first is compiled first, and threads are made.
            run(args.seconds / 4, 1000, collections.defaultdict(list))
            start = resident(process)
            run(args.seconds, 0, found)
            if process.poll() is not None:
                raise SystemExit(f"the server ended: {process.returncode}")
            return found, start, resident(process)
        finally:
            process.stdin.close()


def main():
    parser = side_by_side.argparse.ArgumentParser(
        description=__doc__, formatter_class=side_by_side.argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=120, help="and a quarter of it before, to warm up")
    parser.add_argument("--clients", type=int, default=6, help="of REST, at once; and one of gRPC where its stubs are")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found, start, end = load(args, folder)
    print(f"\n{args.clients} clients in {args.seconds:g} seconds, and milliseconds until the answer\n")
    print(f"{'':<16}" + "".join(f"{name:>10}" for name in ("requests", "wrong", "p50", "p95", "p99")))
    for kind in ("rows", "columns", "grpc", "corrupt", "malformed", "grpc_malformed", "mutated"):
        if found[kind]:
            seconds, is_right, _ = zip(*found[kind], strict=True)
            times = "".join(f"{1000 * one:10.1f}" for one in np.percentile(seconds, [50, 95, 99]))
            print(f"{kind.replace('_', ' '):<16}{len(seconds):10,}{len(seconds) - sum(is_right):10,}{times}")
    answered = sum(code == 200 for _, _, code in found["mutated"])
    print(f"\nMutated bodies: {len(found['mutated'])}, of which {answered} had an answer and the others an error.")
    print(f"Memory of the server: {start:.0f} MB at the start, {end:.0f} MB at the end. It did not end.")
    print(side_by_side.machine())
    wrong = sum(not is_right for kind in found.values() for _, is_right, _ in kind)
    sys.exit(f"{wrong} answers were wrong" if wrong else None)


if __name__ == "__main__":
    main()
