"""Runs signatures of a SavedModel through TensorFlow's C API: no `import tensorflow`, no Keras, no compiler.

`TF_LoadSessionFromSavedModel` loads with the code that TensorFlow Serving loads with. Signatures are read from the
MetaGraphDef that it returns, by a small reader of the protobuf wire format.
"""

import ctypes
import importlib.util
from pathlib import Path

import numpy as np

FLOAT, INT32, STRING, BOOL = 1, 3, 7, 10
TYPES = {FLOAT: np.float32, INT32: np.int32, BOOL: np.bool_}
# Bytes of a TF_TString.
STRING_SIZE = 24
# Field numbers in tensorflow/core/protobuf/meta_graph.proto.
SIGNATURE_DEF, INPUTS, OUTPUTS, TENSOR_NAME = 5, 1, 2, 1


class Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("length", ctypes.c_size_t), ("deallocator", ctypes.c_void_p)]


class Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


def library():
    folder = Path(importlib.util.find_spec("tensorflow").origin).parent
    for name in ("libtensorflow_framework.so.2", "libtensorflow_cc.so.2"):
        loaded = ctypes.CDLL(str(folder / name), mode=ctypes.RTLD_GLOBAL)
    # Without this ctypes would cut their pointers to 32 bits.
    for function in (
        "TF_NewStatus",
        "TF_NewGraph",
        "TF_NewSessionOptions",
        "TF_LoadSessionFromSavedModel",
        "TF_GraphOperationByName",
        "TF_AllocateTensor",
        "TF_TensorData",
        "TF_StringGetDataPointer",
    ):
        getattr(loaded, function).restype = ctypes.c_void_p
    loaded.TF_StringGetSize.restype = ctypes.c_size_t
    loaded.TF_Message.restype = ctypes.c_char_p
    loaded.TF_Dim.restype = ctypes.c_int64
    return loaded


class SavedModel:
    """A session on a SavedModel; `run` maps inputs to outputs, both arrays by name; bytes are in arrays of objects."""

    def __init__(self, directory):
        self.c = library()
        self.status = ctypes.c_void_p(self.c.TF_NewStatus())
        self.graph = ctypes.c_void_p(self.c.TF_NewGraph())
        meta_graph = Buffer(None, 0, None)
        self.session = ctypes.c_void_p(
            self.c.TF_LoadSessionFromSavedModel(
                ctypes.c_void_p(self.c.TF_NewSessionOptions()),
                None,
                str(directory).encode(),
                (ctypes.c_char_p * 1)(b"serve"),
                1,
                self.graph,
                ctypes.byref(meta_graph),
                self.status,
            )
        )
        self.check()
        self.signatures = signatures(ctypes.string_at(meta_graph.data, meta_graph.length))

    def check(self):
        if self.c.TF_GetCode(self.status):
            raise RuntimeError(self.c.TF_Message(self.status).decode())

    def run(self, signature, **values):
        inputs, outputs = self.signatures[signature]
        results = (ctypes.c_void_p * len(outputs))()
        self.c.TF_SessionRun(
            self.session,
            None,
            (Output * len(values))(*(self.endpoint(inputs[name]) for name in values)),
            (ctypes.c_void_p * len(values))(*map(self.tensor, values.values())),
            len(values),
            (Output * len(outputs))(*map(self.endpoint, outputs.values())),
            results,
            len(outputs),
            None,
            0,
            None,
            self.status,
        )
        self.check()
        return {name: self.array(ctypes.c_void_p(one)) for name, one in zip(outputs, results, strict=True)}

    def endpoint(self, name):
        operation, index = name.split(":")
        return Output(self.c.TF_GraphOperationByName(self.graph, operation.encode()), int(index))

    def tensor(self, value):
        value = np.asarray(value)
        kind = {"f": FLOAT, "i": INT32, "O": STRING}[value.dtype.kind]
        if kind != STRING:
            value = np.ascontiguousarray(value, TYPES[kind]).reshape(value.shape)
        shape = (ctypes.c_int64 * value.ndim)(*value.shape)
        size = STRING_SIZE * value.size if kind == STRING else value.nbytes
        tensor = self.c.TF_AllocateTensor(kind, shape, value.ndim, ctypes.c_size_t(size))
        data = self.c.TF_TensorData(ctypes.c_void_p(tensor))
        if kind != STRING:
            ctypes.memmove(data, value.ctypes.data, value.nbytes)
            return tensor
        for number, one in enumerate(value.flat):
            place = ctypes.c_void_p(data + STRING_SIZE * number)
            self.c.TF_StringInit(place)
            self.c.TF_StringCopy(place, one, ctypes.c_size_t(len(one)))
        return tensor

    def array(self, tensor):
        kind, data = self.c.TF_TensorType(tensor), self.c.TF_TensorData(tensor)
        shape = [self.c.TF_Dim(tensor, axis) for axis in range(self.c.TF_NumDims(tensor))]
        size = int(np.prod(shape))
        if kind != STRING:
            dtype = np.dtype(TYPES[kind])
            return np.frombuffer(ctypes.string_at(data, dtype.itemsize * size), dtype).reshape(shape)
        places = [ctypes.c_void_p(data + STRING_SIZE * number) for number in range(size)]
        found = [
            ctypes.string_at(self.c.TF_StringGetDataPointer(place), self.c.TF_StringGetSize(place)) for place in places
        ]
        return np.array(found, object).reshape(shape)


def signatures(meta_graph):
    """`{signature: ({input: tensor name}, {output: tensor name})}` of a serialized MetaGraphDef."""
    found = {}
    for entry in fields(meta_graph).get(SIGNATURE_DEF, []):
        name, definition = key_and_value(entry)
        parts = fields(definition)
        found[name] = tuple(
            {key: fields(info)[TENSOR_NAME][0].decode() for key, info in map(key_and_value, parts.get(part, []))}
            for part in (INPUTS, OUTPUTS)
        )
    return found


def key_and_value(entry):
    """An entry of a protobuf map."""
    entry = fields(entry)
    return entry[1][0].decode(), entry[2][0]


def fields(message):
    """Length-delimited and varint fields of a protobuf message: `{number: [value, ...]}`."""
    found, at = {}, 0
    while at < len(message):
        tag, at = varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = varint(message, at)
        elif kind == 2:
            size, at = varint(message, at)
            value, at = message[at : at + size], at + size
        else:
            size = {1: 8, 5: 4}[kind]
            value, at = message[at : at + size], at + size
        found.setdefault(tag >> 3, []).append(value)
    return found


def varint(message, at):
    value, shift = 0, 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
