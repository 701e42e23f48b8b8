"""Mining by square tiles of a large batch: each cosine is computed once, and serves both of its samples."""

from keras import ops

from keras_epos._pairs import LOWEST, products
from keras_epos.losses._pair_parts import Found
from keras_epos.losses._strips import one_by_one
from keras_epos.mining import Selection
from keras_epos.mining._strategy import first_at

# Rows of a tile. Positives are few and lie together; what is larger than a cache is slower for negatives.
POSITIVES_TILE = 128
NEGATIVES_TILE = 512


def found_by_tiles(labels, rows, positives, negatives):
    """The positive and the negative of every row, as strategies choose them, without a matrix of all pairs.

    Rows are sorted by label, so that positives lie near the diagonal and only these tiles are searched for them; for
    negatives it is all tiles of one side of the diagonal. Carries no gradient. Of candidates that are equal the first
    one by label is taken.

    Args:
        labels: Integers `(B,)`, which are positives of each other where they are equal; `B` is known.
        rows: Unit rows `(B, D)`, without gradient.
        positives, negatives: Strategies with a preference and one choice.

    Returns:
        `Found`.
    """
    order = ops.argsort(labels)
    labels, rows = ops.take(labels, order), ops.take(rows, order, axis=0)

    near = _search(labels, rows, positives, "positives", POSITIVES_TILE)
    # More is easier, so for negatives it is the cosine negated.
    threshold = ops.where(near.mask, -near.similarity, LOWEST) if negatives.relative else None
    far = _search(labels, rows, negatives, "negatives", NEGATIVES_TILE, threshold)
    if negatives.relative:
        far = far._replace(mask=ops.logical_and(far.mask, near.mask))

    same, none = labels[1:] == labels[:-1], ops.zeros((1,), "bool")
    has_positive = ops.logical_or(ops.concatenate([same, none]), ops.concatenate([none, same]))
    valid = ops.logical_and(has_positive, labels[0] != labels[-1])

    place = ops.argsort(order)
    valid = ops.take(valid, place)[:, None]

    def of_batch(chosen):
        # In the order that the batch came in.
        chosen = chosen._replace(indices=ops.take(order, chosen.indices))
        indices, some, cosine = (ops.take(column, place)[:, None] for column in chosen[:3])
        return Selection(indices, ops.logical_and(some, valid), cosine)

    return Found(of_batch(near), of_batch(far), valid)


def _search(labels, rows, strategy, side, tile, threshold=None):
    """What a strategy chooses for each row, of rows sorted by label: a `Selection` of tensors `(B,)`."""
    size, dim = rows.shape
    tile = min(size, tile)
    number = -(-size // tile)
    places = ops.arange(tile, dtype="int32")
    zero = ops.convert_to_tensor(0, "int32")

    def start(tile_place):
        # The last tile may overlap with the one before: what is seen twice changes nothing.
        return ops.minimum(tile_place * tile, size - tile)

    def part(values, place):
        return ops.slice(values, (place,), (tile,))

    def visit(down, right, *found):
        top, left = start(down), start(right)
        cosine = products(*(ops.slice(rows, (place, zero), (tile, dim)) for place in (top, left)))
        excluded = part(labels, top)[:, None] == part(labels, left)[None, :]
        if side == "positives":
            itself = (top + places)[:, None] == (left + places)[None, :]
            excluded = ops.logical_or(ops.logical_not(excluded), itself)
        ease = cosine if side == "positives" else -cosine
        # Along the rows of the tile, and along its columns.
        for axis, own, first, other in ((-1, down, top, left), (0, right, left, top)):
            to_exceed = None if threshold is None else ops.expand_dims(part(threshold, first), axis)
            values = ops.where(excluded, LOWEST, strategy.preference(ease, side, to_exceed))
            best = ops.max(values, axis=axis, keepdims=True)
            at = ops.reshape(first_at(values, best, axis), (-1,))
            its_cosine = ops.take(ops.reshape(cosine, (-1,)), at + places * tile if axis else places + at * tile)
            now = ops.reshape(best, (1, -1)), (other + at)[None, :], its_cosine[None, :]
            # Not written in place: every backend and compiler does this quickly.
            is_better = ops.logical_and(ops.arange(number, dtype="int32")[:, None] == own, now[0] > found[0])
            found = [ops.where(is_better, *pair) for pair in zip(now, found, strict=True)]
        return found

    def step(down, right, *found):
        found = visit(down, right, *found)
        following = ops.minimum(right + 1, number - 1)
        goes_on = right + 1 < number
        if side == "positives":
            last_of_tile = ops.take(labels, start(down) + tile - 1)
            goes_on = ops.logical_and(goes_on, last_of_tile >= ops.take(labels, start(following)))
        return ops.where(goes_on, down, down + 1), ops.where(goes_on, right + 1, down + 1), *found

    # The largest preference so far, where it was found, and the cosine there.
    none = [ops.full((number, tile), *of) for of in ((LOWEST, rows.dtype), (0, "int32"), (0, rows.dtype))]
    _, _, *found = one_by_one(lambda down, *_: down < number, step, (zero, zero, *none))
    # Rows of the last tile that the one before has too are complete in both.
    last = number * tile - size
    largest, indices, cosine = (
        ops.concatenate([ops.reshape(column[:-1], (-1,)), column[-1, last:]]) for column in found
    )
    return Selection(indices, largest > LOWEST, cosine)
