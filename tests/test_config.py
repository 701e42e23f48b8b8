"""Configurations from outside: nothing is made that is not of the kind expected, so nothing is opened."""

import keras
import pytest

from keras_epos import CrossBatchMemory, PairWeightingLoss, TripletLoss, WeightedSum, losses, mining
from keras_epos.compat import tfa

OPENED = []


@keras.saving.register_keras_serializable("tests")
class Opens(keras.layers.Layer):
    @classmethod
    def from_config(cls, config):
        OPENED.append(config)
        return cls()


@keras.saving.register_keras_serializable("tests")
class Sorts:
    """No layer, and no strategy or loss or function either."""

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        OPENED.append(config)
        return cls()


@keras.saving.register_keras_serializable("tests")
class SameTens:
    """A function with settings."""

    def __init__(self, tens=10):
        self.tens = tens

    def __call__(self, labels, reference_labels):
        return labels[:, None] // self.tens == reference_labels[None, :] // self.tens

    def get_config(self):
        return {"tens": self.tens}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def crafted(class_name, module=None):
    registered = None if module else f"tests>{class_name}"
    return {"class_name": class_name, "module": module, "registered_name": registered, "config": {"trainable": True}}


CRAFTED = {
    "registered layer": crafted("Opens"),
    "registered class": crafted("Sorts"),
    "layer of Keras": crafted("Dense", "keras.layers"),
    "feature space of Keras": crafted("FeatureSpace", "keras.utils"),
    "no class": {"class_name": None, "config": {"inner": crafted("Opens")}},
    "dictionary of configs": {"inner": crafted("Opens")},
}
TAKERS = {
    "strategy": mining.get,
    "positives": lambda config: TripletLoss.from_config({"positives": config}),
    "same_class": lambda config: TripletLoss.from_config({"same_class": config}),
    "weight_fn": lambda config: PairWeightingLoss.from_config({"weight_fn": config}),
    "memory": lambda config: CrossBatchMemory.from_config({"loss": config, "size": 3}),
    "sum": lambda config: WeightedSum.from_config({"losses": {"a": config}}),
    "loss": losses.get,
    "distance": lambda config: tfa.TripletHardLoss.from_config({"distance_metric": config}),
}


@pytest.mark.parametrize("taker", TAKERS)
def test_what_is_none_of_the_kind_is_refused_before_it_is_made(taker):
    for config in CRAFTED.values():
        with pytest.raises(ValueError, match="must be"):
            TAKERS[taker](config)
    with pytest.raises(ValueError, match="must be"):
        # A strategy is no loss and no function, a loss no strategy.
        TAKERS[taker](
            keras.saving.serialize_keras_object(TripletLoss() if taker in ("strategy", "positives") else mining.Easy())
        )
    assert not OPENED


def test_what_is_of_the_kind_is_made():
    for loss in (
        TripletLoss(positives=mining.Easy(2), same_class=SameTens(100)),
        CrossBatchMemory(TripletLoss("soft"), 8),
        WeightedSum({"keras": keras.losses.MeanSquaredError(), "function": keras.losses.mean_squared_error}),
        PairWeightingLoss(SameTens()),
    ):
        config = loss.get_config()
        made = type(loss).from_config(config)
        assert made.get_config() == config
        assert isinstance(losses.get(keras.saving.serialize_keras_object(loss)), type(loss))
    assert TripletLoss.from_config(TripletLoss(same_class=SameTens(100)).get_config()).same_class.tens == 100
