"""Which rows a search looks at."""

import numpy as np


def check(where):
    if where is not None and not callable(where) and not (isinstance(where, dict) and all(map(_is_name, where))):
        raise ValueError(
            "`where` must be a dictionary {field: value or list of values}, or a function from the payload of a row to "
            f"True or False. Received: where={where!r}."
        )


def chosen(segments, where):
    """Places of the rows that are neither removed nor excluded by `where`, rising, or `None` for all rows."""
    if where is None and all(segment.removed is None for segment in segments):
        return None
    parts, start = [], 0
    for segment in segments:
        rows = segment.kept()
        if where is not None:
            rows = rows[_matching(segment.items, rows, where)]
        parts.append(start + rows)
        start += len(segment)
    return np.concatenate(parts)


def _matching(items, rows, where):
    if items.payload is None:
        return np.full(len(rows), bool(_matches({}, where)))
    return np.fromiter((bool(_matches(items.payload[row], where)) for row in rows), bool, len(rows))


def _matches(payload, where):
    if callable(where):
        return where(payload)
    return all(_is_among(payload.get(name), wanted) for name, wanted in where.items())


def _is_among(value, wanted):
    return value in wanted if isinstance(wanted, (list, tuple, set, frozenset)) else value == wanted


def _is_name(name):
    return isinstance(name, str)
