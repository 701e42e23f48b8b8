"""The newest version of a model in a folder, loaded by TensorFlow alone, and replaced while requests run."""

import threading
from pathlib import Path

import numpy as np
import tensorflow as tf
from serving_status import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, Status
from tensorflow.core.protobuf import saved_model_pb2

DEFAULT = "serving_default"


class Version:
    """One loaded SavedModel."""

    def __init__(self, path):
        self.number = int(path.name)
        self.loaded = tf.saved_model.load(str(path))
        model = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
        (graph,) = (graph for graph in model.meta_graphs if "serve" in graph.meta_info_def.tags)
        self.definitions = graph.signature_def

    def dtypes(self, signature, code):
        """`{input: dtype}` of a signature; `code` is the status where there is none."""
        if signature not in self.loaded.signatures:
            raise Status(code, f'Serving signature key "{signature}" not found.')
        inputs = self.definitions[signature].inputs
        return {name: tf.as_dtype(inputs[name].dtype).name for name in sorted(inputs)}

    def predict(self, signature, inputs, output_filter=()):
        """Arrays to arrays, checked for what TensorFlow Serving checks: names and dtypes, and shapes in the graph."""
        dtypes = self.dtypes(signature, FAILED_PRECONDITION)
        if len(inputs) != len(dtypes):
            raise Status(
                INVALID_ARGUMENT,
                f"input size does not match signature: {len(inputs)}!={len(dtypes)} "
                f"len({{{','.join(sorted(inputs))}}}) != len({{{','.join(dtypes)}}}).",
            )
        for name, value in inputs.items():
            if name not in dtypes:
                raise Status(
                    INVALID_ARGUMENT,
                    f"input tensor alias not found in signature: {name}. "
                    f"Inputs expected to be in the set {{{','.join(dtypes)}}}.",
                )
            found = "string" if value.dtype == object else value.dtype.name
            if found != dtypes[name]:
                raise Status(INVALID_ARGUMENT, f"Expects {name} to be {dtypes[name]} but {found} is provided")
        try:
            tensors = {name: tf.constant(value, dtypes[name]) for name, value in inputs.items()}
            outputs = self.loaded.signatures[signature](**tensors)
        except tf.errors.OpError as error:
            raise Status(error.error_code, error.message) from error
        except (TypeError, ValueError) as error:
            # Python's wrapper of a signature notices a wrong shape before the graph does.
            raise Status(INVALID_ARGUMENT, str(error)) from error
        for name in output_filter:
            if name not in outputs:
                raise Status(INVALID_ARGUMENT, f"output tensor alias not found in signature: {name}")
        return {name: np.asarray(outputs[name]) for name in output_filter or sorted(outputs)}


class Model:
    """`NAME` in the addresses: the newest version of a folder.

    Args:
        folder: That of the numbered versions.
        seconds: Between two looks for a new version.
    """

    def __init__(self, name, folder, seconds=0.1):
        self.name, self.folder, self.seconds = name, Path(folder), seconds
        self.version, self.failed = None, {}
        self._closed = threading.Event()
        self.look()
        if self.version is None:
            raise ValueError(f"`folder` must hold a version. Received: folder={folder}. {self.failed}")
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def look(self):
        """Load the newest version if it is new. The one before goes on until then, and where loading fails."""
        numbers = [int(path.name) for path in self.folder.iterdir() if path.name.isdecimal()]
        newest = max((number for number in numbers if number not in self.failed), default=None)
        if newest is None or (self.version is not None and newest <= self.version.number):
            return
        try:
            self.version = Version(self.folder / str(newest))
        except Exception as error:
            self.failed[newest] = str(error)

    def _watch(self):
        while not self._closed.wait(self.seconds):
            self.look()

    def close(self):
        self._closed.set()
        self._thread.join()

    def find(self, name, number=None):
        """The version that a request names.

        Raises:
            Status: NOT_FOUND for other names and versions.
        """
        version = self.version
        if name != self.name:
            raise Status(NOT_FOUND, f"Servable not found for request: Latest({name})")
        if number is not None and number != version.number:
            raise Status(NOT_FOUND, f"Servable not found for request: Specific({name}, {number})")
        return version
