"""The arms of the study: losses with the settings that may be chosen, kinds of positives, and label noise."""

import itertools

import keras_epos

POSITIVES = {
    "all": "all",
    "random": "random",
    "easy": "easy",
    "easy k=3": keras_epos.Easy(k=3),
    "hard": "hard",
}
# Of each loss the settings among which held-out samples choose, once for all positives and once for easy ones.
SETTINGS = {
    "triplet": {"margin": (0.1, 0.2, 0.5)},
    "margin": {"margin": (0.1, 0.2, 0.4), "learn_boundary": ("global",)},
    "multi_similarity": {"base": (0.5, 0.8), "positives_chosen": ("before_mining", "instead_of_mining")},
    "contrastive": {"negative_margin": (0.3, 0.5, 0.7)},
    "nt_xent": {"temperature": (0.05, 0.1, 0.2)},
    "soft_triple": {"scale": (5.0, 10.0, 20.0)},
}
PROXY_RATE = 1e-2  # of soft_triple
LIKE = {"random": "all", "hard": "all", "easy k=3": "easy"}  # whose settings an arm takes that chooses none


def arms(losses):
    for loss in losses:
        yield from ((loss, positives) for positives in (POSITIVES if loss != "soft_triple" else [""]))


def choices(loss, positives):
    """All settings of a loss as dictionaries; what does not matter for the positives is not varied."""
    settings = dict(SETTINGS[loss])
    if positives == "all":
        settings.pop("positives_chosen", None)
    return [dict(zip(settings, values, strict=True)) for values in itertools.product(*settings.values())]


def make(loss, positives, settings, num_classes):
    if loss == "untrained":
        return None
    settings = dict(settings)
    if positives:
        settings["positives"] = POSITIVES[positives]
    else:
        settings["num_classes"] = num_classes
    return keras_epos.losses.get(loss, **settings)


def flipped_in_batches(batches, share, num_classes, seed):
    """Batches in which a share of the labels is wrong, drawn anew whenever a sample is presented."""
    import tensorflow as tf

    def flip(step, batch):
        inputs, labels = batch
        other = tf.random.stateless_uniform(tf.shape(labels), [2 * seed, step], 1, num_classes, labels.dtype)
        is_wrong = tf.random.stateless_uniform(tf.shape(labels), [2 * seed + 1, step]) < share
        return inputs, tf.where(is_wrong, (labels + other) % num_classes, labels)

    return batches.enumerate().map(flip)
