"""The arrows of the design: which module may know which, and what no module may do."""

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import keras_epos

PACKAGE = Path(keras_epos.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text()) for path in FILES}

# Module or folder: all that it may import of ours. What is not named here may import what it likes, and all may import
# what lies on the ground floor.
GROUND_FLOOR = {
    "_checks",
    "_features",
    "_file_states",
    "_keras_private",
    "_labels",
    "_linear_probe",
    "_outputs",
    "_rows",
    "_shares",
}
ALLOWED = {
    **{ground: set() for ground in GROUND_FLOOR},
    "_config": set(),
    "_compiler": set(),
    "_gradient": set(),
    "same_class": {"_config"},
    "reference": {"reference"},
    "hierarchy": {"hierarchy"},
    "_pairs": {"same_class", "_compiler"},
    "_all_products": {"_compiler", "_pairs"},
    "mining": {"mining", "_compiler", "_pairs", "_config"},
    "losses": {
        "losses",
        "mining",
        "_all_products",
        "_compiler",
        "_pairs",
        "same_class",
        "_gradient",
        "_config",
        "hierarchy",
    },
    "retrieval": {"retrieval", "same_class"},
    "collapse": {"collapse", "retrieval"},
    "curriculum": {"curriculum", "retrieval", "data"},
    "gallery": {"gallery", "retrieval"},
}
FORBIDDEN = {
    "callbacks": {"data", "training", "serving", "losses", "mining"},
    "data": {"training", "serving", "losses", "mining", "retrieval", "callbacks"},
    "training": {"data", "serving", "retrieval", "callbacks"},
    "serving": {"data", "training", "losses", "mining", "callbacks", "scale"},
    "scale": {"training", "losses", "mining", "callbacks", "cli"},
}


def imported(name, tree):
    """Dotted names that a file of the package imports from the package, such as `mining.easy` or `mining`."""
    folder = Path(name).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ["keras_epos", *folder[: len(folder) - node.level + 1]] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from keras_epos import mining` names a module, `from keras_epos.mining import get` may not.
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "keras_epos" else [module]
        else:
            continue
        yield from (found.removeprefix("keras_epos.") for found in names if found.startswith("keras_epos."))


def room(name):
    return name.removesuffix(".py").split("/")[0]


def test_the_files_were_found():
    assert {"_pairs.py", "mining/_easy.py", "losses/_triplet.py"} <= set(TREES)
    assert "_pairs" in list(imported("losses/_triplet.py", TREES["losses/_triplet.py"]))


def test_files_are_private_and_rooms_are_public():
    public = {name for name in TREES if not name.split("/")[-1].startswith("_")}
    assert public == {"same_class.py"}


def test_relative_imports_are_understood():
    tree = ast.parse(
        "from . import easy\nfrom ..pairs import unit\nfrom .. import losses\nimport keras_epos.data.images"
    )
    assert set(imported("mining/all.py", tree)) == {"mining", "pairs", "losses", "data.images"}


def trees(*rooms):
    return {name: tree for name, tree in TREES.items() if not rooms or room(name) in rooms}.items()


def test_imports_follow_the_arrows():
    for name, tree in trees():
        for found in imported(name, tree):
            target = found.split(".")[0]
            if room(name) in ALLOWED:
                assert target in ALLOWED[room(name)] | GROUND_FLOOR, f"{name} imports {found}"
            # The served model decodes images exactly as training does.
            if (room(name), found) != ("serving", "data._images"):
                assert target not in FORBIDDEN.get(room(name), ()), f"{name} imports {found}"


def test_losses_know_no_strategy_by_name():
    """But for the check that turns a strategy away that only makes sense for negatives, and a loss that is one."""
    allowed = {("losses/_pair_loss.py", "DistanceWeighted"), ("losses/_easy_positive_hard_negative.py", "Easy")}
    strategies = {"All", "Easy", "Hard", "Random", "SemiHard", "DistanceWeighted"}
    for name, tree in trees("losses"):
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("keras_epos.mining"):
                assert not strategies & {alias.name for alias in node.names}, name
            if isinstance(node, ast.Attribute) and node.attr in strategies:
                assert (name, node.attr) in allowed


TENSOR_CODE = ("_pairs", "mining", "losses", "_gradient", "_config", "retrieval", "gallery", "reference")


def test_tensor_code_imports_tensorflow_inside_functions_only():
    for name, tree in trees(*TENSOR_CODE):
        for node in tree.body:
            names = [alias.name for alias in getattr(node, "names", ())] + [getattr(node, "module", "") or ""]
            assert not any(found.split(".")[0] in ("tensorflow", "jax", "torch") for found in names), name


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_losses_do_not_import_tensorflow_on_other_backends(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    program = "import sys, keras_epos.losses; sys.exit('tensorflow' in sys.modules)"
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), *(path for path in sys.path if path)]),
    }
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:] or "tensorflow was imported"


def test_private_names_of_keras_stand_in_one_file():
    found = [path.relative_to(PACKAGE).as_posix() for path in FILES if "keras.src" in path.read_text()]
    assert found == ["_keras_private.py"]


def test_the_oracle_imports_numpy_only():
    for name, tree in trees("reference"):
        found = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.module.startswith("keras_epos.reference"):
                found.add(node.module)
        assert found <= {"functools", "itertools", "typing", "numpy"}, name
