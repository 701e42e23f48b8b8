"""What the engines of the export share: packages asked for when needed, and one sentence for what cannot be done."""

import errno
import importlib
from importlib import metadata


class CannotDoError(Exception):
    """What an engine cannot do, as one sentence."""


def need(module, package, pip):
    """The module, or a sentence with the line that installs it.

    Args:
        module: Its dotted name.
        package: What it is called in a package index.
        pip: What to hand to `pip install`.

    Raises:
        CannotDoError: when it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise CannotDoError(f"The package {package} is missing: pip install {pip}.") from error


def version(package):
    """`onnxruntime 1.32.0`, say."""
    return f"{package} {metadata.version(package)}"


def sentence(error):
    """What an exception says, in one line; a full disk is no fault of a format and is raised again."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOSPC:
        raise error
    text = " ".join(str(error).split()) or "no message."
    text = text if len(text) <= 300 else f"{text[:300]}..."
    return text if isinstance(error, CannotDoError) else f"{type(error).__name__}: {text}"
