"""Labels of every dtype: exact, or refused with one sentence that says what to do."""

import contextlib

import keras
import numpy as np
import pytest
from loss_cases import ON_JAX, batch, numpy, tensor

from keras_epos import EmbeddingModel, losses
from keras_epos._labels import refuse_cut_labels

LABELS, EMBEDDINGS = batch()


def without_x64():
    """What users of JAX get unless they ask for 64 bits."""
    if not ON_JAX:
        return contextlib.nullcontext()
    import jax

    return jax.enable_x64(False)


def test_labels_that_the_backend_would_cut_are_refused():
    huge = np.array([1, 1, 2**32 + 1, 2**32 + 1])
    rows = tensor(EMBEDDINGS[:4], "float32")
    with without_x64():
        if ON_JAX:
            for labels in (huge, huge.tolist(), -huge, huge.astype("uint64")):
                for use in (refuse_cut_labels, lambda labels: losses.TripletLoss(1.0)(labels, rows)):
                    with pytest.raises(
                        ValueError, match=r"`y_true` must be class labels from .* Received: label -?\d+"
                    ):
                        use(labels)
            with pytest.raises(ValueError, match="`y_true` must be class labels from"):
                losses.TripletLoss(same_class="share_a_label")(np.stack([huge, huge], axis=1), rows)
        else:
            expected = numpy(losses.TripletLoss(1.0)(np.array([1, 1, 2, 2]), rows))
            assert numpy(losses.TripletLoss(1.0)(huge, rows)) == expected > 0
        refuse_cut_labels(np.array([2**31 - 1, -(2**31)]))
        refuse_cut_labels(np.zeros(0, int))
        refuse_cut_labels(np.array(["a", "b"]))
        refuse_cut_labels(np.array([1e12]))
        refuse_cut_labels(np.array([2**32 - 1], "uint32"))


def test_a_label_to_ignore_of_any_size_in_labels_of_any_dtype():
    rows = tensor(EMBEDDINGS[:6], "float32")
    for dtype in ("int8", "uint8", "uint32", "int64", "uint64"):
        highest = np.iinfo(dtype).max if keras.backend.backend() != "torch" or dtype != "uint64" else 2**63 - 1
        labels = np.array([0, 0, 1, 1, highest, highest], dtype)
        without = numpy(losses.TripletLoss(1.0)(labels[:4], rows[:4]))
        everything = numpy(losses.TripletLoss(1.0)(labels, rows))
        for ignored in (highest, -1, 300, 2**70):
            found = numpy(losses.TripletLoss(1.0, ignore_label=ignored)(labels, rows))
            np.testing.assert_allclose(found, without if ignored == highest else everything, rtol=1e-6)
    for wrong in (1.0, "a", True):
        with pytest.raises(ValueError, match="`ignore_label` must be an integer"):
            losses.TripletLoss(ignore_label=wrong)


def test_what_to_do_is_said():
    one_hot = np.eye(12, dtype="float32")
    for labels, rows, message in (
        (EMBEDDINGS, LABELS, "look swapped"),
        (one_hot, EMBEDDINGS, r"numpy\.argmax"),
        (np.array(list("abcdefghijkl")), EMBEDDINGS, r"numpy\.unique"),
        (LABELS * 1.0, EMBEDDINGS, "int64"),
        (LABELS > 1, EMBEDDINGS, "int32"),
        (LABELS, EMBEDDINGS[:, :1], r"no direction.*compat\.tfa\.ContrastiveLoss"),
        (LABELS, np.zeros((12, 2, 2, 3)), "GlobalAveragePooling2D and Dense"),
    ):
        with pytest.raises(ValueError, match=message):
            losses.TripletLoss()(labels, rows)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["triplet", "memory"])
def test_no_backend_warns_of_whole_labels(name):
    loss = losses.EasyPositiveTripletLoss()
    if name == "memory":
        loss = losses.CrossBatchMemory(loss, 16, memory_positives=False)
    model = EmbeddingModel(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]), 3)
    with without_x64():
        model.compile("sgd", loss=loss)
        model.fit(np.eye(8, 4, dtype="float32"), np.arange(8) // 2, batch_size=8, verbose=0)
