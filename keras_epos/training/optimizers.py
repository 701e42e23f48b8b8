"""Optimizers for the parts of a model, and learning rates that are a multiple of another optimizer's."""

import keras


def by_part(default, parts):
    """One optimizer for a whole model.

    Args:
        default: Optimizer of everything that is in no part.
        parts: List of `(layer, optimizer, multiplier)`: the weights of the layer are trained by that optimizer, with a
            learning rate so many times as high as its own.

    Returns:
        `default` itself, when it is to train all parts as they are; else a `PartsOptimizer`.

    Raises:
        ValueError: If optimizers must be combined that are combinations already.
    """
    if all(optimizer is default and multiplier == 1 for _, optimizer, multiplier in parts):
        return default
    for optimizer in (default, *(optimizer for _, optimizer, _ in parts)):
        if isinstance(optimizer, (keras.optimizers.LossScaleOptimizer, keras.optimizers.MultiOptimizer)):
            raise ValueError(
                "`optimizer` must be a plain optimizer where parts of the model learn in their own way "
                f"(`backbone_optimizer`, `learning_rate_multiplier`). Received: a {type(optimizer).__name__}. Losses "
                "are scaled without asking under mixed_float16."
            )
    return PartsOptimizer(default, parts)


class PartsOptimizer(keras.optimizers.MultiOptimizer):
    """Trains the parts of a model by optimizers of their own, or by one of them with a multiple of its learning rate.

    A multiplied part has an optimizer like the one it follows, whose learning rate is a multiple of that one's at every
    step: schedules and callbacks act on both. (Scaling gradients would not do: Adam and its like do not notice.)
    `global_clipnorm` is that of a leader's and its followers' gradients together; with gradient accumulation, of each
    by itself.

    Args:
        default, parts: See `by_part`.
    """

    def __init__(self, default, parts, name=None):
        followers = {
            (id(leader), multiplier): follower(leader, multiplier) for _, leader, multiplier in parts if multiplier != 1
        }

        def part_of(variable):
            for layer, leader, multiplier in parts:
                if any(variable is weight for weight in layer.variables):
                    return leader, multiplier
            return default, 1

        def optimizer_of(variable):
            leader, multiplier = part_of(variable)
            return followers.get((id(leader), multiplier), leader)

        super().__init__(optimizer_of, name=name)
        self._leader_of = lambda variable: part_of(variable)[0]
        self._leaders = list({id(leader): leader for leader in (default, *(leader for _, leader, _ in parts))}.values())
        # Followers step first, while the step of their leader, and so its scheduled rate, is still the same.
        self._inner_optimizers = [*followers.values(), *self._leaders]
        self.loss_scale_factor = default.loss_scale_factor

    def build(self, variables):
        super().build(variables)
        self._leader_numbers = [self._leaders.index(self._leader_of(variable)) for variable in variables]
        for optimizer in self._inner_optimizers:
            decayed = [variable for variable in optimizer._trainable_variables if optimizer._use_weight_decay(variable)]
            if optimizer.built and not decayed:
                # Keras's optimizers on PyTorch fail on an empty list of weights to decay.
                optimizer.weight_decay = None

    def apply(self, grads, trainable_variables=None):
        if trainable_variables is not None and not self.built:
            self.build(trainable_variables)
        super().apply(self._clipped_together(grads, trainable_variables), trainable_variables)

    def _clipped_together(self, grads, variables):
        grads = list(grads)
        numbers = [
            self._leader_numbers[self._get_variable_index(one)] for one in variables or self._trainable_variables
        ]
        for number, leader in enumerate(self._leaders):
            if leader.global_clipnorm and not leader.gradient_accumulation_steps:
                led = [place for place, of_leader in enumerate(numbers) if of_leader == number]
                for place, clipped in zip(led, leader._clip_gradients([grads[place] for place in led]), strict=True):
                    grads[place] = clipped
        return grads

    @property
    def optimizers(self):
        """Those whose learning rate may be set, as Keras's callbacks do; the others follow."""
        return list(self._leaders)

    @property
    def learning_rate(self):
        return self._leader().learning_rate

    @learning_rate.setter
    def learning_rate(self, value):
        self._leader().learning_rate = value

    def _leader(self):
        if len(self._leaders) > 1:
            raise AttributeError("Each of `optimizers` has a learning rate of its own. Read or set it there.")
        return self._leaders[0]

    def get_config(self):
        """For reading: which weights belong to which optimizer is known to the model alone."""
        optimizers = [keras.saving.serialize_keras_object(optimizer) for optimizer in self._leaders]
        return {"name": self.name, "optimizers": optimizers}


class ScaledPartsOptimizer(keras.optimizers.LossScaleOptimizer):
    """A `PartsOptimizer` under mixed_float16, whose optimizers Keras's callbacks find as they do without the scale."""

    @property
    def optimizers(self):
        return self.inner_optimizer.optimizers


def scaled(optimizer):
    """The optimizer with its loss scaled if it is one for parts; of others Keras takes care itself."""
    if isinstance(optimizer, PartsOptimizer):
        return ScaledPartsOptimizer(optimizer, name="loss_scale_optimizer")
    return optimizer


def follower(leader, multiplier):
    """An optimizer like `leader`, whose learning rate is at every step `multiplier` times that of `leader`."""
    config = {**leader.get_config(), "learning_rate": lambda: multiplier * leader.learning_rate}
    config["name"] = f"{leader.name}_times_{multiplier:g}".replace(".", "_")
    copy = type(leader).from_config(config)
    # What `leader.exclude_from_weight_decay` has excluded is not in its configuration.
    copy._use_weight_decay = leader._use_weight_decay
    return copy
