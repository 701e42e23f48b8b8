"""Mining by square tiles of a large batch: each cosine is computed once, and serves both of its samples."""

from keras import ops

from keras_epos._pairs import LOWEST, products
from keras_epos.mining._strategy import first_at

# Rows of a tile. Positives are few and lie together; what is larger than a cache is slower for negatives.
POSITIVES_TILE = 128
NEGATIVES_TILE = 512


def chosen_by_tiles(labels, rows, positives, negatives):
    """The positive and the negative of every row, as strategies choose them, without a matrix of all pairs.

    Rows are sorted by label, so that positives lie near the diagonal and only these tiles are searched for them; for
    negatives it is all tiles of one side of the diagonal. Carries no gradient. Of candidates that are equal the first
    one by label is taken.

    Args:
        labels: Integers `(B,)`, which are positives of each other where they are equal.
        rows: Unit rows `(B, D)`, without gradient.
        positives, negatives: Strategies with a preference and one choice.

    Returns:
        `(positive, negative, valid)`: indices and whether there is a choice, `(B,)` each, twice; and booleans `(B,)`,
        whether there was a positive and a negative to choose.
    """
    order = ops.argsort(labels)
    labels, rows = ops.take(labels, order), ops.take(rows, order, axis=0)

    near, is_near = _search(labels, rows, positives, "positives", POSITIVES_TILE)
    threshold = None
    if negatives.relative:
        # More is easier, so for negatives it is the cosine negated.
        threshold = ops.where(is_near, -ops.sum(rows * ops.take(rows, near, axis=0), axis=-1), LOWEST)
    far, is_far = _search(labels, rows, negatives, "negatives", NEGATIVES_TILE, threshold)
    if negatives.relative:
        is_far = ops.logical_and(is_far, is_near)

    same, none = labels[1:] == labels[:-1], ops.zeros((1,), "bool")
    has_positive = ops.logical_or(ops.concatenate([same, none]), ops.concatenate([none, same]))
    valid = ops.logical_and(has_positive, labels[0] != labels[-1])

    place = ops.argsort(order)
    near, far = ops.take(order, near), ops.take(order, far)
    near, is_near, far, is_far, valid = (ops.take(found, place) for found in (near, is_near, far, is_far, valid))
    return (near, is_near), (far, is_far), valid


def _search(labels, rows, strategy, side, tile, threshold=None):
    """What a strategy chooses for each of the rows, which are sorted by label: indices, and whether there is one."""
    size, dim = ops.shape(rows)
    tile = min(size, tile) if isinstance(size, int) else ops.minimum(size, tile)
    number = -(-size // tile)
    places = ops.arange(tile, dtype="int32")
    zero = ops.convert_to_tensor(0, "int32")

    def start(tile_place):
        # The last tile may overlap with the one before: what is seen twice changes nothing.
        return ops.minimum(tile_place * tile, size - tile)

    def part(values, place):
        return ops.slice(values, (place,), (tile,))

    def visit(down, right, largest, indices):
        top, left = start(down), start(right)
        cosine = products(*(ops.slice(rows, (place, zero), (tile, dim)) for place in (top, left)))
        excluded = part(labels, top)[:, None] == part(labels, left)[None, :]
        if side == "positives":
            itself = (top + places)[:, None] == (left + places)[None, :]
            excluded = ops.logical_or(ops.logical_not(excluded), itself)
        ease = cosine if side == "positives" else -cosine
        # Along the rows of the tile, and along its columns.
        for axis, own, other in ((-1, top, left), (0, left, top)):
            to_exceed = None if threshold is None else ops.expand_dims(part(threshold, own), axis)
            values = ops.where(excluded, LOWEST, strategy.preference(ease, side, to_exceed))
            best = ops.max(values, axis=axis, keepdims=True)
            found = ops.reshape(other + first_at(values, best, axis), (-1,))
            best, before = ops.reshape(best, (-1,)), part(largest, own)
            is_better = best > before
            largest = ops.slice_update(largest, (own,), ops.where(is_better, best, before))
            indices = ops.slice_update(indices, (own,), ops.where(is_better, found, part(indices, own)))
        return largest, indices

    def step(down, right, *found):
        found = visit(down, right, *found)
        following = ops.minimum(right + 1, number - 1)
        goes_on = right + 1 < number
        if side == "positives":
            last_of_tile = ops.take(labels, start(down) + tile - 1)
            goes_on = ops.logical_and(goes_on, last_of_tile >= ops.take(labels, start(following)))
        return ops.where(goes_on, down, down + 1), ops.where(goes_on, right + 1, down + 1), *found

    none = ops.full_like(rows[:, 0], LOWEST), ops.zeros_like(rows[:, 0], dtype="int32")
    _, _, largest, indices = ops.while_loop(lambda down, *_: down < number, step, (zero, zero, *none))
    return indices, largest > LOWEST
