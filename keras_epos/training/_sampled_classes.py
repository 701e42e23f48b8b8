"""A training step of losses that sample their classes: what is drawn comes before the step, and goes back after it."""

import keras

from keras_epos.losses import _replicas as replicas
from keras_epos.training._replica_step import plain_optimizers

# What they do to a number depends on it, its gradient and its moments alone, so rows can be trained by themselves.
BY_ENTRY = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam", "Lion")


class SampledClasses:
    """What is sampled by the losses of a model, with the moments of all classes, which are variables of the optimizer.

    Args:
        losses: Pairs of output and loss.
        optimizer: The model's, built.

    Raises:
        ValueError: If the optimizer cannot train rows by themselves.
    """

    def __init__(self, losses, optimizer):
        self.losses = losses
        self.moments = [_moments(loss.drawn, optimizer) for _, loss in losses]

    def train_step(self, model, step, *arguments):
        """As `step(*arguments)`, which are those of the backend's `train_step`."""
        _, targets, _ = keras.utils.unpack_x_y_sample_weight(arguments[-1])
        targets = model.labels_by_output(targets)
        if keras.backend.backend() != "jax":
            self._bring(targets)
            logs = step(*arguments)
            self._put_back()
            return logs
        state, data = arguments
        state = _changed(model, state, lambda: self._bring(targets))
        logs, state = step(state, data)
        return logs, _changed(model, state, self._put_back)

    def _bring(self, targets):
        for (output, loss), moments in zip(self.losses, self.moments, strict=True):
            labels, replica = targets[output], replicas.current()
            loss.draw(labels if replica is None else replica.gathered(labels))
            loss.drawn.bring(moments)

    def _put_back(self):
        for (_, loss), moments in zip(self.losses, self.moments, strict=True):
            loss.drawn.put_back(moments)


def refuse_what_mixes_rows(optimizer):
    """Refuse an optimizer that cannot train the rows of a few classes as if they were all.

    Which one of several trains them is known once they are built.

    Raises:
        ValueError: Before anything is trained.
    """
    if len(optimizers := plain_optimizers(optimizer)) > 1:
        return
    optimizer = optimizers[0]
    kinds = tuple(getattr(keras.optimizers, name) for name in BY_ENTRY)
    received = type(optimizer).__name__
    if not isinstance(optimizer, kinds):
        raise ValueError(
            f"`loss_optimizer` must be one of {', '.join(BY_ENTRY)} where a loss has `sampled`, as these train each "
            f"number by itself. Received: {received}."
        )
    if optimizer.use_ema or optimizer.gradient_accumulation_steps:
        raise ValueError(
            "`loss_optimizer` must have neither use_ema nor gradient_accumulation_steps where a loss has `sampled`, as "
            f"each step trains other classes. Received: a {received} with use_ema={optimizer.use_ema}, "
            f"gradient_accumulation_steps={optimizer.gradient_accumulation_steps}. For larger batches use "
            "`compile(micro_batch=)`."
        )


def _moments(drawn, optimizer):
    """List of `(table, rows)`, moments of all proxies and of the drawn ones; none if these are not trained."""
    for one in plain_optimizers(optimizer):
        place = next((place for place, weight in enumerate(one._trainable_variables) if weight is drawn.rows), None)
        if place is not None:
            refuse_what_mixes_rows(one)
            return [(_table(one, drawn, rows), rows) for rows in _moments_of(one, place)]
    return []


def _moments_of(optimizer, place):
    """The variables that an optimizer keeps for the trained variable of that place."""
    own, shapes = {id(variable) for variable in optimizer.variables}, _shapes(optimizer._trainable_variables)

    def are_moments(one):
        # The steps and the learning rate stand in a list, too, which may be as long.
        return len(one) == len(shapes) and all(id(variable) in own for variable in one) and _shapes(one) == shapes

    return [one[place] for one in vars(optimizer).values() if isinstance(one, list) and are_moments(one)]


def _shapes(variables):
    return [tuple(variable.shape) for variable in variables]


def _table(optimizer, drawn, rows):
    """A moment of all proxies, which starts as that of a few does."""
    start = float(keras.ops.convert_to_numpy(rows[0, 0]))
    name = rows.name.removeprefix(f"{drawn.rows.path.replace('/', '_')}_")
    # A constant would be made of ones first, in twice the memory.
    initializer = keras.initializers.Constant(start) if start else "zeros"
    return optimizer.add_variable_from_reference(drawn.table, name=name, initializer=initializer)


def _changed(model, state, function):
    """A training state of JAX after `function()`, which assigns to variables."""
    lists = model.trainable_variables, model.non_trainable_variables, model.optimizer.variables
    mapping = [
        pair for variables, values in zip(lists, state, strict=False) for pair in zip(variables, values, strict=True)
    ]
    with keras.StatelessScope(mapping) as scope:
        function()
    return *([scope.get_current_value(variable) for variable in variables] for variables in lists), state[-1]
