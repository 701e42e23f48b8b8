import numpy as np
import pytest

from keras_epos.data.datasets import lfw_pairs, template_pairs

LINES = """2\t2
anna\t1\t3
ben\t2\t1
anna\t1\tben\t1
ben\t2\tcarl_d\t10
carl_d\t10\t2
anna\t3\t1
carl_d\t2\tanna\t3
ben\t1\tcarl_d\t2
"""
FILES = ["anna_0001.jpg", "anna_0003.jpg", "ben_0001.jpg", "ben_0002.png", "carl_d_0010.jpg", "carl_d_0002.jpg"]


@pytest.mark.parametrize("inside", [True, False])
def test_lfw_names_people_and_numbers(inside, tmp_path, write_image):
    root = tmp_path if inside else tmp_path / "lfw"
    for file in FILES:
        write_image(root / "faces" / file.rsplit("_", 1)[0] / file)
    (root / "pairs.txt").write_text(LINES)
    found = lfw_pairs(tmp_path, images="faces")
    named = [[found.inputs[row].replace("\\", "/").rsplit("/", 1)[1] for row in pair] for pair in found.pairs]
    assert named[:4] == [
        ["anna_0001.jpg", "anna_0003.jpg"],
        ["ben_0002.png", "ben_0001.jpg"],
        ["anna_0001.jpg", "ben_0001.jpg"],
        ["ben_0002.png", "carl_d_0010.jpg"],
    ]
    assert found.is_same.tolist() == [True, True, False, False] * 2
    assert found.folds.tolist() == [0] * 4 + [1] * 4
    assert len(found.inputs) == 6
    assert found.classes.tolist() == ["anna", "ben", "anna", "ben", "carl_d", "anna", "carl_d", "ben"]
    (root / "pairs.txt").write_text("4" + LINES[3:])  # one fold: its lines are in another order
    with pytest.raises(ValueError, match="must hold the pairs that its first line promises"):
        lfw_pairs(tmp_path, images="faces")
    (root / "pairs.txt").write_text("1\nanna 1 3\nanna 1 ben 1\n")
    assert lfw_pairs(tmp_path, images="faces").folds.tolist() == [0, 0]
    (root / "pairs.txt").write_text("1\nanna 1 3\nanna 1 ../x 1\n")
    with pytest.raises(ValueError, match="leads out of it"):
        lfw_pairs(tmp_path, images="faces")
    (root / "pairs.txt").write_text("1\nanna 1 3\nanna 1 ben 7\n")
    with pytest.raises(FileNotFoundError, match=r"absent.*ben_0007\.jpg"):
        lfw_pairs(tmp_path, images="faces")
    with pytest.raises(FileNotFoundError, match=r"LFW is not in .*no others\.txt"):
        lfw_pairs(tmp_path, "others.txt", "faces")


def test_templates_are_lists_of_numbers(tmp_path, write_image):
    for file in ("1.jpg", "2.jpg", "a b.jpg"):
        write_image(tmp_path / "loose" / file)
    images, pairs = tmp_path / "images.txt", tmp_path / "pairs.txt"
    images.write_text("1.jpg 30 5\n2.jpg 7 6\na b.jpg 30 5\n")
    pairs.write_text("30 7 0\n7 7 1\n")
    found = template_pairs(images, pairs, tmp_path / "loose")
    assert [path.replace("\\", "/").rsplit("/", 1)[1] for path in found.inputs] == ["1.jpg", "2.jpg", "a b.jpg"]
    assert (found.templates.tolist(), found.media.tolist()) == ([30, 7, 30], [5, 6, 5])
    np.testing.assert_array_equal(found.pairs, [[1, 0], [0, 0]])
    assert found.is_same.tolist() == [False, True]
    for text in ("30 8 0\n", "30 7 2\n", "", "a 7 1\n", "30 7\n"):
        pairs.write_text(text)
        message = "the pair 30 8" if "8" in text else "1 or 0 in each line"
        with pytest.raises(ValueError, match=message):
            template_pairs(images, pairs, tmp_path / "loose")
    for text, message in (("1.jpg 30\n", "line 1"), ("", "no line"), ("../1.jpg 7 1\n", "leads out of it")):
        images.write_text(text)
        pairs.write_text("7 7 1\n")
        with pytest.raises(ValueError, match=message):
            template_pairs(images, pairs, tmp_path / "loose")
