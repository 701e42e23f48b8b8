"""Arguments that are integers, and nothing that merely rounds to one."""

import numpy as np


def checked_integer(name, value, at_least=None):
    """Return `value` as an `int`.

    Raises:
        ValueError: If it is a float, even a whole one, a boolean or anything else, or below `at_least`.
    """
    is_integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_integer or (at_least is not None and value < at_least):
        expected = "an integer" if at_least is None else f"an integer of at least {at_least}"
        raise ValueError(f"`{name}` must be {expected}. Received: {name}={value!r}.")
    return int(value)
