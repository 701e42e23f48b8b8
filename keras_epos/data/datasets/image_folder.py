"""Your own photographs: one folder a class."""

import os
from pathlib import Path

from keras_epos.data.datasets.files import require
from keras_epos.data.datasets.split import Split, numbered, zero_shot

_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif")


def image_folder(data_dir, *, test_classes=0.5):
    """Read a folder with one sub-folder of images a class, and split it by class.

    Args:
        data_dir: folder of class folders. Images (.jpg, .jpeg, .png, .bmp, .gif) may lie deeper in
            them; hidden files and class folders without images are passed over.
        test_classes: share of the classes held out for the test, in `[0, 1)`: the last ones by
            name, as is the custom of the field. With 0 all is in `train`, for a data set of two
            folders: read each of them.

    Returns:
        `TrainTest`, no class in both. Labels number the class folders by name; `inputs`: paths.

    Raises:
        FileNotFoundError: if there is no class folder with an image.
    """
    if not 0 <= test_classes < 1:
        message = f"`test_classes` must be in [0, 1). Received: test_classes={test_classes}."
        raise ValueError(message)
    root = Path(os.path.expanduser(data_dir))
    require("A folder of classes", root, [""], "Pass the folder that holds one folder a class.")
    paths = [path for path in sorted(root.glob("*/**/*")) if _is_image(path, root)]
    if not paths:
        raise FileNotFoundError(
            f"No images in the sub-folders of {root.absolute()}.\nThe layout is "
            f"<folder>/<class>/<image>, images ending in {', '.join(_ENDINGS)}."
        )
    labels, names = numbered([path.relative_to(root).parts[0] for path in paths])
    num_train_classes = len(names) - int(len(names) * test_classes)
    return zero_shot(Split([str(path) for path in paths], labels, names), num_train_classes)


def _is_image(path, root):
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return path.suffix.lower() in _ENDINGS and not hidden and path.is_file()
