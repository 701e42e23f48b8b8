"""A training step by the number of classes: with all of them, and with a share that is sampled.

    python benchmarks/classes.py
    KERAS_BACKEND=jax python benchmarks/classes.py --classes 10000 100000 1000000 --sampled 0.1

ArcFace and Adam on one dense layer, so that nearly all of a step is the classes. Each figure is of a process that does
nothing else: the median step in seconds of the processor, all threads together, and the largest memory above that
before the model was made. Linux only.
"""

import json
import os
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import side_by_side


def one(case):
    """Measure one case in this process, and print its seconds and megabytes."""
    import keras
    import numpy as np

    import keras_epos

    class Clock(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seconds = []

        def on_train_batch_begin(self, batch, logs=None):
            self.start = time.process_time()

        def on_train_batch_end(self, batch, logs=None):
            float(logs["loss"])  # JAX hands out what is not computed yet.
            self.seconds.append(time.process_time() - self.start)

    generator = np.random.default_rng(0)
    number = case["batch"] * case["steps"]
    inputs = generator.normal(size=(number, 32)).astype("float32")
    labels = generator.integers(0, case["classes"], number)

    def fit(classes, sampled, steps):
        model = keras_epos.EmbeddingModel(keras.Sequential([keras.Input((32,)), keras.layers.Dense(64)]), case["dim"])
        model.compile("adam", loss=keras_epos.ArcFaceLoss(classes, sampled=sampled, seed=0))
        clock, count = Clock(), steps * case["batch"]
        targets = labels[:count] % classes
        model.fit(inputs[:count], targets, batch_size=case["batch"], shuffle=False, verbose=0, callbacks=[clock])
        return clock.seconds

    # What the backend needs for any number of classes.
    fit(4 * case["batch"], case["sampled"], 1)
    seconds = []
    side_by_side.peak_above(lambda: seconds.extend(fit(case["classes"], case["sampled"], case["steps"])))
    # The first steps compile, or touch memory for the first time.
    print(float(np.median(seconds[2:])))


def measured(case):
    """`(seconds, megabytes)` of a case, in a process of its own."""
    command = [sys.executable, sys.argv[0], "--one", json.dumps(case)]
    # Large blocks go back to the system when they are freed.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    megabytes, seconds = map(float, done.stdout.split()[-2:])
    return seconds, megabytes


def main():
    parser = side_by_side.parser(__doc__, rounds=1)
    parser.add_argument("--classes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--sampled", type=float, default=0.1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--one", type=json.loads, help="measure this case only")
    args = parser.parse_args()
    if args.one:
        one(args.one)
        return
    shared = {"batch": args.batch, "dim": args.dim, "steps": args.steps}
    found = {
        name: [measured({**shared, "classes": classes, "sampled": sampled}) for classes in args.classes]
        for name, sampled in {"all classes": None, f"sampled={args.sampled}": args.sampled}.items()
    }
    whole, part = found.values()
    rows = {f"MB, {name}": [megabytes for _, megabytes in values] for name, values in found.items()}
    rows["MB of proxies and Adam's moments"] = [3 * 4 * args.dim * classes / 2**20 for classes in args.classes]
    rows["step with all classes by sampled"] = [own[0] / other[0] for own, other in zip(whole, part, strict=True)]
    columns = [f"{classes:,}" for classes in args.classes]
    side_by_side.table(f"A step of {args.batch} samples, by the number of classes", columns, rows, unit="")


if __name__ == "__main__":
    main()
