"""DeepFashion In-Shop Retrieval: 52,712 photographs of 7,982 garments (Liu et al., 2016)."""

from keras_epos.data.datasets._files import find_root, paths_below, require, require_images
from keras_epos.data.datasets._split import Split, TrainQueryGallery, numbered

_INSTRUCTIONS = """\
Follow http://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html (Google Drive; the
archives open with a password given on signing the agreement) and put into this folder, unpacked:
  Eval/list_eval_partition.txt     (or list_eval_partition.txt beside img/)
  img/WOMEN/..., img/MEN/...       (from Img/img.zip; Img/img/ is fine)"""


def in_shop(data_dir):
    """Read In-Shop Retrieval, official split: 3,997 garments to train, 3,985 others to retrieve.

    Args:
        data_dir: The folder with `Eval/` and `Img/` or `img/`.

    Returns:
        `TrainQueryGallery`. Labels number the sorted item ids of all three, so that
        query and gallery share theirs. `inputs`: paths; `groups`: gender and category, as
        "WOMEN/Dresses".

    Raises:
        FileNotFoundError: With instructions, if the files are not there.
        ValueError: For a list with a name that leads out of the folder.
    """
    root = find_root(data_dir, "in_shop", "Eval")
    partition = "Eval/list_eval_partition.txt"
    if (root / "list_eval_partition.txt").exists():
        partition = "list_eval_partition.txt"
    images = root / "Img" if (root / "Img/img").is_dir() else root
    needed = [partition, images.relative_to(root) / "img"]
    require("In-Shop Clothes Retrieval", root, needed, _INSTRUCTIONS)
    # The first line is the number of rows, the second their header.
    lines = (root / partition).read_text(encoding="utf-8").splitlines()[2:]
    files, items, status = zip(*(line.split() for line in lines if line.strip()), strict=True)
    paths = paths_below("In-Shop Clothes Retrieval", images, files)
    require_images("In-Shop Clothes Retrieval", root, paths)
    labels, names = numbered(items)
    groups, group_names = numbered(["/".join(file.split("/")[1:3]) for file in files])
    split = Split(paths, labels, names, groups=groups, group_names=group_names)
    return TrainQueryGallery(*(split.take([one == part for one in status]) for part in TrainQueryGallery._fields))
