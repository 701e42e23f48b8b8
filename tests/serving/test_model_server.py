"""A server with TensorFlow Serving's addresses gives each signature's answers, by rows, by columns and by gRPC."""

import base64
import http.client
import json
import re
import shutil
import subprocess
import threading
from pathlib import Path

import birds
import numpy as np
import pytest
from model_server import has_stubs, serving
from served_birds import own_answers

from keras_epos import export_savedmodel

pytestmark = pytest.mark.backend("tensorflow", reason="only TensorFlow writes SavedModels")
needs_stubs = pytest.mark.skipif(
    not has_stubs(), reason="gRPC needs its stubs: pip install --no-deps tensorflow-serving-api"
)
IMAGES = birds.PIXELS.astype("float32")
K = 4
SIGNATURES = ["serving_default", "embed", "embed_bytes", "search", "search_bytes", "match", "match_bytes"]


@pytest.fixture(scope="module")
def server(exported):
    with serving(exported.parent, grpc_port=0 if has_stubs() else None) as ports:
        yield ports


@pytest.fixture(scope="module")
def expected(model, gallery):
    return own_answers(model, gallery, IMAGES, K)


def ask(port, path, body=None):
    """`(HTTP code, answer)`; a body is sent as JSON, and bytes as they are."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        connection.request("GET" if body is None else "POST", path, body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def predict(port, body, name="birds"):
    return ask(port, f"/v1/models/{name}:predict", body)


def b64(contents):
    return {"b64": base64.b64encode(contents).decode()}


def inputs_of(signature, expected):
    """`{input: rows}` of all images."""
    if signature.endswith("_bytes"):
        rows = {"image_bytes": birds.FILES}
    elif signature in ("embed", "serving_default"):
        rows = {"image": IMAGES}
    else:
        rows = {"embedding": expected["embed"]["embedding"]}
    return rows | ({"k": np.full(len(birds.FILES), K, np.int32)} if signature.startswith("search") else {})


def as_json(values):
    return [b64(one) if isinstance(one, bytes) else one.tolist() for one in values]


def check(found, expected):
    assert set(found) == set(expected)
    for name, values in expected.items():
        if np.asarray(values).dtype.kind == "f":
            np.testing.assert_allclose(np.array(found[name], np.float32), values, rtol=0, atol=1e-6)
        else:
            assert found[name] == values, name


@pytest.mark.parametrize("signature", SIGNATURES)
def test_rows_and_columns(server, expected, signature):
    columns = {name: as_json(values) for name, values in inputs_of(signature, expected).items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    code, answer = predict(server[0], {"signature_name": signature, "instances": rows})
    assert code == 200, answer
    found = answer["predictions"]
    names = list(expected[signature])
    # One output alone goes without its name.
    check({name: [row[name] for row in found] if len(names) > 1 else found for name in names}, expected[signature])
    code, answer = predict(server[0], {"signature_name": signature, "inputs": columns})
    assert code == 200, answer
    check(answer["outputs"] if len(names) > 1 else {names[0]: answer["outputs"]}, expected[signature])
    if len(columns) == 1:
        (plain,) = columns.values()
        assert predict(server[0], {"signature_name": signature, "instances": plain})[1]["predictions"] == found
        assert predict(server[0], {"signature_name": signature, "inputs": plain})[1] == answer
    if signature == "search":
        assert predict(server[0], {"signature_name": signature, "inputs": columns | {"k": K}})[1] == answer


def test_a_corrupt_image_leaves_the_others_alone(server, expected):
    files = [birds.FILES[0], birds.FILES[1][:50], b"", birds.FILES[2]]
    rows = [b64(one) for one in files]
    for signature in ("embed_bytes", "match_bytes", "search_bytes"):
        more = {"k": K} if signature == "search_bytes" else {}
        code, answer = predict(server[0], {"signature_name": signature, "inputs": {"image_bytes": rows, **more}})
        assert code == 200, answer
        found = answer["outputs"]
        assert found.pop("valid") == [True, False, False, True]
        good = {name: values for name, values in expected[signature].items() if name != "valid"}
        check(
            {name: [values[0], values[3]] for name, values in found.items()},
            {name: [values[0], values[2]] for name, values in good.items()},
        )
        for name, values in found.items():
            bad = np.array(values[1:3], object).ravel().tolist()
            assert all(one == "" or one is False or one != one for one in bad), (signature, name)


def test_names_and_versions(server):
    port = server[0]
    state = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in ("/v1/models/birds", "/v1/models/birds/versions/1"):
        assert ask(port, path) == (200, {"model_version_status": [state]})
    code, answer = ask(port, "/v1/models/birds/metadata")
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert (code, answer["model_spec"]["version"]) == (200, "1")
    assert set(SIGNATURES) <= set(signatures)
    sides = [one["size"] for one in signatures["embed"]["inputs"]["image"]["tensor_shape"]["dim"]]
    assert sides == ["-1", "8", "8", "3"]
    assert signatures["search"]["inputs"]["k"]["dtype"] == "DT_INT32"
    body = {"instances": IMAGES[:1].tolist()}
    assert ask(port, "/v1/models/birds/versions/1:predict", body)[0] == 200
    for path, sent in (
        ("/v1/models/birds/versions/2:predict", body),
        ("/v1/models/cats:predict", body),
        ("/v1/models/birds/versions/2", None),
        ("/v1/models/cats", None),
        ("/v1/models/cats/metadata", None),
    ):
        code, answer = ask(port, path, sent)
        assert (code, set(answer)) == (404, {"error"}), path
    for path, sent in (("/v1/models/birds:guess", body), ("/v1/models/birds", body), ("/v2/health/live", None)):
        code, answer = ask(port, path, sent)
        assert (code, set(answer)) == (400, {"error"}), path


GOOD = b64(birds.FILES[0])
VECTOR = [1.0] * birds.DIM
MALFORMED = {
    "no body": b"",
    "broken JSON": b'{"instances": [',
    "no object": [1],
    "not UTF-8": b'{"instances": "\xff"}',
    "deep": b'{"instances": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "neither form": {"signature_name": "embed_bytes"},
    "both forms": {"signature_name": "embed_bytes", "instances": [GOOD], "inputs": [GOOD]},
    "no rows": {"signature_name": "embed_bytes", "instances": []},
    "signature": {"signature_name": "paint", "instances": [GOOD]},
    "type of signature": {"signature_name": 3, "instances": [GOOD]},
    "base64": {"signature_name": "embed_bytes", "instances": [{"b64": "!!!!"}]},
    "number as string": {"signature_name": "embed_bytes", "instances": [3]},
    "string as number": {"signature_name": "match", "instances": [["1"] * birds.DIM]},
    "truth as number": {"signature_name": "match", "instances": [[True] * birds.DIM]},
    "too big for float32": {"signature_name": "match", "instances": [[1e39] * birds.DIM]},
    "too big for a double": b'{"signature_name": "match", "instances": [[1e999, 0, 0, 0, 0, 0]]}',
    "rows of two lengths": {"signature_name": "match", "instances": [VECTOR, VECTOR[:3]]},
    "uneven lists": {"signature_name": "match", "inputs": [VECTOR, VECTOR[:3]]},
    "another dim": {"signature_name": "match", "instances": [VECTOR[:3]]},
    "another image size": {"instances": np.zeros((1, 9, 9, 3)).tolist()},
    "name of the input": {"signature_name": "embed_bytes", "instances": [{"file": GOOD}]},
    "missing input": {"signature_name": "search_bytes", "inputs": {"image_bytes": [GOOD]}},
    "plain rows of two inputs": {"signature_name": "search_bytes", "instances": [GOOD]},
    "k of zero": {"signature_name": "search_bytes", "inputs": {"image_bytes": [GOOD], "k": 0}},
    "huge k": {"signature_name": "search_bytes", "inputs": {"image_bytes": [GOOD], "k": 26}},
    "k beyond int32": {"signature_name": "search_bytes", "inputs": {"image_bytes": [GOOD], "k": 2**31}},
    "k of two rows": {"signature_name": "search_bytes", "inputs": {"image_bytes": [GOOD], "k": [1, 2]}},
    "k as float": {"signature_name": "search_bytes", "inputs": {"image_bytes": [GOOD], "k": 2.0}},
}


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in MALFORMED.items()])
def test_malformed_requests(server, body):
    code, answer = predict(server[0], body)
    assert (code, list(answer)) == (400, ["error"])
    assert answer["error"]


def test_a_new_version_takes_over_while_requests_run(tmp_path):
    """Every answer is that of one version, none fails, and a version that does not load changes nothing."""
    folder = tmp_path / "birds"
    models = [birds.network(), birds.network()]
    models[1].embedding.kernel.assign(-models[1].embedding.kernel)
    export_savedmodel(models[0], folder, embed_bytes=False, verify=False)
    own = [np.asarray(model(IMAGES[:2], training=False)) for model in models]
    body, answers, ended = {"instances": IMAGES[:2].tolist()}, [], threading.Event()

    def client(port):
        while not ended.is_set():
            code, answer = predict(port, body)
            found = np.array(answer["predictions"]) if code == 200 else answer
            answers.append([code == 200 and np.allclose(found, one, atol=1e-6) for one in own])

    with serving(folder, seconds=0.02) as (port, _):
        (folder / "2").mkdir()
        threads = [threading.Thread(target=client, args=[port]) for _ in range(2)]
        for thread in threads:
            thread.start()
        while len(answers) < 4:
            ended.wait(0.01)
        assert export_savedmodel(models[1], folder, embed_bytes=False, verify=False).name == "3"
        for _ in range(500):
            ended.wait(0.02)
            if answers[-4:] == [[False, True]] * 4:
                break
        ended.set()
        for thread in threads:
            thread.join()
        assert ask(port, "/v1/models/birds")[1]["model_version_status"][0]["version"] == "3"
        assert ask(port, "/v1/models/birds/versions/1")[0] == 404
    assert answers[:4] == [[True, False]] * 4
    assert answers[-4:] == [[False, True]] * 4
    assert all(map(any, answers))


PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()


def programs(language, having, ports):
    """Programs of the page, sent to the ports of the test server."""
    found = [one for one in re.findall(rf"```{language}\n(.+?)```", PAGE, flags=re.DOTALL) if having in one]
    assert found
    return [one.replace(":8501", f":{ports[0]}").replace(":8500", f":{ports[1]}") for one in found]


@pytest.fixture
def bird(tmp_path, monkeypatch):
    (tmp_path / "bird.jpg").write_bytes(birds.FILES[2])
    (tmp_path / "notes.txt").write_text("no picture")
    monkeypatch.chdir(tmp_path)


def test_the_python_client_of_the_page(server, bird, capsys):
    (program,) = programs("python", "urllib.error", server)
    names = {}
    exec(program, names)
    assert re.match(r"\['2', .+\] \[(1\.0|0\.9999)", capsys.readouterr().out)
    assert names["found"]["labels"][0][0] == "class 2"
    assert names["matched"]["label"] == ["class 2", ""]
    assert names["matched"]["valid"] == [True, False]
    with pytest.raises(ValueError, match="paint"):
        names["ask"]("paint", image_bytes=[])


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_as_on_the_page(server, bird):
    found = [
        json.loads(line)
        for program in programs("bash", "curl", server)
        for line in subprocess.check_output(["bash", "-c", program], text=True).replace("}{", "}\n{").splitlines()
    ]
    assert found[0]["outputs"]["ids"][0][0] == "2"
    assert found[1]["model_version_status"][0]["state"] == "AVAILABLE"
    assert "search_bytes" in found[2]["metadata"]["signature_def"]["signature_def"]


def test_the_export_of_the_page(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (program,) = re.findall(r"```python\n(import keras_epos\n.+?)```", PAGE, flags=re.DOTALL)
    program = program.replace("gallery=gallery", "verify=False")
    exec(program, {"model": model})
    assert f"print(path)  # {capsys.readouterr().out.strip()}" in program


def test_the_page_names_every_signature_and_input(server):
    _, answer = ask(server[0], "/v1/models/birds/metadata")
    table = dict(re.findall(r"^\| `(\w+)`.*? \| (.+) \|$", PAGE, flags=re.MULTILINE))
    for name in SIGNATURES[1:]:
        signature = answer["metadata"]["signature_def"]["signature_def"][name]
        inputs, outputs = table[name].split(" | ")
        assert set(re.findall(r"`([a-z]\w*)`", inputs)) - {"n"} == set(signature["inputs"]), name
        if outputs != "the same":
            assert set(re.findall(r"`(\w+)`", outputs)) == set(signature["outputs"]), name


def test_the_client_of_the_open_inference_protocol():
    (program,) = programs("python", "/v2/models", (0, 0))
    names = {}
    exec(program, names)
    (sent,) = json.loads(names["body_of"](IMAGES[:2]))["inputs"]
    assert (sent["name"], sent["datatype"]) == ("image", "FP32")
    np.testing.assert_array_equal(np.array(sent["data"]).reshape(sent["shape"]), IMAGES[:2])


@needs_stubs
def test_the_grpc_client_of_the_page(server, bird, capsys):
    (program,) = programs("python", "import grpc", server)
    exec(program, {})
    assert capsys.readouterr().out.startswith("[[b'2' ")


@pytest.fixture(scope="module")
def stub(server):
    import grpc
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    with grpc.insecure_channel(f"127.0.0.1:{server[1]}") as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def request_of(signature, inputs, name="birds"):
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = name, signature
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return request


@needs_stubs
@pytest.mark.parametrize("signature", SIGNATURES)
def test_grpc(stub, expected, signature):
    import tensorflow as tf

    request = request_of(signature, inputs_of(signature, expected))
    answer = stub.Predict(request, 60)
    assert (answer.model_spec.version.value, answer.model_spec.signature_name) == (1, signature)
    found = {name: tf.make_ndarray(one) for name, one in answer.outputs.items()}
    check(
        {name: (one.astype(str) if one.dtype == object else one).tolist() for name, one in found.items()},
        expected[signature],
    )
    name = next(iter(expected[signature]))
    request.output_filter.append(name)
    assert list(stub.Predict(request, 60).outputs) == [name]


@needs_stubs
def test_grpc_metadata(stub):
    from tensorflow_serving.apis import get_model_metadata_pb2

    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "birds"
    found = get_model_metadata_pb2.SignatureDefMap()
    stub.GetModelMetadata(request, 60).metadata["signature_def"].Unpack(found)
    assert set(SIGNATURES) <= set(found.signature_def)
    assert set(found.signature_def["search"].inputs) == {"embedding", "k"}


@needs_stubs
@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("NOT_FOUND", ("embed_bytes", {"image_bytes": birds.FILES[:1]}, "cats")),
        ("FAILED_PRECONDITION", ("paint", {"image_bytes": birds.FILES[:1]})),
        ("INVALID_ARGUMENT", ("embed_bytes", {})),
        ("INVALID_ARGUMENT", ("embed_bytes", {"file": birds.FILES[:1]})),
        ("INVALID_ARGUMENT", ("embed_bytes", {"image_bytes": np.zeros((1, 8, 8, 3), np.float32)})),
        ("INVALID_ARGUMENT", ("embed", {"image": birds.PIXELS[:1]})),
        ("INVALID_ARGUMENT", ("embed", {"image": np.zeros((1, 9, 9, 3), np.float32)})),
        ("INVALID_ARGUMENT", ("search", {"embedding": np.eye(2, birds.DIM, dtype=np.float32), "k": np.int32(26)})),
    ],
)
def test_grpc_codes(stub, code, arguments):
    import grpc

    with pytest.raises(grpc.RpcError) as raised:
        stub.Predict(request_of(*arguments), 60)
    assert raised.value.code() is getattr(grpc.StatusCode, code)
    assert raised.value.details()
