"""Whether the tests notice faults: breaks one line of the package at a time and runs the tests that should fail.

    python tools/mutants.py                      # all of tools/mutants.txt; fails if a fault goes unnoticed
    python tools/mutants.py --only contrastive   # the rooms whose name starts so

TensorFlow is imported once; each fault has a process of its own, forked from there, and a copy of the package. At the
end every test that noticed a fault runs on the package as it is, where it must pass.
"""

import argparse
import collections
import gc
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
LONGEST = 900  # seconds of one run
OUTCOMES = ("killed", "survived", "error")
PLUGINS = ("cacheprovider", "xdist", "unraisableexception", "threadexception")
QUICKLY = ["-q", "--assert=plain", "--tb=short", "-o", "addopts=", *(f"-pno:{plugin}" for plugin in PLUGINS)]
# What a fault that was written down wrongly raises, as a rule. It is no fault of arithmetic.
OF_THE_TABLE = {"AttributeError", "ImportError", "ModuleNotFoundError", "NameError", "SyntaxError", "TypeError"}


class Mutant(NamedTuple):
    """A fault: `old` stands once in the `file` of the package and becomes `new`, and one of the `tests` must fail."""

    room: str
    kind: str
    file: str
    old: str
    new: str
    tests: str


def read(table):
    """The mutants of a table, see its head."""
    mutants, room, file, tests = [], None, None, None
    for line in table.read_text().splitlines():
        if line.startswith("["):
            room, file, tests = (part.strip() for part in line.replace("]", ":", 1)[1:].split(":", 2))
        elif line and not line.startswith("#"):
            kind, change = line.split(maxsplit=1)
            old, new = (part.replace("\\n", "\n") for part in change.split(" => "))
            mutants.append(Mutant(room, kind, file, old, new, tests))
    return mutants


class Failures:
    """A plug-in of pytest: the tests that failed, each with what it raised."""

    def __init__(self):
        self.found = []

    def pytest_exception_interact(self, node, call):
        self.found.append((node.nodeid, call.excinfo.typename))


def run(arguments, package, tests_of):
    """Exit code and failures of pytest on the package in the folder `package`, in a process of its own."""
    result, output = package / "result.json", package / "output.txt"
    result.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        signal.alarm(LONGEST)
        os.chdir(tests_of)
        sys.path[:0] = [str(package)]
        os.environ |= {"PYTHONPATH": str(package), "PYTHONSAFEPATH": "1"}  # of processes that a test starts
        with output.open("w") as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
        failures = Failures()
        code = pytest.main([*QUICKLY, *arguments], plugins=[failures])
        used = getattr(sys.modules.get("keras_epos"), "__file__", "nothing")
        if not used.startswith(str(package)):
            failures.found.append((f"tests of {used}", "ImportError"))
        result.write_text(json.dumps([int(code), failures.found]))
        os._exit(0)
    os.waitpid(child, 0)
    return json.loads(result.read_text()) if result.exists() else [None, []]


def place_of(mutant, root):
    """The file of a mutant's text: the one it names, made private or not, or else the only one of the same room."""
    named = root / "keras_epos" / mutant.file
    for files in ([named], [named.with_name(f"_{named.name}")], named.parent.glob("*.py")):
        found = [file for file in files if file.exists() and file.read_text().count(mutant.old) == 1]
        if len(found) == 1:
            return found[0].relative_to(root)
    return None


def outcome(mutant, package, root):
    """`"killed"`, `"survived"` or `"error"`, and the first test that failed, or why there is none."""
    place = place_of(mutant, root)
    if place is None:
        return "error", f"{mutant.file} does not have this text once"
    (package / place).write_text((root / place).read_text().replace(mutant.old, mutant.new))
    try:
        code, failures = run(["-x", *shlex.split(mutant.tests)], package, root)
    finally:
        shutil.copy2(root / place, package / place)
    if code == 0:
        return "survived", mutant.tests
    if code != 1 or not failures or failures[0][1] in OF_THE_TABLE:
        return "error", f"exit code {code}, {failures[:1]}"
    return "killed", failures[0][0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="first letters of the rooms to run")
    parser.add_argument("--table", type=Path, default=HERE / "mutants.txt")
    parser.add_argument("--root", type=Path, default=HERE.parent, help="the checkout whose package and tests are taken")
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    mutants = [mutant for mutant in read(arguments.table) if mutant.room.startswith(arguments.only)]
    counts, killers = collections.Counter(), set()
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder)
        shutil.copytree(root / "keras_epos", package / "keras_epos")
        for mutant in mutants:
            what, where = outcome(mutant, package, root)
            counts.update([(mutant.kind, what), ("all kinds", what)])
            killers |= {where} if what == "killed" else set()
            change = f"{mutant.old} => {mutant.new}".replace("\n", "\\n")
            print(f"{what:8} {mutant.room:28} {mutant.kind:9} {change}\n{'':9}{where}", flush=True)
        code, failures = run(sorted(killers), package, root) if killers else (0, [])
    for kind in (*sorted({mutant.kind for mutant in mutants}), "all kinds"):
        print(f"{kind:9} " + ", ".join(f"{counts[kind, what]} {what}" for what in OUTCOMES))
    passes = "pass" if code == 0 else f"do not all pass, {failures},"
    print(f"The {len(killers)} tests that noticed them {passes} without them.")
    return int(code != 0 or counts["all kinds", "killed"] < len(mutants))


if __name__ == "__main__":
    import hypothesis
    import keras  # noqa: F401
    import pytest
    import tensorflow  # noqa: F401

    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)  # a failure is enough, however long
    hypothesis.settings.register_profile("mutants", phases=phases, database=None, derandomize=True, deadline=None)
    hypothesis.settings.load_profile("mutants")
    gc.freeze()
    sys.exit(main())
