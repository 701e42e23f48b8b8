"""An optimizer that starts slowly and ends slowly."""

import keras

from keras_epos._checks import integer


def warm_cosine_adamw(learning_rate, steps, weight_decay=1e-2):
    """AdamW whose learning rate rises over the first steps and then falls to 2 % along a cosine.

    Args:
        learning_rate: The highest, after `min(100, steps / 10)` steps.
        steps: Training steps in all: epochs times batches.
        weight_decay: Of AdamW.

    Returns:
        `keras.optimizers.AdamW`. Every part of a model needs one of its own.

    Raises:
        ValueError: For less than one step.

    Reference: Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101 (AdamW); 2017,
    https://arxiv.org/abs/1608.03983 (cosine).

    Examples:
        >>> optimizer = keras_epos.training.warm_cosine_adamw(1e-3, steps=1000)
        >>> print(f"{float(optimizer.learning_rate):.0e}")
        0e+00
    """
    integer("steps", steps, 1)
    warmup = min(100, steps // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup, alpha=0.02, warmup_target=learning_rate, warmup_steps=warmup
    )
    return keras.optimizers.AdamW(schedule, weight_decay=weight_decay)
