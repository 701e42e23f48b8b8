"""Labels and ids as small integers."""

import numpy as np

from keras_epos.retrieval.checks import check_labels, check_same_kind


def codes(*arguments):
    """Labels or ids of one or two sides as int64 codes that are equal exactly where the originals are.

    Args:
        arguments: `(name, values, number of rows)` of each side.

    Returns:
        List of arrays `(rows,)`, one a side.
    """
    values = [check_labels(*argument) for argument in arguments]
    check_same_kind(arguments, values)
    if np.result_type(*values).kind == "f":
        # int64 beside uint64 would meet in float64 and merge large ids.
        values = [value.astype(object) for value in values]
    numbers = np.unique(np.concatenate(values), return_inverse=True)[1].reshape(-1).astype(np.int64)
    return np.split(numbers, np.cumsum([len(value) for value in values])[:-1])
