"""Build the site from the documents and the docstrings into build/site.

    pip install -e ".[cpu,docs]" && python tools/build_site.py

The documents link to each other as files of the repository, so that they work there too. This gathers them in
build/pages, with the README as the first page, writes a page of the reference for each package from its `__all__`,
and builds it all. A broken link or reference stops it. Nothing is downloaded.
"""

import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras

import keras_epos

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "build" / "pages"
FOLDERS = {"docs": "**/*", "studies": "**/*", "examples": "*.md", "saved_models": "*.md", "": "*.md"}
STAND_INS = " In examples, `backbone`, `model`, `images`, `labels` and `embeddings` stand for yours."
SHOWN = {".css", ".md", ".png"}


def main():
    shutil.rmtree(PAGES, ignore_errors=True)
    sources = [path for folder, pattern in FOLDERS.items() for path in (ROOT / folder).glob(pattern)]
    sources = {path for path in sources if path.suffix in SHOWN}
    for path in sources:
        target = page(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            target.write_text(linked(path, sources))
        else:
            shutil.copy(path, target)
    (PAGES / "llms.txt").write_text(linked(ROOT / "llms.txt", sources).replace(".md)", ".html)"))
    (PAGES / "api").mkdir()
    for name, text in reference().items():
        (PAGES / "api" / f"{name}.md").write_text(text)
    subprocess.run([sys.executable, "-m", "zensical", "build", "--strict", "--clean"], cwd=ROOT, check=True)
    print("build/site/index.html")


def page(path):
    """Where a file of the repository lies among the pages."""
    return PAGES / ("index.md" if path == ROOT / "README.md" else path.relative_to(ROOT))


def linked(path, sources):
    """The text of a document whose links lead to pages. A link to a file that is no page becomes its text."""

    def link(match):
        text, target, anchor = match.groups(default="")
        file = (path.parent / target).resolve()
        if not file.exists():
            raise FileNotFoundError(f"{path.relative_to(ROOT)} links to {target}, which is not there.")
        return f"[{text}]({relative(file, path)}{anchor})" if file in sources else text

    def picture(match):
        return f'src="{relative((path.parent / match[1]).resolve(), path)}"'

    text = re.sub(r"(?<!!)\[([^\]]*)\]\(([^)#:\s]+)(#[^)\s]*)?\)", link, path.read_text())
    text = re.sub(r'src="([^":]+)"', picture, text)
    # A table of Python's Markdown wants no backslash before a bar in code.
    return re.sub(r"^\|.*`.*$", lambda row: row[0].replace(r"\|", "|"), text, flags=re.MULTILINE)


def relative(file, path):
    return os.path.relpath(page(file), page(path).parent)


def reference():
    """Name of a page: its text, the docstring of a package and what it exports."""
    pages = {}
    for name, title, package, members in [
        ("models", "Models", "keras_epos.training", None),
        ("pair_losses", "Losses over pairs", "keras_epos.losses", is_pair_loss),
        ("proxy_losses", "Losses with proxies", "keras_epos.losses", is_proxy_loss),
        ("other_losses", "Penalties, sums and memories", "keras_epos.losses", is_other_loss),
        ("mining", "Strategies", "keras_epos.mining", None),
        ("callbacks", "Callbacks", "keras_epos.callbacks", None),
        ("data", "Batches and images", "keras_epos.data", None),
        ("datasets", "Data sets", "keras_epos.data.datasets", None),
        ("retrieval", "Retrieval", "keras_epos.retrieval", None),
        ("gallery", "Galleries", "keras_epos.gallery", None),
        ("scale", "Many images", "keras_epos.scale", None),
        ("collapse", "Collapse", "keras_epos.collapse", None),
        ("curriculum", "Curriculum", "keras_epos.curriculum", None),
        ("hierarchy", "Class trees", "keras_epos.hierarchy", None),
        ("serving", "Serving", "keras_epos.serving", None),
        ("tfa", "Losses of tensorflow-addons", "keras_epos.compat.tfa", None),
        ("reference", "Formulas in NumPy", "keras_epos.reference", None),
    ]:
        module = importlib.import_module(package)
        names = [name for name in public(module) if members is None or members(getattr(module, name))]
        about = inspect.getdoc(module) if members is None else ""
        blocks = [f"::: {package}.{name}" for name in names]
        pages[name] = "\n\n".join([f"# {title}", f"In `{package}`.{STAND_INS}", about, *blocks]) + "\n"
    return pages


def public(module):
    names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    return [name for name in names if callable(getattr(module, name))]


def is_loss(member):
    return inspect.isclass(member) and issubclass(member, keras.losses.Loss)


def is_pair_loss(member):
    return is_loss(member) and issubclass(member, keras_epos.PairLoss)


def is_proxy_loss(member):
    return is_loss(member) and issubclass(member, keras_epos.ProxyLoss)


def is_other_loss(member):
    return not is_pair_loss(member) and not is_proxy_loss(member)


if __name__ == "__main__":
    main()
