"""The JSON of TensorFlow Serving's REST requests to arrays, and arrays to the JSON of its answers.

The rules are those of its `json_tensor.cc`: no value is cast in silence, and rows of one request have one shape.
"""

import base64
import binascii
import json

import numpy as np
from serving_status import INVALID_ARGUMENT, UNIMPLEMENTED, Status

INTEGERS = {"int8", "uint8", "int16", "int32", "int64", "uint32", "uint64"}


def parse(body):
    """The object in a request's body, and its form: `"instances"` or `"inputs"`."""
    try:
        # Python reads NaN and Infinity as TensorFlow Serving does, and the first of two equal keys counts there.
        request = json.loads(body.decode(), object_pairs_hook=lambda pairs: dict(reversed(pairs)), parse_float=_number)
    except (ValueError, RecursionError) as error:
        raise Status(INVALID_ARGUMENT, f"JSON Parse error: {error}") from error
    if not isinstance(request, dict):
        raise Status(INVALID_ARGUMENT, "JSON Value: Is not object")
    if not isinstance(request.get("signature_name", ""), str):
        raise Status(INVALID_ARGUMENT, "'signature_name' key must be a string value.")
    forms = [form for form in ("instances", "inputs") if form in request]
    if len(forms) != 1:
        found = "Not formatted correctly expecting only one of" if forms else "Missing"
        raise Status(INVALID_ARGUMENT, f"{found} 'inputs' or 'instances' key")
    return request, forms[0]


def _number(text):
    value = float(text)
    if np.isinf(value):
        raise ValueError(f"Number too big to be stored in double: {text[:80]}")
    return value


def tensors(request, form, dtypes):
    """`{input: array}` of a request.

    Args:
        dtypes: `{input: dtype}` of the signature, dtypes as NumPy's names and `"string"`.
    """
    if form == "inputs":
        return _of_columns(request["inputs"], dtypes)
    return _of_rows(request["instances"], dtypes)


def _of_columns(inputs, dtypes):
    if not isinstance(inputs, dict) or _is_base64(inputs):
        if len(dtypes) > 1:
            raise Status(INVALID_ARGUMENT, "inputs is a plain value/list, but expecting an object")
        inputs = dict.fromkeys(dtypes, inputs)
    for name in dtypes:
        if name not in inputs:
            raise Status(INVALID_ARGUMENT, f"Missing named input: {name} in 'inputs' object.")
    return {name: array(inputs[name], dtype) for name, dtype in dtypes.items()}


def _of_rows(rows, dtypes):
    if not isinstance(rows, list) or not rows:
        raise Status(INVALID_ARGUMENT, "Expecting 'instances' to be a list/array with values")
    are_objects = _is_object(rows[0])
    if not are_objects and len(dtypes) > 1:
        raise Status(INVALID_ARGUMENT, "instances is a plain list, but expecting list of objects")
    found = {name: [] for name in dtypes}
    for number, row in enumerate(rows):
        where = f"Failed to process element: {number} of 'instances' list."
        if _is_object(row) != are_objects:
            raise Status(INVALID_ARGUMENT, f"{where} Expecting objects or values, but not both")
        row = row if are_objects else dict.fromkeys(dtypes, row)
        if set(row) != set(dtypes):
            raise Status(INVALID_ARGUMENT, f"{where} JSON object: keys must be equal to: {','.join(sorted(dtypes))}")
        for name, value in row.items():
            value = array(value, dtypes[name])
            if found[name] and found[name][0].shape != value.shape:
                raise Status(INVALID_ARGUMENT, f"{where} Expecting shape {found[name][0].shape} but got: {value.shape}")
            found[name].append(value)
    return {name: np.stack(values) for name, values in found.items()}


def array(value, dtype):
    """Nested lists as an array. Their shape is that of the first entries, which all others must have."""
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    flat, read = [], _READERS.get(dtype) or _integer(dtype)
    _flatten(value, shape, 0, flat, read)
    return np.array(flat, object if dtype == "string" else dtype).reshape(shape)


def _flatten(value, shape, level, flat, read):
    if not isinstance(value, list):
        if level != len(shape):
            raise Status(INVALID_ARGUMENT, f"JSON Value found at incorrect level: {level + 1}")
        flat.append(read(value))
        return
    if level >= len(shape) or len(value) != shape[level]:
        raise Status(INVALID_ARGUMENT, f"Encountered list at unexpected size: {len(value)} at level: {level}")
    for one in value:
        _flatten(one, shape, level + 1, flat, read)


def _is_base64(value):
    return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


def _is_object(value):
    return isinstance(value, dict) and not _is_base64(value)


def _bytes(value):
    try:
        if isinstance(value, str):
            return value.encode()
        if _is_base64(value):
            # Spaces and missing padding are taken.
            text = "".join(value["b64"].split()).rstrip("=")
            return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Status(INVALID_ARGUMENT, f"Unable to base64 decode: {error}") from error
    raise Status(INVALID_ARGUMENT, f"JSON Value: {_shown(value)} is not of expected type: string")


def _float(value):
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Status(INVALID_ARGUMENT, f"JSON Value: {_shown(value)} is not of expected type: float")
    largest = 2**24 - 1 if isinstance(value, int) else float(np.finfo(np.float32).max)
    if largest < abs(value) < np.inf:
        raise Status(INVALID_ARGUMENT, f"Cannot convert JSON value: {_shown(value)} to float without loss")
    return value


def _bool(value):
    if not isinstance(value, bool):
        raise Status(INVALID_ARGUMENT, f"JSON Value: {_shown(value)} is not of expected type: bool")
    return value


def _integer(dtype):
    if dtype not in INTEGERS:
        raise Status(UNIMPLEMENTED, f"Conversion of JSON Value to type: {dtype}")
    limits = np.iinfo(dtype)

    def read(value):
        if isinstance(value, bool) or not isinstance(value, int) or not limits.min <= value <= limits.max:
            raise Status(INVALID_ARGUMENT, f"JSON Value: {_shown(value)} is not of expected type: {dtype}")
        return value

    return read


_READERS = {"string": _bytes, "float32": _float, "bool": _bool}


def _shown(value):
    return repr(value)[:80]


def answer(outputs, form):
    """The body of an answer: `predictions` for rows, `outputs` for columns; one output alone goes without its name."""
    written = {name: _written(name, value) for name, value in outputs.items()}
    if form == "inputs":
        return {"outputs": written if len(written) > 1 else next(iter(written.values()))}
    if len({len(value) if isinstance(value, list) else None for value in written.values()}) > 1:
        raise Status(INVALID_ARGUMENT, "Tensors have inconsistent batch sizes")
    if len(written) == 1:
        return {"predictions": next(iter(written.values()))}
    return {"predictions": [dict(zip(written, row, strict=True)) for row in zip(*written.values(), strict=True)]}


def _written(name, value):
    if value.dtype == object:

        def text(one):
            return {"b64": base64.b64encode(one).decode()} if name.endswith("_bytes") else one.decode()

        return np.vectorize(text, otypes=[object])(value).tolist() if value.size else value.tolist()
    if value.dtype == np.float32:
        # The shortest digits that are this number in float32, as TensorFlow Serving writes them.
        return value.astype(str).astype(float).tolist()
    return value.tolist()
