"""Settings of the single losses that the constructor must turn away, and losses by name."""

import keras
import pytest

from keras_epos import losses
from keras_epos.losses._names import required_arguments


@pytest.mark.parametrize(
    ("loss", "settings", "message"),
    [
        ("triplet", {"margin": 0}, "`margin` must be a positive number or"),
        ("triplet", {"margin": -0.1}, "`margin` must be a positive number or"),
        ("triplet", {"margin": "hard"}, "`margin` must be a positive number or"),
        ("triplet", {"metric": "manhattan"}, "`metric` must be one of"),
        ("easy_positive_triplet", {"metric": "l2"}, "`metric` must be one of"),
        ("contrastive", {"positive_margin": 1.2}, "must be cosine similarities with"),
        ("contrastive", {"positive_margin": 0.2, "negative_margin": 0.3}, "must be cosine similarities with"),
        ("contrastive", {"negative_margin": -1.1}, "must be cosine similarities with"),
        ("multi_similarity", {"alpha": 0}, "`alpha` must be positive"),
        ("multi_similarity", {"beta": -1}, "`beta` must be positive"),
        ("multi_similarity", {"positives_chosen": "never"}, "`positives_chosen` must be one of"),
        ("nt_xent", {"temperature": 0}, "`temperature` must be positive"),
        ("circle", {"margin": 0}, "`margin` must be in"),
        ("circle", {"margin": 1}, "`margin` must be in"),
        ("circle", {"gamma": 0}, "`gamma` must be positive"),
        ("angular", {"alpha": 0}, "`alpha` must be an angle in degrees"),
        ("angular", {"alpha": 61}, "`alpha` must be an angle in degrees"),
        ("sup_con", {"temperature": 0}, "`temperature` must be positive"),
        ("ranked_list", {"margin": 0}, "`alpha` and `margin` must be distances"),
        ("ranked_list", {"margin": 1.3}, "`alpha` and `margin` must be distances"),
        ("ranked_list", {"alpha": 2}, "`alpha` and `margin` must be distances"),
        ("ranked_list", {"sharpness": -1}, "must be at least 0"),
        ("ranked_list", {"positive_sharpness": -1}, "must be at least 0"),
        ("ranked_list", {"balance": 1.1}, "`balance` must be in"),
        ("snr_contrastive", {"positive_margin": -0.1}, "must be distances with"),
        ("snr_contrastive", {"positive_margin": 0.5, "negative_margin": 0.4}, "must be distances with"),
        ("intra_pair_variance", {"positive_epsilon": 1}, "`positive_epsilon` must be in"),
        ("intra_pair_variance", {"negative_epsilon": -0.1}, "`negative_epsilon` must be at least 0"),
        ("generalized_lifted_structure", {"margin": "hard"}, "`margin` must be a number or"),
        ("generalized_lifted_structure", {"metric": "l2"}, "`metric` must be one of"),
        ("binomial_deviance", {"alpha": 0}, "`alpha` must be positive"),
        ("binomial_deviance", {"beta": -1}, "`beta` must be positive"),
        ("binomial_deviance", {"base": 1.1}, "`base` must be a cosine similarity in"),
        ("nca", {"scale": 0}, "`scale` must be positive"),
        ("tuplet_margin", {"margin": -1}, "`margin` must be an angle in degrees"),
        ("tuplet_margin", {"margin": 90}, "`margin` must be an angle in degrees"),
        ("tuplet_margin", {"scale": 0}, "`scale` must be positive"),
        ("easy_positive_hard_negative", {"temperature": 0}, "`temperature` must be positive"),
        ("fast_ap", {"num_bins": 0}, "`num_bins` must be an integer of at least 1"),
        ("fast_ap", {"num_bins": 2.5}, "`num_bins` must be an integer of at least 1"),
        ("smooth_ap", {"temperature": 0}, "`temperature` must be positive"),
        ("pnp", {"variant": "D"}, "`variant` must be one of"),
        ("pnp", {"alpha": 0}, "`alpha` must be positive"),
        ("pnp", {"b": -1}, "`b` must be positive"),
        ("pnp", {"temperature": 0}, "`temperature` must be positive"),
        ("recall_at_k", {"k": 1}, "`k` must be a tuple"),
        ("recall_at_k", {"k": (1, 0)}, "`k` must be an integer of at least 1"),
        ("recall_at_k", {"temperature": 0}, "`temperature` must be positive"),
        ("recall_at_k", {"rank_temperature": 0}, "`rank_temperature` must be positive"),
    ],
)
def test_settings_out_of_range(loss, settings, message):
    with pytest.raises(ValueError, match=message) as error:
        losses.get(loss, **settings)
    assert "Received: " in str(error.value)


def test_by_name():
    for name, loss in losses.LOSSES.items():
        required = dict.fromkeys(required_arguments(loss), 3)
        assert type(losses.get(name, **required)) is loss
    assert losses.get("nt_xent", temperature=0.3).temperature == 0.3
    with pytest.raises(ValueError, match="`loss` must be one of"):
        losses.get("softmax")
    with pytest.raises(ValueError, match="`num_classes` must be given for the loss 'proxy_anchor'"):
        losses.get("proxy_anchor")


def test_a_subclass_of_a_user_is_no_loss_of_the_library():
    names, classes = dict(losses.LOSSES), list(losses.__all__)

    @keras.saving.register_keras_serializable("my_project")
    class TripletLoss(losses.TripletLoss):
        pass

    assert (losses.LOSSES, losses.__all__) == (names, classes)
    assert type(losses.get("triplet")) is losses.TripletLoss
    assert type(losses.get(keras.saving.serialize_keras_object(TripletLoss()))) is TripletLoss


def test_easy_positive_triplet_is_a_name_for_triplet():
    easy, plain = losses.EasyPositiveTripletLoss(name="x"), losses.TripletLoss(positives="easy", name="x")
    assert easy.get_config() == plain.get_config()
