import numpy as np
import pytest

from keras_epos.data.datasets import in_shop

ROWS = [
    ("img/WOMEN/Dresses/id_00000002/02_1_front.jpg", "id_00000002", "train"),
    ("img/WOMEN/Dresses/id_00000002/02_2_side.jpg", "id_00000002", "train"),
    ("img/MEN/Tees_Tanks/id_00000001/01_1_front.jpg", "id_00000001", "query"),
    ("img/MEN/Tees_Tanks/id_00000001/01_4_full.jpg", "id_00000001", "gallery"),
    ("img/WOMEN/Shorts/id_00000005/01_1_front.jpg", "id_00000005", "gallery"),
]


@pytest.fixture(params=["Img", "."])
def archive(tmp_path, write_image, request):
    for path, *_ in ROWS:
        write_image(tmp_path / request.param / path)
    (tmp_path / "Eval").mkdir()
    lines = [str(len(ROWS)), "image_name item_id evaluation_status"]
    lines += [f"{path:<60}{item}   {status}" for path, item, status in ROWS]
    (tmp_path / "Eval/list_eval_partition.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_official_split(archive):
    data = in_shop(archive)
    assert data.train.labels.tolist() == [1, 1]
    assert data.query.labels.tolist() == [0]
    assert data.gallery.labels.tolist() == [0, 2]
    assert data.gallery.class_names == ["id_00000001", "id_00000002", "id_00000005"]
    assert [data.gallery.group_names[g] for g in data.gallery.groups] == ["MEN/Tees_Tanks", "WOMEN/Shorts"]
    assert data.query.inputs[0].endswith(ROWS[2][0])
    assert data.query.labels.dtype == np.int64


def test_names_that_lead_out_of_the_folder_are_refused(archive):
    with (archive / "Eval/list_eval_partition.txt").open("a") as rows:
        rows.write("img/../../../x.jpg id_00000009 train\n")
    with pytest.raises(ValueError, match=r"In-Shop Clothes Retrieval must name files in .*'img/\.\./"):
        in_shop(archive)


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"(?s)list_eval_partition\.txt, img\..*mmlab\.ie\.cuhk"):
        in_shop(tmp_path)
