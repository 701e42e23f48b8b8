"""What most fine-tuning does beside its loss: first layers that stay, and a learning rate that rises and falls."""

import keras
import pytest

from keras_epos.training import freeze_first_layers, warm_cosine_adamw


def test_the_first_layers_of_nested_models_stay():
    inner = keras.Sequential([keras.Input((4,)), *(keras.layers.Dense(4, name=f"inner_{n}") for n in range(3))])
    outer = keras.Sequential([keras.Input((4,)), inner, keras.layers.Dense(4, name="last")])
    freeze_first_layers(outer, 0.5)
    assert [layer.trainable for layer in (*inner.layers, outer.layers[-1])] == [False, False, True, True]
    with pytest.raises(ValueError, match=r"`share` must be a share of the layers in \[0, 1\]"):
        freeze_first_layers(outer, 2)


def test_the_learning_rate_rises_for_a_tenth_and_falls_to_two_percent():
    schedule = warm_cosine_adamw(0.1, steps=200, weight_decay=0.3)._learning_rate
    rates = [float(keras.ops.convert_to_numpy(schedule(step))) for step in (0, 10, 20, 110, 200, 300)]
    assert rates == pytest.approx([0, 0.05, 0.1, 0.051, 0.002, 0.002])
    optimizer = warm_cosine_adamw(0.1, steps=5000, weight_decay=0.3)
    assert optimizer.weight_decay == 0.3
    assert float(keras.ops.convert_to_numpy(optimizer._learning_rate(100))) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="`steps` must be"):
        warm_cosine_adamw(0.1, steps=0)
