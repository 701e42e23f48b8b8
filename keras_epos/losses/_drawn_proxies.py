"""The few classes that a training step looks at, and a copy of their proxies which it learns."""

from typing import NamedTuple

import keras
from keras import ops

from keras_epos.losses._class_draw import draw_classes

# A step has room for the classes of a batch of so many samples, however few classes it is to draw.
ROOM = 1024


class Seen(NamedTuple):
    """What a call compares its samples with.

    Attributes:
        proxies: Variable `(N * centers, D)`.
        classes: Integers `(N,)`, the class of each `centers` rows.
        number: How many of the classes count.
        counts: Booleans `(N,)`, which ones, or `None` for all.
        are_drawn: Whether there are other classes.
    """

    proxies: object
    classes: object
    number: object
    counts: object = None
    are_drawn: bool = False


class DrawnProxies:
    """Rows of a table that each training step brings into a variable of their own, and puts back.

    The optimizer trains that variable as any other. So gradients, moments and all work on them are of the size of what
    is drawn, whatever the backend, the optimizer, or the number of classes.

    Args:
        layer: Layer that holds the variables.
        table: Variable `(num_classes * centers, D)` that is not trained.
        num_classes, centers: What is in it.
        number: Classes that a step draws.
    """

    def __init__(self, layer, table, num_classes, centers, number):
        self.table, self.num_classes, self.centers, self.number = table, num_classes, centers, number
        self.room = max(number, min(num_classes, ROOM))

        def state(name, shape, initializer):
            return layer.add_weight(shape=shape, dtype="int32", initializer=initializer, trainable=False, name=name)

        self.rows = layer.add_weight(
            shape=(self.room * centers, table.shape[1]), initializer="zeros", name="drawn_proxies"
        )
        # No class, so that a step which draws none finds none.
        self._classes = state("drawn_classes", (self.room,), keras.initializers.Constant(-1))
        self._of_batch = state("classes_of_batch", (), "zeros")

    @property
    def seen(self):
        """`Seen` of the classes that were drawn last."""
        classes = ops.convert_to_tensor(self._classes)
        if self.room == self.number:
            return Seen(self.rows, classes, self.number, None, True)
        number = ops.maximum(ops.convert_to_tensor(self._of_batch), self.number)
        counts = ops.arange(self.room, dtype="int32") < number
        return Seen(self.rows, classes, ops.cast(number, self.rows.dtype), counts, True)

    def draw(self, labels, ignore_label, seed):
        """Choose the classes of a step, those of the batch and others; returns how many the batch has."""
        classes, of_batch = draw_classes(labels, self.num_classes, self.room, ignore_label, seed)
        self._classes.assign(classes)
        self._of_batch.assign(of_batch)
        return of_batch

    def bring(self, moments=()):
        """Copy what was drawn to where it is trained.

        Args:
            moments: List of `(table, rows)`: variables with moments of all proxies, and of the drawn ones.
        """
        places = self._places()
        for table, rows in ((self.table, self.rows), *moments):
            rows.assign(read_rows(table, places))

    def put_back(self, moments=()):
        """Copy what was trained to where it came from; what a step had room for and did not look at stays as it was."""
        places, counts = self._places(), self.seen.counts
        for table, rows in ((self.table, self.rows), *moments):
            values = ops.convert_to_tensor(rows)
            if counts is not None:
                values = ops.where(ops.repeat(counts, self.centers)[:, None], values, read_rows(table, places))
            write_rows(table, places, values)

    def _places(self):
        classes = ops.convert_to_tensor(self._classes)
        places = classes[:, None] * self.centers + ops.arange(self.centers, dtype="int32")
        return ops.reshape(places, (-1,))


def read_rows(variable, places):
    """Rows of a variable, without a copy of all."""
    if keras.backend.backend() != "tensorflow":
        return ops.take(variable, places, axis=0)
    import tensorflow as tf

    # Once its rows were written a variable is copied for every other kind of reading.
    return tf.raw_ops.ResourceGather(resource=variable.value.handle, indices=places, dtype=variable.dtype)


def write_rows(variable, places, values):
    """Write rows of a variable where they are, all `places` different."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.raw_ops.ResourceScatterUpdate(resource=variable.value.handle, indices=places, updates=values)
    elif keras.backend.backend() == "torch":
        variable.value.data.index_copy_(0, places.long(), values.detach())
    else:
        # In a compiled step the new variable takes the place of the old one.
        variable.assign(variable.value.at[places].set(values, unique_indices=True))
