import pytest

from keras_epos.data.datasets import stanford_online_products

TRAIN = [
    (1, 1, 1, "bicycle_final/111_0.JPG"),
    (2, 1, 1, "bicycle_final/111_1.JPG"),
    (3, 2, 2, "cabinet_final/222_0.JPG"),
]
TEST = [(4, 3, 1, "bicycle_final/333_0.JPG"), (5, 4, 2, "cabinet_final/4_44_7.JPG")]
HEADER = "image_id class_id super_class_id path\n"


@pytest.fixture
def archive(tmp_path, write_image):
    root = tmp_path / "Stanford_Online_Products"
    for *_, path in TRAIN + TEST:
        write_image(root / path.replace(".JPG", ".jpg")).replace(".jpg", ".JPG")
        (root / path.replace(".JPG", ".jpg")).rename(root / path)
    for name, rows in (("Ebay_train.txt", TRAIN), ("Ebay_test.txt", TEST)):
        (root / name).write_text(HEADER + "\n".join(" ".join(map(str, row)) for row in rows) + "\n")
    return tmp_path


def test_official_split(archive):
    train, test = stanford_online_products(archive)
    assert train.labels.tolist() == [0, 0, 1]
    assert test.labels.tolist() == [2, 3]
    assert test.inputs[0].endswith("Stanford_Online_Products/bicycle_final/333_0.JPG")
    assert train.class_names == ["111", "222", "333", "4_44"]
    assert [test.group_names[group] for group in test.groups] == ["bicycle", "cabinet"]


def test_names_that_lead_out_of_the_folder_are_refused(archive):
    with (archive / "Stanford_Online_Products/Ebay_test.txt").open("a") as rows:
        rows.write("6 4 2 /etc/passwd\n")
    with pytest.raises(ValueError, match=r"Stanford Online Products must name files in .*Received: '/etc/passwd'"):
        stanford_online_products(archive)


def test_missing(archive, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"(?s)Ebay_train\.txt, Ebay_test\.txt.*Stanford_Online_Products\.zip"):
        stanford_online_products(tmp_path / "nowhere")
    (archive / "Stanford_Online_Products" / TEST[0][3]).unlink()
    with pytest.raises(FileNotFoundError, match=r"lists 5 images, of which 1 are absent.*333_0\.JPG"):
        stanford_online_products(archive)
