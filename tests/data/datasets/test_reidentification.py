import pytest

from keras_epos.data.datasets import duke_mtmc_reid, market1501, msmt17, reidentification_table, veri776

NAMES = {
    "train": ["0002_c1s1_000451_03.jpg", "0007_c3s2_000001_01.jpg"],
    "query": ["0001_c1s1_001051_00.jpg"],
    "gallery": ["-1_c2s1_000401_03.jpg", "0000_c4s1_000002_01.jpg", "0001_c2s1_000301_00.jpg"],
}
READERS = [
    (market1501, "Market-1501-v15.09.15", ("bounding_box_train", "query", "bounding_box_test")),
    (duke_mtmc_reid, "DukeMTMC-reID", ("bounding_box_train", "query", "bounding_box_test")),
    (veri776, "VeRi", ("image_train", "image_query", "image_test")),
]


@pytest.mark.parametrize(("reader", "folder", "parts"), READERS)
@pytest.mark.parametrize("inside", [True, False])
def test_names_say_identity_and_camera(reader, folder, parts, inside, tmp_path, write_image):
    for part, names in zip(parts, NAMES.values(), strict=True):
        for name in names:
            write_image(tmp_path / folder / part / name)
    (tmp_path / folder / parts[2] / "Thumbs.db").touch()
    data = reader(tmp_path / folder if inside else tmp_path)
    people = data.train.class_names
    assert people == ["0000", "0001", "0002", "0007"]
    assert [people[label] for label in data.train.labels] == ["0002", "0007"]
    assert [people[label] for label in data.gallery.labels] == ["0000", "0001"]
    assert data.query.labels[0] == data.gallery.labels[1]
    assert [data.query.group_names[g] for g in data.query.groups] == ["1"]
    assert [data.gallery.group_names[g] for g in data.gallery.groups] == ["4", "2"]
    assert data.query.inputs[0].endswith(NAMES["query"][0])
    write_image(tmp_path / folder / parts[1] / "anna.jpg")
    with pytest.raises(ValueError, match=r"must name files as 0002_c1s1.*anna\.jpg"):
        reader(tmp_path)


def test_nothing_there(tmp_path):
    for reader, folder, _ in READERS:
        with pytest.raises(FileNotFoundError, match=rf"(?s)is not in .*{folder}/"):
            reader(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"(?s)MSMT17 is not in .*list_train\.txt"):
        msmt17(tmp_path)


def test_msmt17_has_lists(tmp_path, write_image):
    lists = {
        "train": ["0000/0000_000_01_0303morning_0015_0.jpg 0"],
        "val": ["0000/0000_001_02_0303noon_0015_0.jpg 0"],
        "query": ["0000/0000_000_05_0303morning_0015_0.jpg 0"],
        "gallery": ["0000/0000_001_14_0303noon_0015_1.jpg 0"],
    }
    for name, lines in lists.items():
        for line in lines:
            write_image(tmp_path / ("train" if name in ("train", "val") else "test") / line.split()[0])
        (tmp_path / f"list_{name}.txt").write_text("\n".join(lines) + "\n")
    data = msmt17(tmp_path)
    assert data.train.class_names == ["0", "test 0"]
    assert data.train.labels.tolist() == [0, 0]
    assert data.query.labels.tolist() == data.gallery.labels.tolist() == [1]
    assert [data.train.group_names[split.groups[0]] for split in data] == ["01", "05", "14"]
    with (tmp_path / "list_query.txt").open("a") as file:
        file.write("../../0000_000_05_x.jpg 1\n")
    with pytest.raises(ValueError, match="leads out of it"):
        msmt17(tmp_path)


def test_a_table_of_ones_own(tmp_path, write_image):
    rows = ["a.jpg,anna,door,train", "b/c.jpg,ben,yard,query", "d.jpg,ben,door,gallery"]
    for row in rows:
        write_image(tmp_path / row.split(",")[0])
    table = tmp_path / "people.csv"

    def write(lines, head="path,identity,camera,split"):
        table.write_text("\n".join([head, *lines]) + "\n")
        return table

    data = reidentification_table(write(rows))
    assert [len(part) for part in data] == [1, 1, 1]
    assert data.train.class_names == ["anna", "ben"]
    assert data.query.labels.tolist() == data.gallery.labels.tolist() == [1]
    assert [data.query.group_names[part.groups[0]] for part in data] == ["door", "yard", "door"]
    for lines, message in (
        ([*rows, "a.jpg,anna,,train"], "line 5"),
        ([*rows, "a.jpg,anna,door,test"], "line 5"),
        ([], "no line"),
        (["../a.jpg,anna,door,train"], "leads out of it"),
    ):
        with pytest.raises(ValueError, match=message):
            reidentification_table(write(lines))
    with pytest.raises(ValueError, match="must have the columns"):
        reidentification_table(write(rows, "file,identity,camera,split"))
    with pytest.raises(FileNotFoundError, match=r"1 are absent"):
        reidentification_table(write(["gone.jpg,anna,door,train"]))
