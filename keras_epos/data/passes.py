"""Which steps one pass over the batches takes: from pass to pass, from a start, in a shard."""

import dataclasses
import math

from keras_epos._checks import integer


@dataclasses.dataclass(frozen=True)
class Passes:
    """The steps of each pass, as `balanced_batches` describes them.

    Attributes:
        start_step: First step of the first pass, counted in this shard's own batches.
        steps: Batches of a pass, an integer or `math.inf`.
        same_every_pass: Whether all passes take the steps of the first one.
        num_shards, shard_index: How many workers there are, and which one this is.

    Raises:
        ValueError: If one of them is out of range.
    """

    start_step: int
    steps: int | float
    same_every_pass: bool
    num_shards: int
    shard_index: int

    def __post_init__(self):
        integer("num_shards", self.num_shards, least=1)
        integer("shard_index", self.shard_index)
        integer("start_step", self.start_step, least=0)
        if not 0 <= self.shard_index < self.num_shards:
            raise ValueError(
                "`shard_index` must be in [0, num_shards). Received: "
                f"shard_index={self.shard_index}, num_shards={self.num_shards}."
            )
        if not isinstance(self.same_every_pass, bool):
            raise ValueError(
                f"`same_every_pass` must be True or False. Received: same_every_pass={self.same_every_pass!r}."
            )
        if self.endless:
            return
        try:
            integer("steps", self.steps, least=1)
        except ValueError:
            raise ValueError(
                f"`steps` must be None, math.inf or an integer of at least 1. Received: steps={self.steps!r}. "
                "Leave it out for one pass over about as many samples as there are."
            ) from None

    @property
    def endless(self):
        """Whether a pass never ends."""
        return isinstance(self.steps, float) and self.steps == math.inf

    def first(self, number):
        """First step of pass number `number`, counted in this shard's own batches."""
        return self.start_step + (0 if self.endless or self.same_every_pass else number * self.steps)

    def global_step(self, own):
        """Step of the whole stream for a step of this shard's own: a number, an array or a tensor."""
        return own * self.num_shards + self.shard_index
