"""What a table of LanceDB is asked in: names of columns, values as JSON, conditions as SQL."""

import json
from urllib.parse import quote

import numpy as np


def column(name):
    """The column of a field of the payload. A column's name may hold neither dots nor backticks."""
    return "payload:" + quote(name, safe="").replace(".", "%2E")


def text(value):
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def compared(value):
    """The JSON that a value is compared by. All that Python takes for equal has one, as `1`, `1.0` and `True` have."""
    return text(_plain(value))


def _plain(value):
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    is_whole = isinstance(value, bool) or (isinstance(value, float) and value.is_integer())
    return int(value) if is_whole else value


def among(column, texts):
    quoted = ", ".join("'" + text.replace("'", "''") + "'" for text in texts)
    return f"{column} IN ({quoted})"
