"""Multi-similarity loss."""

import numpy as np

from keras_epos.reference.pairs import candidates, cosine
from keras_epos.reference.strategies import everything, negatives_of
from keras_epos.reference.terms import empty_terms


def multi_similarity(
    labels,
    embeddings,
    alpha=2.0,
    beta=40.0,
    base=0.5,
    epsilon=0.1,
    positives_chosen="instead_of_mining",
    positives=everything,
    negatives=everything,
    ignore_label=None,
):
    """Wang et al. 2019; an anchor is active when the mining step leaves it any pair.

    `log(1 + sum_p exp(-alpha (S_ap - base))) / alpha + log(1 + sum_n exp(beta (S_an - base))) / beta` over what is
    left of `S_ap < max_n S_an + epsilon` and `S_an > min_p S_ap - epsilon`.
    """
    terms, similarity = empty_terms(len(labels)), cosine(embeddings)
    for a in range(len(labels)):
        same, other = candidates(labels, a, ignore_label)
        if not same:
            continue
        s = similarity[a]
        if epsilon is None:
            pulled = positives(s, same)
        else:
            not_easy = [p for p in same if s[p] < max(s[n] for n in other) + epsilon]
            order = "after_mining" if positives is everything else positives_chosen
            if order == "before_mining":
                known = positives(s, same)
                pulled = [p for p in known if p in not_easy]
            elif order == "instead_of_mining":
                known, pulled = same, positives(s, same)
            else:
                known, pulled = same, positives(s, not_easy)
            other = [n for n in other if s[n] > min(s[p] for p in known) - epsilon]
        pushed = negatives_of(similarity, a, pulled, other, negatives)
        terms.valid[a] = 1
        terms.active[a] = bool(pulled or pushed)
        for chosen, sharpness in ((pulled, -alpha), (pushed, beta)):
            z = {j: np.exp(sharpness * (s[j] - base)) for j in chosen}
            terms.total[a] += np.log1p(sum(z.values())) / abs(sharpness)
            for j in chosen:
                terms.weights[a, j] = np.sign(sharpness) * z[j] / (1 + sum(z.values()))
    return terms
