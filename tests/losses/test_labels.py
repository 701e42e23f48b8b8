"""Labels of every dtype: exact, or refused with one sentence that says what to do."""

import contextlib

import numpy as np
import pytest
from loss_cases import ON_JAX, batch, numpy, tensor

from keras_epos import losses
from keras_epos.losses.batch import refuse_cut_labels

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
