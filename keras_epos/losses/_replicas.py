"""The batch of all replicas of a `tf.distribute` strategy, of which each replica holds a part."""

from typing import NamedTuple

import keras
from keras import ops


def current():
    """The `Replica` that this call runs on, or `None` where it is the only one, or none in particular."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return None if context is None or context.num_replicas_in_sync == 1 else Replica(context)


class Replica(NamedTuple):
    """One of several replicas.

    Every replica computes the loss of the whole batch, so all of them have the same pairs, draws, memories and
    statistics, whatever the loss. Next to what a network costs that is little.

    Attributes:
        context: The `tf.distribute.ReplicaContext`.
    """

    context: object

    @property
    def number(self):
        """How many replicas there are."""
        return self.context.num_replicas_in_sync

    def gathered(self, values):
        """The rows of all replicas, `(B, ...)`, from the rows of this one; their gradient goes back to where they lie.

        Replicas may have different numbers of rows, or none. What is no array of rows comes back as it is.
        """
        if values is None:
            return None
        values = ops.convert_to_tensor(values)
        if len(values.shape) == 0:
            return values
        rows = self.context.all_gather(values, axis=0)
        rows.set_shape([None, *values.shape[1:]])
        return rows

    def share(self, value, own_rows):
        """What this replica adds to a loss, whose gradients are summed over the replicas.

        Args:
            value: The loss of the whole batch, a scalar, or a value for each of its anchors, `(B,)`.
            own_rows: The rows of this replica, to know how many they are.

        Returns:
            Of a scalar an equal part; of a value for each anchor those of this replica.
        """
        if len(value.shape) == 0:
            return value / self.number
        import tensorflow as tf

        number = tf.shape(own_rows)[0]
        numbers = self.context.all_gather(number[None], axis=0)
        first = tf.reduce_sum(numbers[: self.context.replica_id_in_sync_group])
        return value[first : first + number]

    def averaged(self, values):
        """The means over all replicas of a list of values."""
        import tensorflow as tf

        return self.context.all_reduce(tf.distribute.ReduceOp.MEAN, [tf.convert_to_tensor(value) for value in values])

    def summed(self, gradients):
        """The sums over all replicas of a list of gradients, of which some may be `None`."""
        import tensorflow as tf

        there = [tf.convert_to_tensor(gradient) for gradient in gradients if gradient is not None]
        sums = iter(self.context.all_reduce(tf.distribute.ReduceOp.SUM, there) if there else ())
        return [None if gradient is None else next(sums) for gradient in gradients]
