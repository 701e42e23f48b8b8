"""A head that starts from what the backbone knows, instead of from random weights."""

import keras
import numpy as np

from keras_epos._features import pooled_features
from keras_epos._linear_probe import linear_probe
from keras_epos.training._inputs import as_keras_takes


def start_head(model, images, batch_size=32, *, labels=None):
    """Let the dense layer of an `EmbeddingModel` start as the principal directions of its backbone's features.

    The untrained model then retrieves as its backbone's features do: with as many dimensions as features it has exactly
    their cosines, with fewer those of the directions in which the features are longest. Training starts from what the
    backbone knows, and its first gradients do not come through a random projection, which would distort the backbone
    (Kumar et al. 2022, https://arxiv.org/abs/2202.10054). Call it before `fit`.

    With `labels` the layer starts as the linear probe of `keras_epos.FrozenBaseline` instead: features whitened within
    classes, then principal directions. Such a model can retrieve unseen classes far better than the features do,
    without a step of training.

    Args:
        model: An `EmbeddingModel` that is built, with at most as many dimensions as its backbone has features.
        images: Training images as they are embedded later, without augmentation: an array, or batches that end
            (a `tf.data.Dataset`, a `PyDataset`), with or without labels. All their features are held in memory,
            float32 `(N, F)`; some thousand images are enough.
        batch_size: Number of images embedded at a time, for an array.
        labels: The class of each image, integers or strings `(N,)` in the order of the images; `None` looks at no
            classes.

    Raises:
        ValueError: If the model is none of these, the embeddings have more dimensions than the features, there are
            fewer than two images, or a feature is not finite; with labels also if there is not one for each image,
            one class only, or features do not differ within classes.
    """
    if not isinstance(getattr(model, "backbone", None), keras.Layer) or not getattr(model, "built", False):
        raise ValueError(
            f"`model` must be an `EmbeddingModel` that is built. Received: model={model}. Call it on a batch first."
        )
    size, dim = model.embedding.kernel.shape
    if dim > size:
        raise ValueError(
            f"`model` must have at most as many dimensions as its backbone has features. Received: {dim} dimensions, "
            f"{size} features. Choose `embedding_dim` <= {size}, or let the head start at random."
        )
    inputs = {"batch_size": batch_size} if hasattr(images, "shape") else {}
    features = pooled_features(model).predict(as_keras_takes(images), verbose=0, **inputs)
    if len(features) < 2:
        raise ValueError(f"`images` must be two at least. Received: {len(features)}.")
    if not np.isfinite(features).all():
        raise ValueError("`images` must have finite features. Received: NaN or infinity. Look at images and backbone.")
    if labels is not None:
        if np.shape(labels)[:1] != (len(features),):
            raise ValueError(
                f"`labels` must have one entry for each of {len(features)} images. Received: shape {np.shape(labels)}."
            )
        probe = linear_probe(features, labels, dim, "images")
        model.set_head(probe.kernel, probe.bias)
        return
    products = np.zeros((size, size))  # not minus the mean: cosines are taken from the origin
    for start in range(0, len(features), 4096):  # in float64, a part of the rows at a time
        rows = features[start : start + 4096].astype("float64")
        products += rows.T @ rows
    model.set_head(np.linalg.eigh(products)[1][:, ::-1][:, :dim], np.zeros(dim))
