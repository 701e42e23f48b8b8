"""Programs that other processes run."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from gallery_oracle import clustered

import keras_epos

HERE = Path(__file__).parent


def run(program, *arguments):
    """The last line that a fresh Python printed."""
    path = [str(Path(keras_epos.__file__).parents[1]), *(path for path in sys.path if path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, env=environment, cwd=HERE, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()[-1]


def started(folder):
    """A process that writes without end, and where it says what it has done. Its like are quick to start."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["keras_epos"])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=write_without_end, args=(folder, sender), daemon=True)
    process.start()
    # So that the end of the process is the end of what it says.
    sender.close()
    assert receiver.recv() == ("ready", 0)
    return process, receiver


def write_without_end(folder, sender):
    gallery = keras_epos.Gallery.load(folder)
    number = int(gallery.ids.max()) + 1
    sender.send(("ready", 0))
    # What the one before had still to do.
    gallery.remove(np.intersect1d(np.arange(number - 60, number - 40), gallery.ids.astype(int)))
    while True:
        gallery.add(clustered(40, 12, number), np.arange(number, number + 40), payload=[{"n": number}] * 40)
        sender.send(("added", number))
        gallery.remove(np.arange(number - 20, number))
        sender.send(("removed", number))
        number += 40
        if number % 200 == 0:
            gallery.save(f"{folder}-copy")
            gallery = keras_epos.Gallery.load(folder)


def said(receiver):
    """All that a process has said before it ended."""
    lines = []
    try:
        while True:
            lines.append(receiver.recv())
    except EOFError:
        return lines
