"""All measures of collapse at once."""

from keras_epos import retrieval
from keras_epos.collapse.coinciding import coinciding
from keras_epos.collapse.rows import codes_of, unit_rows
from keras_epos.collapse.spectrum import effective_rank, spectral_decay
from keras_epos.collapse.spread import mode_spread, spread


def measure(embeddings, labels, modes=None):
    """What tells a collapsed embedding from one that keeps the looks of its classes.

    Args:
        embeddings: Finite floats `(N, D)`, any scale: rows are L2-normalised here.
        labels: Integers or strings `(N,)`: the classes that were trained.
        modes: Integers or strings `(N,)`: the looks that the classes hide, or `None` where they are not known.

    Returns:
        Dictionary of floats: `"recall@1"` of the classes; `"intra_distance"`, `"inter_distance"` and
        `"intra_inter_ratio"` of `spread`; `"effective_rank"` of all and `"class_effective_rank"` inside classes;
        `"spectral_decay"`; `"coinciding"`. With modes also `"mode_recall@1"`, `"within_mode_distance"` and
        `"cross_mode_distance"`.

    Raises:
        ValueError: as the single measures do.

    Examples:
        >>> values = keras_epos.collapse.measure(embeddings, labels)
        >>> "intra_inter_ratio" in values
        True
    """
    values = {
        **_recall("recall@1", embeddings, labels),
        **spread(embeddings, labels),
        "effective_rank": effective_rank(embeddings),
        "class_effective_rank": effective_rank(embeddings, labels),
        "spectral_decay": spectral_decay(embeddings),
        "coinciding": coinciding(embeddings, labels),
    }
    if modes is not None:
        values |= {**_recall("mode_recall@1", embeddings, modes), **mode_spread(embeddings, labels, modes)}
    return values


def mode_nmi(embeddings, modes, seed=0):
    """How well k-means finds the hidden modes: normalised mutual information, arithmetic mean.

    Args:
        embeddings: Finite floats `(N, D)`, any scale: rows are L2-normalised here.
        modes: Integers or strings `(N,)`. There are as many clusters as modes.
        seed: Integer of the starts; the best of four counts.

    Returns:
        Float from 0 (clusters say nothing about modes) to 1.

    Raises:
        ImportError: if scikit-learn is missing.
        ValueError: for shapes that do not fit or embeddings that are not finite.

    Examples:
        >>> print(f"{keras_epos.collapse.mode_nmi(np.eye(2)[[0, 0, 1, 1]], np.array([0, 0, 1, 1])):.1f}")
        1.0
    """
    try:
        from sklearn.cluster import KMeans
        from sklearn.metrics import normalized_mutual_info_score
    except ImportError as error:
        raise ImportError("`mode_nmi` needs scikit-learn: `pip install scikit-learn`.") from error
    rows, modes = unit_rows(embeddings), codes_of("modes", modes, embeddings)
    clusters = KMeans(int(modes.max()) + 1, n_init=4, random_state=seed).fit_predict(rows)
    return float(normalized_mutual_info_score(modes, clusters))


def _recall(name, embeddings, labels):
    return {name: retrieval.evaluate(embeddings, labels, k=(1,), metrics="recall")["recall@1"]}
