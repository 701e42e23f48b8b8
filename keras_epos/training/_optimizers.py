"""An optimizer of their own for the parts of a model."""

import keras


def by_part(default, parts):
    """One optimizer for a whole model.

    Args:
        default: Optimizer of everything that is in no part.
        parts: List of `(layer, optimizer)`: the weights of the layer are trained by that optimizer.

    Returns:
        `default` itself, when it trains all parts; else a `keras.optimizers.MultiOptimizer`.

    Raises:
        ValueError: If optimizers must be combined that are combinations already.
    """
    if all(optimizer is default for _, optimizer in parts):
        return default
    for optimizer in (default, *(optimizer for _, optimizer in parts)):
        if isinstance(optimizer, (keras.optimizers.LossScaleOptimizer, keras.optimizers.MultiOptimizer)):
            raise ValueError(
                "`optimizer` must be a plain optimizer where parts of the model have their own (`backbone_optimizer`, "
                f"`loss_optimizer`). Received: a {type(optimizer).__name__}. Losses are scaled without asking under "
                "mixed_float16."
            )
    return keras.optimizers.MultiOptimizer(OptimizerOfPart(default, parts), default.loss_scale_factor)


class OptimizerOfPart:
    """What `keras.optimizers.MultiOptimizer` asks for the optimizer of a variable, found by the layer that owns it.

    Unlike `keras.optimizers.OptimizerMap` it knows the variables themselves, whose paths need not be unique.

    Args:
        default, parts: See `by_part`.
    """

    def __init__(self, default, parts):
        self.default = default
        self.parts = parts

    def __call__(self, variable):
        for layer, optimizer in self.parts:
            if any(variable is weight for weight in layer.variables):
                return optimizer
        return self.default

    def values(self):
        """All optimizers: their order, and so that of their variables in a file, is the same whatever is frozen."""
        return [self.default, *(optimizer for _, optimizer in self.parts)]

    def get_config(self):
        """For reading: which weights belong to which optimizer is known to the model alone."""
        return {"optimizers": [keras.saving.serialize_keras_object(optimizer) for optimizer in self.values()]}


class ScaledMultiOptimizer(keras.optimizers.LossScaleOptimizer):
    """A `MultiOptimizer` under mixed_float16, whose optimizers Keras's callbacks find as they do without the scale."""

    @property
    def optimizers(self):
        return self.inner_optimizer.optimizers


def scaled(optimizer):
    """The optimizer with its loss scaled if it is one for parts; of others Keras takes care itself."""
    if isinstance(optimizer, keras.optimizers.MultiOptimizer):
        return ScaledMultiOptimizer(optimizer, name="loss_scale_optimizer")
    return optimizer
