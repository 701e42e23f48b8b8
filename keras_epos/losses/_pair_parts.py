"""What a loss over pairs is made from: the batch, what mining found in it, and references beyond it."""

from typing import NamedTuple


class Batch(NamedTuple):
    """What a formula may ask for besides the two selections.

    Attributes:
        labels: `(A,)` integers, or rows `(A, L)`.
        dim: Number of dimensions of the embeddings.
        make_products: Function that returns `products`.
    """

    labels: object
    dim: int
    make_products: object

    @property
    def products(self):
        """`(A, R)` inner products of the anchors with all references, cosines unless the loss takes raw embeddings.

        The anchors are the first `A` references; others come from a memory.
        """
        return self.make_products()


class Found(NamedTuple):
    """What mining found: `keras_epos.mining.Selection`s whose similarities are cosines, without gradient.

    Attributes:
        positives, negatives: `Selection`. `negatives` is `None` where each of all positives has one of its own.
        valid: Booleans `(A, 1)`: whether an anchor has a positive and a negative to choose.
        choose: Function of a `Selection` of one positive to that of its negative, where `negatives` is `None`.
    """

    positives: object
    negatives: object
    valid: object
    choose: object = None


class Memory(NamedTuple):
    """References beyond the batch, `M` of them, without gradient.

    Attributes:
        embeddings: `(M, D)`.
        masks: Function of the positions of anchors `(A,)`, or of `None` for all, to `(positives, negatives, distinct)`:
            booleans `(A, M)`, twice, and booleans `(A, B)`, false where two rows of the batch are the same sample, or
            `None` if none are.
    """

    embeddings: object
    masks: object
