"""What the benchmarks share: contestants that take turns, memory in a process each, one table.

Runs on Python 3.9 too and without keras_epos, for the peers that need an old TensorFlow.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "keras-epos",
    "keras",
    "tensorflow-cpu",
    "tensorflow",
    "jax",
    "torch",
    "pytorch-metric-learning",
    "tensorflow-similarity",
    "tensorflow-addons",
    "faiss-cpu",
)


def parser(description, rounds):
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=rounds, help=f"the median of these is printed (default {rounds})")
    return made


def ratios(contestants, floor, rounds):
    """Each contestant's time divided by that of the floor right before it: `{name: median over the rounds}`."""
    return {name: median(values) for name, values in turns(contestants, floor, rounds).items()}


def turns(contestants, floor, rounds):
    """What `clocks` says of each contestant and of the floor right before it: `{name: [(own, floor's), ...]}`.

    Machines differ and are noisy, and ratios of neighbors in time less so. Everyone runs twice before it counts.
    """
    for run in (floor, *contestants.values()):
        run()
        run()
    found = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            before = clocks(floor)
            found[name].append((clocks(run), before))
    return found


def median(turns, clock=0):
    """Median ratio of time; with `clock=1` that of CPU time."""
    return statistics.median(own[clock] / before[clock] for own, before in turns)


def clocks(run):
    """Seconds that `run()` takes, and seconds of CPU time of all threads, which others on the machine raise less."""
    if isinstance(run, Elsewhere):
        return run.clocks()
    start, used = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - start, time.process_time() - used


class Elsewhere:
    """A contestant of another process, which says itself how long it took."""

    def __init__(self, process, name):
        self.process, self.name = process, name

    def __call__(self):
        self.clocks()

    def clocks(self):
        return self.process.ask("run", self.name)


class Process:
    """Another Python that answers by `answer`. It does nothing between questions, so that all can take turns."""

    def __init__(self, *command):
        self.command = command
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *question):
        answer = None
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(question), file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{' '.join(map(str, self.command))} ended when it was asked for {question}")
        return json.loads(answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()


def answer(make):
    """Answer questions `[method, *arguments]` by the methods of `make()`: a line of JSON each, until they end."""
    answers = os.fdopen(os.dup(1), "w")
    # What libraries print must not look like an answer.
    os.dup2(2, 1)
    asked = make()
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        print(json.dumps(getattr(asked, method)(*arguments)), file=answers, flush=True)


def memory_of(script, case):
    """Peak of the process's memory above what it held before, in MB, of `script --one case`, in a process of its own.

    The C library keeps what was freed, so one process cannot measure two cases.
    """
    done = subprocess.run(
        [sys.executable, script, "--one", json.dumps(case)],
        # Large blocks go back to the system when they are freed.
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return float(done.stdout.split()[-1])


def peak_above(run):
    """Print by how many MB the memory of this process rose while `run()` ran. Linux only."""
    status = Path("/proc/self/status").read_text
    before = _kib(status(), "VmRSS")
    run()
    print((_kib(status(), "VmHWM") - before) / 1024)


def _kib(text, name):
    return int(text.split(f"{name}:")[1].split()[0])


def table(title, columns, rows, unit="x"):
    """Print `rows`, `{name: numbers}`, under `columns`. A number that was not measured is `None`."""
    width = max(map(len, rows)) + 2
    print(f"\n{title}\n")
    print(" " * width + "".join(f"{column:>13}" for column in columns))
    for name, values in rows.items():
        print(f"{name:<{width}}" + "".join(f"{'-' if one is None else f'{one:.2f}{unit}':>13}" for one in values))
    print(f"\n{machine()}")


def machine():
    """The processor, its cores and the versions of what took part."""
    try:
        text = Path("/proc/cpuinfo").read_text()
        processor = text.split("model name\t: ")[1].split("\n")[0]
    except (OSError, IndexError):
        processor = platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = [f"{processor}, {cores} cores", f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)
