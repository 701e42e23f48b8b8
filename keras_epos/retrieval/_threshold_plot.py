"""A picture of a threshold. Needs matplotlib."""

from keras_epos.retrieval._panels import BLUE, ORANGE, finished, two_panels


def draw(threshold, path):
    """Draw what is found over what is falsely accepted, and the false accepts over the threshold.

    Args:
        threshold: `Threshold`.
        path: File to write, or `None`.

    Returns:
        The figure.

    Raises:
        ImportError: If matplotlib is missing.
    """
    figure, left, right, percent = two_panels()
    thresholds, rates, found = threshold.curve
    # Neither no false accepts, on a logarithmic axis, nor the threshold of -1 that refuses nothing.
    seen = (rates > 0) & (thresholds > -1)
    thresholds, rates, found = thresholds[seen], rates[seen], found[seen]
    # Zero has no place on the axis; it is drawn at its end.
    end = 0.8 * rates.min(initial=1 / threshold.num_unknown)
    rate, *interval = (max(end, share) for share in (threshold.false_accept_rate, *threshold.false_accept_interval))

    left.set(xlim=(end, 1), ylim=(0, 1.02), xscale="log")
    left.set(xlabel="unknown queries accepted", ylabel="known queries found")
    left.plot(rates, found, color=BLUE, linewidth=1.8)
    left.axvspan(*interval, color=ORANGE, alpha=0.15, linewidth=0)
    left.plot(rate, threshold.identification_rate, "o", color=ORANGE, clip_on=False)
    left.set_title(
        f"{100 * threshold.identification_rate:.3g} % found at {100 * threshold.false_accept_rate:.3g} % false accepts",
        fontsize=10,
    )
    left.xaxis.set_major_formatter(percent)
    left.yaxis.set_major_formatter(percent)

    low, high = threshold.interval
    right.set(ylim=(end, 1.1), yscale="log")
    right.set(xlabel="threshold (cosine similarity)", ylabel="unknown queries accepted")
    right.plot(thresholds, rates, color=BLUE, linewidth=1.8)
    right.axvspan(low, high, color=ORANGE, alpha=0.15, linewidth=0)
    name = f"threshold with its interval of {100 * threshold.confidence:g} %"
    right.plot(threshold.value, rate, "o", color=ORANGE, label=name, clip_on=False)
    right.set_title(f"threshold {threshold.value:.3f}, {low:.3f} to {high:.3f}", fontsize=10)
    right.yaxis.set_major_formatter(percent)
    # The curve falls from the upper left.
    right.legend(loc="lower left", frameon=False, fontsize=8)

    return finished(figure, path)
