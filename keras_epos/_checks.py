"""What an argument may be. A message says what was expected, what came and, where it helps, what to do."""

import difflib
import math
import numbers

import numpy as np


def integer(name, value, least=None, most=None, hint=""):
    """`value` as an `int`: no boolean, and no float that merely is whole.

    Raises:
        ValueError: If it is none, below `least` or above `most`.
    """
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, (bool, np.bool_))
    if not is_integer or (least is not None and value < least) or (most is not None and value > most):
        expected = "an integer"
        if most is not None:
            expected += f" from {least} to {most}"
        elif least is not None:
            expected += f" of at least {least}"
        raise ValueError(f"`{name}` must be {expected}. Received: {name}={value!r}.{_spaced(hint)}")
    return int(value)


def number(name, value, interval, what="", hint=""):
    """`value` as it came, if it is a number in an interval such as `"(0, inf)"` or `"[0, 1)"`.

    Args:
        what: What the number is, for the message: `"a cosine similarity"`, or without an upper end `"a positive
            distance"`.

    Raises:
        ValueError: If it is none, or outside.
    """
    low, high = (float(bound) for bound in interval[1:-1].split(","))
    try:
        found = math.nan if isinstance(value, (str, bytes, bool, np.bool_)) else float(value)
    except (TypeError, ValueError):
        found = math.nan
    above = found >= low if interval[0] == "[" else found > low
    below = found <= high if interval[-1] == "]" else found < high
    if not (above and below):
        if high == math.inf:
            expected = what or ("positive" if interval[0] == "(" else f"at least {low:g}")
        else:
            expected = f"{what} in {interval}".strip()
        raise ValueError(f"`{name}` must be {expected}. Received: {name}={value!r}.{_spaced(hint)}")
    return value


def one_of(name, value, choices, hint=""):
    """`value` as it came, if it is one of `choices`.

    Raises:
        ValueError: If it is none. The message names the choice that is spelled nearly the same.
    """
    choices = list(choices)
    if not any(value is choice or (isinstance(value, type(choice)) and value == choice) for choice in choices):
        near = difflib.get_close_matches(str(value).lower(), [str(choice) for choice in choices], n=1)
        hint = " ".join(part for part in (f"Did you mean {near[0]!r}?" if near else "", hint) if part)
        raise ValueError(f"`{name}` must be one of {choices}. Received: {name}={value!r}.{_spaced(hint)}")
    return value


def _spaced(hint):
    return f" {hint}" if hint else ""
