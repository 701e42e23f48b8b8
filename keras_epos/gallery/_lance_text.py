"""What a table of LanceDB is asked in: names of columns, values as JSON, conditions as SQL."""

import json
from urllib.parse import quote


def column(name):
    """The column of a field of the payload. A column's name may hold neither dots nor backticks."""
    return "payload:" + quote(name, safe="").replace(".", "%2E")


def text(value):
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def equal_texts(value):
    """The JSON of all that Python takes for equal: `1`, `1.0` and `True` are."""
    if isinstance(value, (bool, int, float)):
        alike = [value]
        # Integers beyond the range of floats have one form only.
        if abs(value) < 2**1000:
            alike += [float(value)] + [int(value)] * float(value).is_integer()
        if value in (0, 1):
            alike.append(bool(value))
        return {text(one) for one in alike if one == value}
    return {text(value)}


def among(column, texts):
    quoted = ", ".join("'" + text.replace("'", "''") + "'" for text in texts)
    return f"{column} IN ({quoted})"
