"""A picture of error rates of pairs. Needs matplotlib."""

import numpy as np

from keras_epos.retrieval._panels import BLUE, GRAY, ORANGE, finished, two_panels


def draw(found, path):
    """Draw the ROC and the DET curve: pairs of the same class accepted and refused over pairs of others accepted.

    Args:
        found: `Verification`.
        path: File to write, or `None`.

    Returns:
        The figure.

    Raises:
        ImportError: If matplotlib is missing.
    """
    figure, left, right, percent = two_panels()
    # From a tenth of the lowest rate on, or from one pair; none has no place on a logarithmic axis.
    low = max(0.1 * found.wanted.min(), 0.8 / found.num_different)
    _, rates, accepted = (part[found.curve.false_accept_rate >= low] for part in found.curve)
    high = min(1, 2 * rates.max()) if len(rates) else 1
    wanted = np.maximum(found.false_accept_rate, low)

    left.set(xlim=(low, high), ylim=(0, 1.02), xscale="log")
    left.set(xlabel="pairs of different classes accepted", ylabel="pairs of the same class accepted")
    left.plot(rates, accepted, color=BLUE, linewidth=1.8)
    if found.intervals is None:
        left.plot(wanted, found.true_accept_rate, "o", color=ORANGE, clip_on=False)
    else:
        errors = np.abs(found.intervals - found.true_accept_rate[:, None]).T
        left.errorbar(wanted, found.true_accept_rate, errors, fmt="o", color=ORANGE, capsize=3, clip_on=False)
    first = found.true_accept_rate[0], found.wanted[0]
    left.set_title(f"{100 * first[0]:.3g} % accepted at {100 * first[1]:.3g} % false accepts", fontsize=10)

    refused = 1 - accepted
    lowest = 0.8 * max(1 / found.num_same, refused[refused > 0].min(initial=1))
    right.set(xlim=(low, high), ylim=(lowest, 1.1), xscale="log", yscale="log")
    right.set(xlabel="pairs of different classes accepted", ylabel="pairs of the same class refused")
    right.plot(rates[refused > 0], refused[refused > 0], color=BLUE, linewidth=1.8)
    diagonal = max(low, lowest), high
    right.plot(diagonal, diagonal, color=GRAY, linewidth=0.8, linestyle="--")
    if found.eer > 0:
        right.plot(found.eer, found.eer, "o", color=ORANGE, clip_on=False)
    right.set_title(f"equal error rate {100 * found.eer:.3g} % at threshold {found.eer_threshold:.3f}", fontsize=10)

    for axes in (left, right):
        axes.xaxis.set_major_formatter(percent)
        axes.yaxis.set_major_formatter(percent)
    return finished(figure, path)
