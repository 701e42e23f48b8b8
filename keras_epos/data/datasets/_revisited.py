"""Revisited Oxford and Paris: queries with a box, and which images are easy, hard or junk for each."""

import dataclasses
import pickle

import numpy as np

from keras_epos._checks import one_of
from keras_epos.data.datasets._files import find_root, paths_below, require, require_images

NAMES = ("roxford5k", "rparis6k")
# What each level looks for, and what it counts neither for nor against.
LEVELS = {
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Revisited:
    """Queries, a gallery, and what is right for each query.

    Attributes:
        queries: List of N paths.
        boxes: Left, upper, right and lower border of what each query shows, in pixels, float64 `(N, 4)`. The protocol
            embeds this part of the photograph alone.
        gallery: List of G paths.
        ground_truth: List of N dictionaries: rows of the gallery that are `"easy"`, `"hard"` and `"junk"`, int64.
    """

    queries: list
    boxes: np.ndarray
    gallery: list
    ground_truth: list

    def relevance(self, level):
        """1 for what a query looks for, 0 for what it does not, -1 for what does not count: int8 `(N, G)`.

        Args:
            level: `"easy"`, `"medium"` or `"hard"`, for `evaluate(..., relevance=..., metrics=("map_trapezoid",
                "precision@k"), k=(1, 5, 10))`. Queries without any image of the level are left out of the means.

        Raises:
            ValueError: For another level.
        """
        positives, junk = LEVELS[one_of("level", level, LEVELS)]
        matrix = np.zeros((len(self.queries), len(self.gallery)), np.int8)
        for row, images in zip(matrix, self.ground_truth, strict=True):
            for kind in junk:
                row[images[kind]] = -1
            for kind in positives:
                row[images[kind]] = 1
        return matrix


def revisited(data_dir, name="roxford5k"):
    """Read revisited Oxford or Paris (Radenovic et al. 2018): 70 queries in 4,993 or 6,322 photographs.

    Args:
        data_dir: The folder of the set, or the one that holds it: `gnd_roxford5k.pkl` and `jpg/`.
        name: `"roxford5k"` or `"rparis6k"`.

    Returns:
        `Revisited`.

    Raises:
        FileNotFoundError: With instructions, if the files are not there.
        ValueError: For a file that holds anything but lists, numbers and strings: reading such a file could run
            somebody else's program.
    """
    one_of("name", name, NAMES)
    file = f"gnd_{name}.pkl"
    root = find_root(data_dir, name, file)
    require(name, root, [file, "jpg"], f"Get {file} and the photographs from its authors, these into jpg/.")
    with (root / file).open("rb") as stream:
        found = _Plain(stream, encoding="latin1").load()
    paths = [paths_below(name, root / "jpg", [f"{image}.jpg" for image in found[key]]) for key in ("qimlist", "imlist")]
    require_images(name, root, [*paths[0], *paths[1]])
    kinds = ("easy", "hard", "junk")
    truth = [{kind: np.asarray(query[kind], np.int64).reshape(-1) for kind in kinds} for query in found["gnd"]]
    boxes = np.array([np.asarray(query["bbx"], np.float64) for query in found["gnd"]]).reshape(-1, 4)
    return Revisited(paths[0], boxes, paths[1], truth)


class _Plain(pickle.Unpickler):
    """Reads lists, dictionaries, numbers, strings and NumPy arrays, and nothing that runs."""

    def find_class(self, module, name):
        # The last two are how Python 3 writes bytes for Python 2.
        known = {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"), ("__builtin__", "bytes")}
        known |= {
            (f"numpy.{core}.{part}", function)
            for core in ("core", "_core")
            for part, function in (
                ("multiarray", "_reconstruct"),
                ("multiarray", "scalar"),
                ("numeric", "_frombuffer"),
            )
        }
        if (module, name) in known:
            return super().find_class(module, name)
        raise ValueError(
            f"The file must hold lists, numbers and strings alone. Received: {module}.{name}. Get it again from its "
            "authors."
        )
