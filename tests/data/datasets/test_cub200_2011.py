import re

import pytest

from keras_epos.data.datasets import cub200_2011

IMAGES = ["001.Albatross/A_0001.jpg", "100.Pelican/P_0002.jpg", "101.Pelican/W 3.jpg", "200.Yellow/Y.jpg"]


@pytest.fixture
def archive(tmp_path, write_image):
    root = tmp_path / "CUB_200_2011"
    for name in IMAGES:
        write_image(root / "images" / name)
    numbered = [f"{number} {name}" for number, name in enumerate(IMAGES, 1)]
    # The lines need not be in order.
    (root / "images.txt").write_text("\n".join(numbered[::-1]) + "\n")
    (root / "image_class_labels.txt").write_text("1 1\n2 100\n3 101\n4 200\n")
    (root / "classes.txt").write_text("".join(f"{c} {c:03d}.Bird\n" for c in range(1, 201)))
    return tmp_path


@pytest.mark.parametrize("folder", [".", "CUB_200_2011"])
def test_zero_shot_split(archive, folder):
    train, test = cub200_2011(archive / folder)
    assert dict(zip([p.split("images/")[1] for p in train.inputs], train.labels.tolist(), strict=True)) == {
        IMAGES[0]: 0,
        IMAGES[1]: 99,
    }
    assert dict(zip([p.split("images/")[1] for p in test.inputs], test.labels.tolist(), strict=True)) == {
        IMAGES[2]: 100,
        IMAGES[3]: 199,
    }
    assert test.class_names[199] == "200.Bird"


@pytest.mark.parametrize(
    "name", ["../../x.jpg", "/etc/passwd", "001.A/../../../x.jpg", "C:/x.jpg", "..\\x.jpg", "\\\\host\\x"]
)
def test_names_that_lead_out_of_the_folder_are_refused(archive, name):
    with (archive / "CUB_200_2011/images.txt").open("a") as images:
        images.write(f"5 {name}\n")
    with (archive / "CUB_200_2011/image_class_labels.txt").open("a") as labels:
        labels.write("5 1\n")
    with pytest.raises(ValueError, match=f"CUB-200-2011 must name files in .*Received: {re.escape(repr(name))}"):
        cub200_2011(archive)


def test_links_out_of_the_folder_are_the_users_own(archive, tmp_path):
    images = archive / "CUB_200_2011/images"
    images.rename(tmp_path / "elsewhere")
    images.symlink_to(tmp_path / "elsewhere")
    assert len(cub200_2011(archive).train) == 2


def test_missing(archive, tmp_path):
    (archive / "CUB_200_2011/classes.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"(?s)no classes\.txt\..*CUB_200_2011\.tgz"):
        cub200_2011(archive)
    with pytest.raises(FileNotFoundError, match=r"data\.caltech\.edu"):
        cub200_2011(tmp_path / "nowhere")
