"""The strategies, and the loops over anchors that apply them.

Ease is S for positives and -S for negatives, so that more is easier.
"""

from functools import partial

import numpy as np

from keras_epos.reference._terms import hinge


def everything(ease, candidates):
    return list(candidates)


def easy(ease, candidates, k=1, copies_above=0.9999, copies="last"):
    """The `k` of most ease; what lies above `copies_above` only when nothing else is left, or never (`"drop"`)."""
    is_copy = {j: copies_above < 1 and ease[j] > copies_above for j in candidates}
    if copies == "drop":
        candidates = [j for j in candidates if not is_copy[j]]
    return sorted(candidates, key=lambda j: (is_copy[j], -ease[j]))[:k]


def hard(ease, candidates, k=1):
    return sorted(candidates, key=lambda j: ease[j])[:k]


def semi_hard(ease, candidates, threshold, fallback="easiest"):
    """The hardest one that is easier than `threshold`, the ease of the selected positive, by more than rounding."""
    easier = [j for j in candidates if hinge(ease[j] - threshold)]
    if easier:
        return hard(ease, easier)
    return {"easiest": partial(easy, copies_above=1), "hardest": hard, "skip": lambda *_: []}[fallback](
        ease, candidates
    )


def distance_probabilities(similarities, dim, cutoff=0.5, upper_cutoff=1.4):
    """Probabilities with which distance-weighted sampling draws each of an anchor's negatives."""
    d = np.sqrt(np.maximum(2 - 2 * np.asarray(similarities, "float64"), 0))
    allowed = d <= (upper_cutoff or 2)
    if not allowed.any():
        allowed = d == d.min()
    # q(2) is 0 or infinite: distances end just before.
    d = np.sqrt(np.clip(np.square(d), cutoff**2, 3.999))
    log_density = (dim - 2) * np.log(d) + (dim - 3) / 2 * np.log(1 - np.square(d) / 4)
    lowest = log_density[allowed].min()
    weight = np.array([np.exp(lowest - q) if ok else 0 for q, ok in zip(log_density, allowed, strict=True)])
    return weight / weight.sum()


def is_relative(strategy):
    """Whether a strategy of negatives looks at the selected positive, one choice for each of them."""
    return getattr(strategy, "func", strategy) is semi_hard


def negatives_for(similarity, anchor, positive, candidates, strategy):
    """Negatives that a strategy chooses for an anchor and one of its positives."""
    ease = -similarity[anchor]
    if is_relative(strategy):
        return strategy(ease, candidates, threshold=ease[positive])
    if getattr(strategy, "func", strategy) is easy:
        strategy = partial(strategy, copies_above=1)
    return strategy(ease, candidates)


def negatives_of(similarity, anchor, positives, candidates, strategy):
    """Negatives of an anchor for losses that do not pair them with positives."""
    if not is_relative(strategy):
        return negatives_for(similarity, anchor, None, candidates, strategy)
    return negatives_for(similarity, anchor, positives[0], candidates, strategy) if positives else []


def candidates(labels, anchor, ignore_label=None, same_class=np.equal):
    """Positives and negatives of an anchor; none of either when one kind is missing.

    `same_class` is a function of two labels, numbers or rows.
    """
    known = [j for j in range(len(labels)) if ignore_label is None or not np.any(labels[j] == ignore_label)]
    positives = [j for j in known if j != anchor and same_class(labels[j], labels[anchor])]
    negatives = [j for j in known if j != anchor and not same_class(labels[j], labels[anchor])]
    return (positives, negatives) if anchor in known and positives and negatives else ([], [])


def anchors(labels, ignore_label=None):
    """Anchors that take part, each with its positives and negatives before any choice: `(a, same, other)`."""
    for a in range(len(labels)):
        same, other = candidates(labels, a, ignore_label)
        if same:
            yield a, same, other


def sides(labels, similarity, positives, negatives, ignore_label=None):
    """Anchors that take part, each with the pairs that the strategies choose: `(a, pulled, pushed)`."""
    for a, same, other in anchors(labels, ignore_label):
        pulled = positives(similarity[a], same)
        yield a, pulled, negatives_of(similarity, a, pulled, other, negatives)


def tuplets(labels, similarity, positives, negatives, ignore_label=None):
    """Chosen positives, each with the negatives that the strategy chooses for it, one at least: `(a, p, chosen)`."""
    for a, same, other in anchors(labels, ignore_label):
        for p in positives(similarity[a], same):
            chosen = negatives_for(similarity, a, p, other, negatives)
            if chosen:
                yield a, p, chosen
