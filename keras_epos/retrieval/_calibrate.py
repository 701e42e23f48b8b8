"""From wanted errors to a threshold."""

import warnings

import numpy as np

from keras_epos._checks import integer, number
from keras_epos._rows import check_labels, members_of
from keras_epos.retrieval._checks import check_gallery_arguments, check_order
from keras_epos.retrieval._class_draws import FEW_CLASSES
from keras_epos.retrieval._classes import relate, sides
from keras_epos.retrieval._cuts import cuts_of
from keras_epos.retrieval._goals import goal_of
from keras_epos.retrieval._rates import rates_of
from keras_epos.retrieval._searches import search
from keras_epos.retrieval._threshold import Curve, Threshold

# Thresholds of a curve.
CURVE = 200


def calibrate(
    embeddings,
    labels,
    gallery_embeddings=None,
    gallery_labels=None,
    *,
    false_accept_rate=None,
    precision=None,
    unknown_share=0.5,
    per_class=False,
    interval=0.95,
    seed=0,
    ids=None,
    gallery_ids=None,
    block_size=1024,
):
    """The similarity below which a search should answer "unknown", chosen for a wanted rate of errors.

    A query is searched in a gallery, and its nearest reference is accepted if its cosine similarity is at least the
    threshold. A *known* query has a reference of its class in the gallery, an *unknown* one has none: the set of
    classes is open. At a threshold t:

        false-accept rate    = share of unknown queries that are accepted
        identification rate  = share of known queries that are accepted, with their class
        misidentified        = share of known queries that are accepted, with another class
        false-reject rate    = share of known queries that are not accepted

    The first two are the false-alarm rate and the detection-and-identification rate (at rank 1) of Phillips, Grother
    and Micheals. Ties between classes count against you.

    Without a gallery each query is searched among all other rows, twice: as it is, where it is known, and with its
    whole class taken out of the gallery, where it is unknown. So each class plays the unknown one in turn. With a
    gallery the queries whose class is not in it are the unknown ones, and none is made up.

    Pass held-out classes. Classes that the model has trained on are closer together and farther from each other, and a
    threshold from them promises too much.

    **The gallery counts.** An unknown query takes the nearest of all references, so its similarity rises with their
    number. The rates are those of a gallery of the size and kind of this one; they are not the false-accept rate of a
    comparison of two images. In a gallery of m times as many classes of the same kind, the mean rate at the same
    threshold is at most m times as large (union bound). So for ten times as many classes ask for a tenth of the rate,
    or pass a gallery as large as the one in use.

    Args:
        embeddings: Finite floats `(N, D)`, any scale: rows are L2-normalized here.
        labels: Integers or strings `(N,)` or `(N, 1)`.
        gallery_embeddings, gallery_labels: `(G, D)` and `(G,)`, both or neither.
        false_accept_rate: In (0, 1). The smallest threshold is taken at which no larger share of the unknown queries
            is accepted. It takes `10 / false_accept_rate` unknown queries at least.
        precision: In (0, 1), instead of it. The smallest threshold is taken at which at least this share of the
            accepted queries has the right label. It takes `10 / (1 - precision)` accepted queries at least, known and
            unknown together.
        unknown_share: In [0, 1): the share of all queries, in use, that will be unknown. Precision depends on it:
            `(1 - u) right / ((1 - u) (right + misidentified) + u false_accept_rate)`. Rates of error do not.
        per_class: Whether each class of the gallery gets a threshold of its own, from the searches that come to a
            reference of it. Only classes to which ten errors are to be expected do, as above. It makes sense where the
            gallery in use holds the same classes.
        interval: In (0, 1): confidence of the intervals.
        seed: Integer of at least 0, of the bootstrap.
        ids, gallery_ids: As in `evaluate`: rows with the id of the query are left out. Pass ids if several rows stem
            from one photograph.
        block_size: Queries compared at once.

    Returns:
        `Threshold`: the value, its errors, and intervals of both for new classes. Intervals come from a bootstrap over
        classes, for searches of one class resemble each other; without a gallery classes are drawn as queries and as
        references, with a gallery as queries alone. They hold for the mean of many new classes; a figure measured
        on a few new ones scatters further. With fewer than 20 classes they are too narrow, and it warns.

    Raises:
        ValueError: for what `evaluate` turns away, both goals or none, fewer than two classes (of unknown queries,
            with a gallery), no query with a reference of its class, too few queries for the wanted rate (the message
            says how many it takes), and a rate that no threshold reaches, as where classes share copies.

    The ten are a compromise. Ten errors tell a rate within half and twice (the Poisson interval of 10 is 4.8 to 18.4);
    thirty tell it within 30 % with a confidence of 90 % (Doddington's rule of 30); after none it may still be 3 / N
    (rule of three). All of it for independent queries; the interval says what the classes make of it.

    Reference: Phillips, Grother and Micheals 2011, "Evaluation Methods in Face Recognition",
    https://doi.org/10.1007/978-0-85729-932-1_21; Doddington et al. 2000,
    https://doi.org/10.1016/S0167-6393(99)00080-1 (rule of 30); Hanley and Lippman-Hand 1983,
    https://doi.org/10.1001/jama.1983.03330370053031 (rule of three).

    Examples:
        >>> generator = np.random.default_rng(0)
        >>> labels = np.repeat(np.arange(50), 20)
        >>> rows = generator.normal(size=(50, 16))[labels] + 0.5 * generator.normal(size=(1000, 16))
        >>> threshold = keras_epos.calibrate(rows, labels, false_accept_rate=0.05)
        >>> print(f"{threshold.value:.2f}: {threshold.false_accept_rate:.0%} of unknown queries are accepted")
        0.79: 5% of unknown queries are accepted
    """
    goal = goal_of(false_accept_rate, precision, unknown_share)
    number("interval", interval, "(0, 1)", "a confidence")
    integer("seed", seed, 0)
    integer("block_size", block_size, 1)
    check_order(embeddings, labels, gallery_embeddings)
    check_gallery_arguments(gallery_embeddings, gallery_labels, ids, gallery_ids)
    has_gallery = gallery_embeddings is not None
    queries, gallery = sides(embeddings, gallery_embeddings, ids, gallery_ids)
    classes = relate("equal", queries, gallery, labels, gallery_labels)
    _check_unknown(queries, gallery)
    searches = search(classes, block_size, has_gallery)
    _check_known(searches)
    similarity, kind, found = searches.ends()
    cuts = cuts_of(similarity, kind)
    place = goal.choose(cuts)
    thresholds = np.full(max(queries.labels.max(), gallery.labels.max()) + 1, cuts.values[place])
    rates = rates_of(searches, thresholds, has_gallery, unknown_share, interval, seed)
    ends = rates.precision_interval if goal.name == "precision" else rates.false_accept_interval[::-1]
    low, high = (goal.value(cuts, end) for end in ends)
    own = None
    if per_class:
        own = dict(_of_classes(goal, similarity, kind, found))
        thresholds[list(own)] = list(own.values())
        rates = rates_of(searches, thresholds, has_gallery, unknown_share, interval, seed)
        names = _names(gallery, gallery_labels if has_gallery else labels)
        own = {names[code]: value for code, value in own.items()}
    return Threshold(
        value=float(cuts.values[place]),
        interval=(low, high),
        **rates._asdict(),
        curve=_curve(cuts, place),
        per_class=own,
        goal=goal.name,
        wanted=goal.wanted,
        unknown_share=float(unknown_share),
        confidence=float(interval),
        num_queries=len(queries),
        num_unknown=cuts.num_unknown,
        num_classes=len(np.unique(queries.labels)),
    )


def _check_unknown(queries, gallery):
    """Enough classes play the unknown one."""
    of_queries = np.unique(queries.labels)
    if gallery is queries:
        num_unknown, which, hint = len(of_queries), "", ""
    else:
        num_unknown, which = len(np.setdiff1d(of_queries, gallery.labels)), " that are not in the gallery"
        hint = " Without a gallery each class plays the unknown one in turn."
    if num_unknown < 2:
        raise ValueError(
            f"`labels` must hold two classes or more{which}, and {FEW_CLASSES} for a good interval. Received: "
            f"{num_unknown} of {len(of_queries)} classes.{hint}"
        )
    if num_unknown < FEW_CLASSES:
        warnings.warn(
            f"Only {num_unknown} classes play the unknown one. The intervals come from a bootstrap over them, and are "
            f"too narrow with fewer than {FEW_CLASSES}.",
            stacklevel=3,
        )


def _check_known(searches):
    if not searches.is_known.any():
        raise ValueError(
            "`labels` must give at least one query a reference of its class, beside the query itself. Received: "
            f"{len(searches.labels)} queries of {len(np.unique(searches.labels))} classes without any. Pass two "
            "samples or more of a class, or a gallery that holds some of the classes."
        )


def _of_classes(goal, similarity, kind, found):
    """Yields `(code, threshold)` for the classes to which enough searches come."""
    for rows in members_of(found):
        # To cut takes longer than to see that they are too few.
        if len(rows) >= goal.fewest:
            cuts = cuts_of(similarity[rows], kind[rows])
            place = goal.place(cuts)
            if place is not None:
                yield int(found[rows[0]]), float(cuts.values[place])


def _names(gallery, labels):
    """The label of each code as JSON knows it: bytes, as TensorFlow has strings, become strings."""
    labels = check_labels("labels", labels, len(gallery)).tolist()
    return {
        code: label.decode() if isinstance(label, bytes) else label
        for code, label in zip(gallery.labels.tolist(), labels, strict=True)
    }


def _curve(cuts, place):
    """Cuts at evenly spaced powers of the false-accept rate, and the chosen one."""
    counts = np.unique(np.geomspace(1, max(1, cuts.num_unknown), CURVE - 2).round().astype(np.int64))
    # False accepts fall as thresholds rise.
    places = np.searchsorted(-cuts.false_accepts, -np.append(counts, 0))
    places = np.unique(np.append(places[places < len(cuts.values)], place))[::-1]
    return Curve(cuts.values[places], cuts.false_accept_rate[places], cuts.identification_rate[places])
