import os
import pickle

import numpy as np
import pytest

from keras_epos.data.datasets import revisited
from keras_epos.retrieval import evaluate

TRUTH = [
    {"easy": np.array([0]), "hard": [1], "junk": np.array([2]), "bbx": [1, 2, 30.5, 40]},
    {"easy": [], "hard": np.array([4, 1]), "junk": np.array([], int), "bbx": np.float32([0, 0, 9, 9])},
]


def write(folder, write_image, truth=TRUTH, protocol=2):
    names = {"imlist": [f"oxford_{place}" for place in range(6)], "qimlist": ["all_souls_1", "all_souls_2"]}
    for name in (*names["imlist"], *names["qimlist"]):
        write_image(folder / "jpg" / f"{name}.jpg")
    (folder / "gnd_roxford5k.pkl").write_bytes(pickle.dumps({**names, "gnd": truth}, protocol))


@pytest.mark.parametrize("protocol", [2, 5])
def test_levels_of_a_query(protocol, tmp_path, write_image):
    write(tmp_path / "roxford5k", write_image, protocol=protocol)
    data = revisited(tmp_path)
    assert [path[-15:] for path in data.queries] == ["all_souls_1.jpg", "all_souls_2.jpg"]
    np.testing.assert_array_equal(data.boxes, [[1, 2, 30.5, 40], [0, 0, 9, 9]])
    expected = {
        "easy": [[1, -1, -1, 0, 0, 0], [0, -1, 0, 0, -1, 0]],
        "medium": [[1, 1, -1, 0, 0, 0], [0, 1, 0, 0, 1, 0]],
        "hard": [[-1, 1, -1, 0, 0, 0], [0, 1, 0, 0, 1, 0]],
    }
    rows = np.random.default_rng(0).normal(size=(8, 3))
    for level, matrix in expected.items():
        np.testing.assert_array_equal(data.relevance(level), matrix)
        found = evaluate(
            rows[:2],
            [0, 1],
            rows[2:],
            np.zeros(6, int),
            k=1,
            metrics=("map_trapezoid",),
            relevance=data.relevance(level),
        )
        assert found["queries_without_match"] == (level == "easy")
    with pytest.raises(ValueError, match="`level` must be one of"):
        data.relevance("all")


class Program:
    def __reduce__(self):
        return os.getcwd, ()


def test_a_file_that_runs_a_program_is_refused(tmp_path, write_image):
    write(tmp_path, write_image, [Program()])
    with pytest.raises(ValueError, match=r"lists, numbers and strings alone\. Received: .*getcwd"):
        revisited(tmp_path)


def test_what_is_absent_is_told(tmp_path, write_image):
    with pytest.raises(FileNotFoundError, match=r"rparis6k is not in .*gnd_rparis6k\.pkl, jpg"):
        revisited(tmp_path, "rparis6k")
    write(tmp_path, write_image)
    (tmp_path / "jpg" / "oxford_3.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"absent.*oxford_3\.jpg"):
        revisited(tmp_path)
    with pytest.raises(ValueError, match="`name` must be one of"):
        revisited(tmp_path, "oxford5k")
