"""What the benchmarks share: contestants that take turns in one process, memory in a process each, one table."""

import argparse
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
    "faiss-cpu",
)


def parser(description, rounds):
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=rounds, help=f"the median of these is printed (default {rounds})")
    return made


def ratios(contestants, floor, rounds):
    """Each contestant's time divided by that of the floor right before it: `{name: median over the rounds}`.

    Machines differ and are noisy, and ratios of neighbors in time less so. Everyone runs twice before it counts.
    """
    for run in (floor, *contestants.values()):
        run()
        run()
    found = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            before = seconds(floor)
            found[name].append(seconds(run) / before)
    return {name: statistics.median(values) for name, values in found.items()}


def seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


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
