"""Classes that share samples, as rows of several labels make them: which sample is whose, and none twice in a batch."""

import numpy as np


def members_of(labels):
    """Samples of each class.

    Args:
        labels: Integers `(N,)`, or rows of zeros and ones `(N, L)` whose columns are the classes.

    Returns:
        `(members, sizes)`: sample indices, class after class, and how many of them each class has.
    """
    if labels.ndim == 2:
        classes, members = np.nonzero(labels.T)
        return members, np.bincount(classes, minlength=labels.shape[1])
    _, class_of_sample, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    return np.argsort(class_of_sample.reshape(-1), kind="stable"), sizes


def without_repeats(drawn, sizes, samples_of, keep_copies):
    """A batch in which no sample stands twice, as long as its classes have enough samples together.

    Small classes are served first, since large ones have others to offer. A class whose samples all stand in the batch
    already leaves its place to the next class that has one.

    Args:
        drawn: `(P, K)` sample indices.
        sizes: `(P,)` samples of each class.
        samples_of: Function of a place in `range(P)` that returns all samples of that class, shuffled.
        keep_copies: Whether such a place is filled with a copy instead.

    Returns:
        `(P, K)` sample indices.
    """
    batch, taken, unfilled = drawn.copy(), set(), []
    order = np.argsort(sizes, kind="stable")
    for place in order:
        own, others = set(drawn[place].tolist()), None
        for column, sample in enumerate(drawn[place].tolist()):
            if sample in taken:
                others = iter(samples_of(place).tolist()) if others is None else others
                sample = next((other for other in others if other not in taken and other not in own), None)
            if sample is None:
                unfilled.append((place, column))
            else:
                taken.add(sample)
                batch[place, column] = sample
    if unfilled and not keep_copies:
        left = (sample for place in order for sample in samples_of(place).tolist() if sample not in taken)
        for (place, column), sample in zip(unfilled, dict.fromkeys(left), strict=False):
            batch[place, column] = sample
    return batch
