"""What a threshold is wanted for, and the smallest one that gives it."""

import math

import numpy as np

from keras_epos._checks import number

# Errors that must be expected before a rate counts as known.
FEWEST_ERRORS = 10
# Rounding of a count that was a rate.
ROUNDING = 1e-9


class Goal:
    """A share that is wanted. Subclasses say at which cuts it is reached, and which cuts rest on enough searches.

    Attributes:
        name: The argument of `calibrate`.
        wanted: The share, a float in (0, 1).
        fewest: How many searches the share must be of.
    """

    name = None

    def __init__(self, wanted, share_of_errors):
        self.wanted = float(wanted)
        self.fewest = math.ceil(FEWEST_ERRORS / share_of_errors - ROUNDING)

    def reached(self, cuts, wanted):
        raise NotImplementedError

    def enough(self, cuts):
        raise NotImplementedError

    def place(self, cuts):
        """Place of the smallest threshold that reaches the goal and rests on enough searches, or `None`."""
        return _first(self.reached(cuts, self.wanted) & self.enough(cuts))

    def value(self, cuts, wanted):
        """The smallest threshold that reaches another share, however few searches tell so; 1 if none does."""
        place = _first(self.reached(cuts, wanted))
        return 1.0 if place is None else float(cuts.values[place])


class FalseAcceptRate(Goal):
    """At most this share of the unknown queries is accepted."""

    name = "false_accept_rate"

    def __init__(self, wanted):
        super().__init__(wanted, wanted)

    def reached(self, cuts, wanted):
        return cuts.false_accepts <= wanted * cuts.num_unknown + ROUNDING

    def enough(self, cuts):
        return np.full(len(cuts.values), cuts.num_unknown >= self.fewest)

    def choose(self, cuts):
        """`place`, or a `ValueError` that says why there is none."""
        if cuts.num_unknown < self.fewest:
            raise ValueError(
                f"`false_accept_rate` must be at least {FEWEST_ERRORS / cuts.num_unknown:.3g} for {cuts.num_unknown} "
                f"unknown queries. Received: false_accept_rate={self.wanted:g}. {FEWEST_ERRORS} false accepts must be "
                f"expected: pass {self.fewest} unknown queries or more, of as many classes as you can."
            )
        place = self.place(cuts)
        if place is None:
            raise ValueError(
                f"`false_accept_rate` must be at least {cuts.false_accept_rate[-1]:.3g} for these embeddings. "
                f"Received: false_accept_rate={self.wanted:g}. So many unknown queries are as similar to a reference "
                "of another class as any query is to any. Look for copies under two labels, and for embeddings that "
                "have collapsed."
            )
        return place


class Precision(Goal):
    """At least this share of the accepted queries has the right label."""

    name = "precision"

    def __init__(self, wanted, unknown_share):
        super().__init__(wanted, 1 - wanted)
        self.unknown_share = unknown_share

    def reached(self, cuts, wanted):
        return cuts.precision(self.unknown_share) >= wanted - ROUNDING

    def enough(self, cuts):
        return cuts.accepted >= self.fewest

    def choose(self, cuts):
        """`place`, or a `ValueError` that says why there is none."""
        place = self.place(cuts)
        if place is not None:
            return place
        received = f"Received: precision={self.wanted:g}"
        enough = self.enough(cuts)
        if not enough.any():
            number_of_all = cuts.num_known + cuts.num_unknown
            raise ValueError(
                f"`precision` must be at most {max(0, 1 - FEWEST_ERRORS / number_of_all):.3g} for {cuts.num_known} "
                f"known and {cuts.num_unknown} unknown queries. {received}. {FEWEST_ERRORS} errors must be expected "
                f"among those accepted: pass {self.fewest} queries or more."
            )
        raise ValueError(
            f"`precision` must be at most {cuts.precision(self.unknown_share)[enough].max():.3g} for these "
            f"embeddings. {received}. No threshold that accepts {self.fewest} queries, known and unknown together, "
            "reaches it, and fewer do not tell it. Pass more queries, or ask for less."
        )


def goal_of(false_accept_rate, precision, unknown_share):
    """The goal by the arguments of `calibrate`.

    Raises:
        ValueError: If none or both are given, or a number is out of range.
    """
    number("unknown_share", unknown_share, "[0, 1)", "a share")
    if (false_accept_rate is None) == (precision is None):
        raise ValueError(
            "`false_accept_rate` or `precision` must be given, and only one of them. Received: "
            f"false_accept_rate={false_accept_rate!r}, precision={precision!r}."
        )
    if precision is None:
        return FalseAcceptRate(number("false_accept_rate", false_accept_rate, "(0, 1)", "a share"))
    return Precision(number("precision", precision, "(0, 1)", "a share"), unknown_share)


def _first(is_good):
    places = np.flatnonzero(is_good)
    return int(places[0]) if len(places) else None
