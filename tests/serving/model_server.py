"""A small server with the addresses, names and codes of TensorFlow Serving, for tests. It is not TensorFlow Serving.

    python tests/serving/model_server.py --model_name=birds --model_base_path=saved_models/birds

It answers to 127.0.0.1 only, from the newest version in the folder, and knows neither Keras nor keras_epos. gRPC needs
the stubs: `pip install --no-deps tensorflow-serving-api`. It prints its ports in JSON and ends with its input.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import sys
import threading
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def has_stubs():
    return all(importlib.util.find_spec(name) for name in ("grpc", "tensorflow_serving"))


@contextlib.contextmanager
def serving(folder, name=None, rest_port=0, grpc_port=None, seconds=0.1):
    """Serve a folder of versions; `(REST port, gRPC port or None)`. Port 0 takes a free one."""
    import rest_door
    from served_versions import Model

    model = Model(name or Path(folder).name, folder, seconds)
    with contextlib.ExitStack() as stack:
        stack.callback(model.close)
        rest = stack.enter_context(rest_door.Server(model, rest_port))
        threading.Thread(target=rest.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        stack.callback(rest.shutdown)
        if grpc_port is not None:
            import grpc_door

            server, grpc_port = grpc_door.serve(model, grpc_port)
            stack.callback(lambda: server.stop(None).wait())
        yield rest.server_address[1], grpc_port


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_base_path", required=True, help="folder of the numbered versions")
    parser.add_argument("--model_name", help="by default that of the folder")
    parser.add_argument("--rest_api_port", type=int, default=8501)
    parser.add_argument("--port", type=int, default=8500, help="of gRPC, if its stubs are installed")
    args = parser.parse_args()
    for package in ("keras", "keras_epos", "tf_keras"):
        sys.modules[package] = None
    port = args.port if has_stubs() else None
    with serving(args.model_base_path, args.model_name, args.rest_api_port, port) as (rest_port, port):
        print(json.dumps({"port": port, "rest_api_port": rest_port}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
