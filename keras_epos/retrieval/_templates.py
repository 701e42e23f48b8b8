"""Templates: one embedding for several images of one class."""

import numpy as np

from keras_epos._rows import Rows, classes_of, codes


def template_means(embeddings, templates, media=None):
    """One embedding for each template, a set of images that stands for one person or thing.

        template = normalized sum over its media of the mean unit row of the medium's images

    The images of one medium, as the frames of a video, resemble each other; so they count together as one photograph.

    Args:
        embeddings: Finite floats `(N, D)`, any scale.
        templates: Integers or strings `(N,)`: the template of each image.
        media: Integers or strings `(N,)`: the video or photograph of each image, or `None` if each is one of its own.

    Returns:
        `(rows, names)`: unit rows, float32 `(T, D)`, and the sorted distinct templates `(T,)`. A template whose media
        sum up to nothing is a row of zeros.

    Raises:
        ValueError: for NaN or infinite embeddings, and templates or media that are not one an image.

    Reference: Maze et al. 2018, https://doi.org/10.1109/ICB2018.2018.00033 (templates and media of IJB-C).

    Examples:
        >>> rows = np.array([[1.0, 0], [1.0, 0], [0, 1.0], [0, 1.0]])
        >>> keras_epos.retrieval.template_means(rows, ["a", "a", "a", "b"], media=[0, 0, 1, 2])[0].round(2)
        array([[0.71, 0.71],
               [0.  , 1.  ]], dtype=float32)
    """
    rows = Rows(embeddings)
    names, of_template = classes_of(templates, len(rows), "templates")
    of_medium = np.arange(len(rows))
    if media is not None:
        (of_medium,) = codes(("media", media, len(rows)))
        # A medium of two templates is one of each.
        pairs = of_template * (of_medium.max() + 1) + of_medium
        of_medium = np.unique(pairs, return_inverse=True)[1].reshape(-1)
    num_media = int(of_medium.max()) + 1
    means = rows.sums(of_medium, num_media) / np.bincount(of_medium)[:, None]
    template_of_medium = np.empty(num_media, np.int64)
    template_of_medium[of_medium] = of_template
    sums = np.zeros((len(names), rows.dim))
    np.add.at(sums, template_of_medium, means)
    return Rows(sums).units.astype(np.float32), names
