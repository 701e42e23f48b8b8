"""Means over queries, with what the choice of classes does to them: intervals, comparisons, and means of classes."""

import warnings
from typing import NamedTuple

import numpy as np

from keras_epos._checks import integer, number
from keras_epos._rows import check_labels, classes_of
from keras_epos.retrieval._class_draws import FEW_CLASSES, Tally, drawn
from keras_epos.retrieval._rates import interval_of

NONE = np.empty(0, np.int64)


def intervals_of(values, labels, interval, seed):
    """`{name: (low, high)}` for the means of values `(N,)` of queries with these labels, `(N, ...)`; classes are drawn."""
    classes, codes = np.unique(labels, return_inverse=True, axis=0)
    codes = codes.reshape(-1)
    if len(classes) < FEW_CLASSES:
        warnings.warn(
            f"The intervals come from a bootstrap over {len(classes)} classes, and are too narrow with fewer than "
            f"{FEW_CLASSES}.",
            stacklevel=3,
        )
    sums = [np.bincount(codes, value, minlength=len(classes)) for value in (*values.values(), np.ones(len(codes)))]
    *sums, sizes = drawn([Tally(each, NONE, NONE, NONE) for each in sums], len(classes), seed)
    means = (float(value.mean()) for value in values.values())
    return {
        name: interval_of(draws / sizes, mean, interval) for name, draws, mean in zip(values, sums, means, strict=True)
    }
