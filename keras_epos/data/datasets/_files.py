"""Finding a data set's files, and saying once and at once what to do where they are missing."""

import os
from pathlib import Path, PurePosixPath, PureWindowsPath


def find_root(data_dir, folder, marker):
    """Return `data_dir/folder` where it holds the file `marker`, else `data_dir`, as a `Path`."""
    data_dir = Path(os.path.expanduser(data_dir))
    nested = data_dir / folder
    return nested if (nested / marker).exists() else data_dir


def require(name, root, needed, instructions):
    """Raise one `FileNotFoundError` with instructions unless all `needed` under `root` exist."""
    missing = [str(path) for path in needed if not (root / path).exists()]
    if missing:
        missing = ", ".join(missing)
        raise FileNotFoundError(f"{name} is not in {root.absolute()}: no {missing}.\n{instructions}")


def paths_below(name, folder, files):
    """Join names from a list to the folder they belong in: strings, in order.

    Raises:
        ValueError: For a name that leads out of the folder, by `..` or from a root. Such a list was tampered with.
    """
    files = [str(file) for file in files]
    outside = [file for file in files if _leads_out(file)]
    if outside:
        raise ValueError(
            f"The list of {name} must name files in {folder}. Received: {outside[0]!r}, which leads out of it"
            f"{f', and {len(outside) - 1} more' if len(outside) > 1 else ''}. Get the list again from its source."
        )
    return [str(folder / file) for file in files]


def _leads_out(file):
    # Names of either system, wherever they are read.
    windows = PureWindowsPath(file)
    return PurePosixPath(file).is_absolute() or bool(windows.drive or windows.root) or ".." in windows.parts


def require_images(name, root, paths):
    """Raise `FileNotFoundError` where listed images are absent, as after a broken unpacking."""
    present = {}
    missing = []
    for path in paths:
        folder, file = os.path.split(path)
        # One listing a folder: a call for each image takes a minute on network drives.
        if folder not in present:
            present[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        if file not in present[folder]:
            missing.append(path)
    if missing:
        raise FileNotFoundError(
            f"{name} in {root.absolute()} lists {len(paths)} images, of which {len(missing)} are "
            f"absent, first {missing[0]}.\nUnpack its archive again."
        )
