"""Which positives and negatives of an anchor take part in the loss: the strategies.

A strategy maps similarities and a mask to a `Selection`. It carries no gradient and knows no loss. Similarities
are oriented by the caller so that **more means easier**: the similarity itself for positives, its negative for
negatives. So one class serves both sides: the easy positive is the most similar one, the easy negative the
least similar one.
"""

from keras_epos._config import did_you_mean, revived
from keras_epos.mining._all import All
from keras_epos.mining._distance_weighted import DistanceWeighted
from keras_epos.mining._easy import Easy
from keras_epos.mining._hard import Hard
from keras_epos.mining._random import Random
from keras_epos.mining._semi_hard import SemiHard
from keras_epos.mining._strategy import SIDES, Selection, Strategy

__all__ = ["All", "DistanceWeighted", "Easy", "Hard", "Random", "Selection", "SemiHard", "Strategy", "get"]

STRATEGIES = {
    "all": All,
    "easy": Easy,
    "hard": Hard,
    "semi_hard": SemiHard,
    "distance_weighted": DistanceWeighted,
    "random": Random,
}


def get(strategy, argument="strategy"):
    """A strategy from its name, its Keras config or itself.

    Args:
        strategy: Any of these.
        argument: What it is for: `"positives"` or `"negatives"`, which some strategies do not serve, or another name.

    Raises:
        ValueError: If it is none of these.
    """
    strategy = revived(strategy, Strategy)
    if isinstance(strategy, Strategy):
        return strategy
    if isinstance(strategy, str) and strategy in STRATEGIES:
        return STRATEGIES[strategy]()
    names = sorted(name for name, known in STRATEGIES.items() if argument not in SIDES or argument in known.sides)
    raise ValueError(
        f"`{argument}` must be one of {names} or a keras_epos strategy object. "
        f"Received: {argument}={strategy!r}{did_you_mean(strategy, names)}"
    )
