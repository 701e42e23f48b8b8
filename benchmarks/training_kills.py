"""Kill trainings at random moments, damage what they leave, and compare what they come to.

    pip install -e ".[cpu]"
    python benchmarks/training_kills.py                                       # 100 kills and 100 damages
    python benchmarks/training_kills.py --recipes hierarchy --kills 10 --damages 10
    python benchmarks/training_kills.py --callback BackupAndRestore --kills 9
    KERAS_BACKEND=jax python benchmarks/training_kills.py --kills 9 --damages 3

The recipes take turns. Each trains once to its end. Then it is killed (SIGKILL) at a moment drawn from the time between
its first step and its end, and started again; what it comes to is compared bit by bit: weights, memory, class tree,
optimizer, seeds, the history of all epochs, and the rows of every batch. For a damage a training ends after a random
epoch. A file of its last checkpoint is cut, emptied, changed in a few bytes or removed, or the checkpoint is removed,
and the training is started again.

All runs on one thread, as on several a sum may come in another order; `--threads` allows as many as there are. A run is
a process of its own, on TensorFlow and PyTorch forked from one that has imported the package, on JAX started anew.
"""

import os
import sys

if "--threads" not in sys.argv:
    for variable in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = "1"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import collections
import json
import random
import shutil
import signal
import subprocess
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import keras
import numpy as np

import keras_epos
from keras_epos.curriculum import StagedBatches
from keras_epos.data import AnchorNeighborIndices, BatchIndices, batches

EPOCHS, STEPS = 6, 8
LABELS = np.arange(240) % 12
ROWS = (2 * np.eye(12)[LABELS] + np.random.default_rng(0).normal(size=(240, 12))).astype("float32")
DAMAGES = ["cut", "emptied", "changed", "a file removed", "removed"]
IS_JAX = keras.backend.backend() == "jax"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--damages", type=int, default=100)
    parser.add_argument("--callback", choices=["Resume", "BackupAndRestore"], default="Resume")
    parser.add_argument("--threads", action="store_true", help="as many as there are")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.train:
        recipe, folder, last = args.train
        train(recipe, Path(folder), int(last), args.callback)
        return
    if args.callback != "Resume":
        args.damages = 0  # of its checkpoint there is no other
    chance = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        runs = {name: Runs(Path(folder), name, args) for name in args.recipes}
        names = [args.recipes[number % len(runs)] for number in range(args.kills)]
        report(f"{args.kills} kills", [runs[name].kill(chance) for name in names])
        names = [args.recipes[number % len(runs)] for number in range(args.damages)]
        report(
            f"{args.damages} damages",
            [runs[name].damage(DAMAGES[number % len(DAMAGES)], chance) for number, name in enumerate(names)],
        )


def report(what, found):
    for finding, number in collections.Counter(finding for one in found for finding in one).most_common():
        print(f"{what}: {number} {finding}", flush=True)


class Runs:
    """The runs of one recipe, compared with the one that nothing happened to."""

    def __init__(self, folder, name, args):
        self.folder, self.name, self.args = folder, name, args
        self.whole = folder / f"{name} whole"
        self.seconds = self.run(self.whole, measured=True)
        self.expected = result(self.whole)
        again = folder / f"{name} again"
        self.run(again)
        print(f"{name}: the same twice without a kill: {', '.join(different(self.expected, result(again))) or 'all'}")

    def run(self, place, last=EPOCHS, kill_after=None, measured=False):
        """One process; the seconds from its first step to its end."""
        place.mkdir(exist_ok=True)
        begun = place / "begun"
        begun.unlink(missing_ok=True)
        process = started(self.name, place, last, self.args)
        while not begun.exists() and process.poll() is None:
            time.sleep(0.001)
        began = time.perf_counter()
        if kill_after is not None:
            time.sleep(kill_after)
            process.kill()
        code = process.wait()
        if code not in (0, -signal.SIGKILL):
            sys.exit(f"{self.name} ended with {code}:\n{(place / 'error').read_text()}")
        return time.perf_counter() - began if measured else code

    def kill(self, chance):
        place = self.folder / f"{self.name} killed"
        while self.run(place, kill_after=chance.uniform(0, self.seconds)) != -signal.SIGKILL:
            shutil.rmtree(place)  # it was quicker than the first one
        return self.compared(place)

    def damage(self, how, chance):
        last = chance.randint(2, EPOCHS - 1)
        place, ended = self.folder / f"{self.name} damaged", self.folder / f"{self.name} ended after {last}"
        if not ended.exists():
            self.run(ended, last=last)
        shutil.copytree(ended, place)
        checkpoint = sorted((place / "run").glob("epoch-*"))[-1]
        harm(checkpoint, how, chance)
        found = self.compared(place, f"the one before is taken: epoch-{int(checkpoint.name[6:]) - 1:05}")
        return [found[0], f"{how}, {found[1]}"]

    def compared(self, place, warning=None):
        """What a run that is started again comes to, and whether it warned."""
        self.run(place)
        parts = different(self.expected, result(place))
        told = warning is not None and warning in (place / "warnings").read_text()
        shutil.rmtree(place)
        found = f"with another result: {', '.join(parts)}" if parts else "with the same result, bit by bit"
        return [found, *["with a warning" if told else "without a warning"] * (warning is not None)]


def harm(checkpoint, how, chance):
    path = chance.choice(sorted(checkpoint.iterdir()))
    content = bytearray(path.read_bytes())
    if how == "cut":
        path.write_bytes(content[: chance.randrange(len(content))])
    elif how == "emptied":
        path.write_bytes(b"")
    elif how == "changed":
        for place in chance.sample(range(len(content)), min(3, len(content))):
            content[place] ^= chance.randrange(1, 256)
        path.write_bytes(content)
    elif how == "a file removed":
        path.unlink()
    else:
        shutil.rmtree(checkpoint)


def result(place):
    with np.load(place / "result.npz") as arrays:
        return dict(arrays)


def different(expected, found):
    """The kinds of things that differ, each with the largest difference."""
    differences = {}
    for name, value in expected.items():
        kind = name.split(":")[0]
        if kind == "rows of a batch" and name not in found:
            continue  # drawn before the checkpoint
        other = found[name]
        if not np.array_equal(value, other, equal_nan=value.dtype.kind == "f"):
            is_number = value.shape == other.shape and value.dtype.kind == "f"
            size = np.abs(value - other).max() if is_number else 1
            differences[kind] = max(size, differences.get(kind, 0))
    return [f"{kind} by {size:.1g}" for kind, size in differences.items()]


# --- a process


def started(name, place, last, args):
    if IS_JAX:
        command = [sys.executable, __file__, "--train", name, place, str(last), "--callback", args.callback]
        with (place / "error").open("w") as error:
            return subprocess.Popen([*command, *["--threads"] * args.threads], stderr=error, stdout=subprocess.DEVNULL)
    sys.stdout.flush()
    child = os.fork()
    if child:
        return Forked(child)
    code = 70
    try:
        with (place / "error").open("w") as error:
            os.dup2(error.fileno(), 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            try:
                train(name, place, last, args.callback)
                code = 0
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
    finally:
        os._exit(code)


class Forked:
    """What `subprocess.Popen` is for a forked process."""

    def __init__(self, child):
        self.child, self.code = child, None

    def poll(self):
        if self.code is None:
            child, status = os.waitpid(self.child, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if child else None
        return self.code

    def kill(self):
        if self.poll() is None:
            os.kill(self.child, signal.SIGKILL)

    def wait(self):
        while self.poll() is None:
            time.sleep(0.001)
        return self.code


# --- a training

DRAWN = {}


class Noted:
    """An index stream that notes what it gave."""

    def __call__(self, steps):
        rows = super().__call__(steps)
        DRAWN.update(zip(np.atleast_1d(steps).tolist(), rows.reshape(-1, self.batch_size), strict=True))
        return rows


class NotedBatches(Noted, BatchIndices):
    pass


class NotedNeighbors(Noted, AnchorNeighborIndices):
    pass


class NotedStages(StagedBatches):
    def indices(self, epoch, batch):
        rows = super().indices(epoch, batch)
        DRAWN[epoch * STEPS + batch] = rows
        return rows


def network(loss, **compiled):
    layers = [keras.Input((12,)), keras.layers.GaussianNoise(0.1), keras.layers.Dense(16, "relu")]
    layers += [keras.layers.BatchNormalization(), keras.layers.Dropout(0.3)]
    model = keras_epos.EmbeddingModel(keras.Sequential(layers), 8)
    model.compile(keras.optimizers.Adam(0.01), loss=loss, jit_compile=IS_JAX, **compiled)
    return model


def memory():
    """A memory with random positives and negatives, a backbone with its own optimizer, and a rate that falls."""
    data = batches(ROWS, NotedBatches(LABELS, 4, 4), steps=STEPS, with_ids=True)
    inner = keras_epos.ContrastiveLoss(positives="random", negatives="random")
    loss = keras_epos.CrossBatchMemory(inner, size=64)
    recall = keras_epos.RecallAtK(ROWS[:48], LABELS[:48], k=(1,))
    plateau = keras.callbacks.ReduceLROnPlateau("val_recall@1", mode="max", patience=1, min_delta=0.2)
    return network(loss, backbone_optimizer=keras.optimizers.SGD(0.01, 0.9)), data, [recall, plateau]


def hierarchy():
    """A class tree that is built every second epoch, for the margins and for the batches, beside a memory."""
    indices = NotedNeighbors(LABELS, 2, 2, 4)
    near = keras_epos.CrossBatchMemory(keras_epos.ContrastiveLoss(), size=64, memory_positives=False)
    loss = keras_epos.WeightedSum({"tree": keras_epos.HierarchicalTripletLoss(12), "memory": near})
    rebuild = keras_epos.HierarchyRebuild(ROWS, LABELS, indices=indices, every=2)
    return network(loss), batches(ROWS, indices, steps=STEPS), [rebuild]


def curriculum():
    """Three stages, beside a memory."""
    shape = {"classes_per_batch": 4, "samples_per_class": 4, "steps": STEPS}
    data = NotedStages(ROWS, LABELS, np.arange(240) // 12 % 3, epochs=(2, 2, 2), **shape)
    loss = keras_epos.CrossBatchMemory(keras_epos.ContrastiveLoss(), size=64, memory_positives=False)
    return network(loss), data, [keras_epos.StageByEpoch(data)]


RECIPES = {"memory": memory, "hierarchy": hierarchy, "curriculum": curriculum}


class Begun(keras.callbacks.Callback):
    """Tells of the first step, and ends the process before a later one where it is to be ended."""

    def __init__(self, place, last):
        super().__init__()
        self.place, self.last, self.first_step = place, last, EPOCHS * STEPS

    def on_epoch_begin(self, epoch, logs=None):
        self.first_step = min(self.first_step, epoch * STEPS)
        if epoch == self.last:
            os._exit(0)

    def on_train_batch_end(self, batch, logs=None):
        (self.place / "begun").touch()


def train(name, place, last, callback):
    keras.utils.set_random_seed(0)
    model, data, callbacks = RECIPES[name]()
    if callback == "Resume":
        first = keras_epos.Resume(place / "run", data)
    else:
        first = keras.callbacks.BackupAndRestore(place / "run", double_checkpoint=True, delete_checkpoint=False)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        begun = Begun(place, last)
        history = model.fit(data, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=[first, *callbacks, begun])
    (place / "warnings").write_text("\n".join(str(one.message) for one in told))
    of_losses = {id(weight) for loss in model._loss_state for weight in getattr(loss, "weights", ())}
    # On JAX Keras looks at the first batch before all.
    steps = range(begun.first_step, EPOCHS * STEPS)
    found = {f"rows of a batch:{step}": DRAWN.get(step, np.empty(0, int)) for step in steps}
    for number, one in enumerate(model.variables):
        kind = "memory and tree" if id(one) in of_losses else "weights and seeds"
        found[f"{kind}:{number}"] = keras.ops.convert_to_numpy(one)
    for number, one in enumerate(model.optimizer.variables):
        found[f"optimizer:{number}"] = keras.ops.convert_to_numpy(one)
    found["history"] = np.array(json.dumps(history.history))
    np.savez(place / "unfinished.npz", **found)
    os.replace(place / "unfinished.npz", place / "result.npz")


if __name__ == "__main__":
    main()
