"""An optimizer of their own for the parts of a model."""

import keras

from keras_epos._checks import number


def by_part(default, parts):
    """One optimizer for a whole model.

    Args:
        default: Optimizer of everything that is in no part.
        parts: List of `(layer, optimizer)`: the weights of the layer, or of what else has `variables`, are trained by
            that optimizer.

    Returns:
        `default` itself, when it trains all parts; else a `keras.optimizers.MultiOptimizer`.

    Raises:
        ValueError: If optimizers must be combined that are combinations already.
    """
    if all(optimizer is default for _, optimizer in parts):
        return default
    for optimizer in (default, *(optimizer for _, optimizer in parts)):
        _refuse_combination(optimizer)
    return keras.optimizers.MultiOptimizer(OptimizerOfPart(default, parts), default.loss_scale_factor)


def _refuse_combination(optimizer):
    if isinstance(optimizer, (keras.optimizers.LossScaleOptimizer, keras.optimizers.MultiOptimizer)):
        raise ValueError(
            "`optimizer` must be a plain optimizer where parts of the model have their own (`backbone_optimizer`, "
            f"`loss_optimizer`, `layer_decay`). Received: a {type(optimizer).__name__}. Losses are scaled without "
            "asking under mixed_float16."
        )


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


def decayed(depth_groups, optimizer, decay):
    """Parts for `by_part`: each group of layers with a copy of the optimizer that learns at `decay**depth` of its rate.

    Args:
        depth_groups: Function that returns a list of `DepthGroup`.
        optimizer: Of the backbone.
        decay: Factor from one depth to the next, or `None` for no parts.

    Raises:
        ValueError: If `decay` is not in (0, 1], there is one depth only, or the optimizer clips by the norm of all
            gradients, which would then be that of each depth.
    """
    if decay is None:
        return []
    number("layer_decay", decay, "(0, 1]", "a factor for each depth")
    _refuse_combination(optimizer)
    groups = depth_groups()
    if len(groups) < 2:
        raise ValueError(
            f"`layer_decay` must be None for a backbone of one depth, without strides and attention or not yet built. "
            f"Received: layer_decay={decay!r}. Give the backbone a lower rate by `backbone_optimizer`."
        )
    if optimizer.global_clipnorm is not None:
        raise ValueError(
            "`backbone_optimizer` must have no `global_clipnorm` with `layer_decay`, as it would be the norm of each "
            f"depth. Received: global_clipnorm={optimizer.global_clipnorm}. Use `clipnorm`, of each weight."
        )
    return [(group, _slower(optimizer, decay**group.depth)) for group in groups]


def _slower(optimizer, factor):
    """A copy of an optimizer that was not used yet, with `factor` times its learning rate."""
    config = optimizer.get_config()
    rate = config["learning_rate"]
    if isinstance(rate, dict):
        config["learning_rate"] = ScaledSchedule(keras.saving.deserialize_keras_object(rate), factor)
    else:
        config["learning_rate"] = rate * factor
    copy = type(optimizer).from_config(config)
    for name, value in vars(optimizer).items():
        if name.startswith("_exclude_from_weight_decay"):  # no part of the configuration
            setattr(copy, name, value)
    return copy


@keras.saving.register_keras_serializable(package="keras_epos")
class ScaledSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule of the learning rate, times a factor."""

    def __init__(self, schedule, factor):
        super().__init__()
        self.schedule = schedule
        self.factor = factor

    def __call__(self, step):
        return self.factor * self.schedule(step)

    def get_config(self):
        return {"schedule": keras.saving.serialize_keras_object(self.schedule), "factor": self.factor}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["schedule"]), config["factor"])


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
