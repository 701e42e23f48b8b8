"""Whether training on several devices is training on one: every loss, the same batches, the largest difference.

    python benchmarks/devices.py --devices 2 4 8
    KERAS_BACKEND=jax python benchmarks/devices.py --devices 2 4 8
    python benchmarks/devices.py --devices 1 2 --micro-batch 7 --losses multi_similarity memory
    KERAS_BACKEND=jax python benchmarks/devices.py --devices 2 4 --split-proxies --losses arc_face "sampled classes"

Each number of devices is a process of its own, whose one CPU is cut into so many: TensorFlow trains under a
`MirroredStrategy`, JAX under `keras.distribution.DataParallel`. Ten steps of SGD with clipped gradients; under
TensorFlow every second batch does not divide evenly. Differences are of float32: rounding is some 1e-7, and a step
makes more of it where a loss is steep. With `--micro-batch` the devices embed so many samples at a time, and are
compared with one that embeds the whole batch. With `--split-proxies` each device has a part of the rows of the proxies,
and the whole batch.
"""

import argparse
import inspect
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

CLASSES = 4
DIM = 8
STEPS = 10
# So that values of every loss stay below 100, whose float32 has no more digits than these tell.
SETTINGS = {"mag_face": {"bounds": (0.5, 50.0)}}


def losses():
    """`{name: function that makes it}`: every loss, and what else keeps or draws something."""
    import keras_epos
    from keras_epos.losses import LOSSES

    def plain(name):
        settings = dict(SETTINGS.get(name, {}))
        parameters = inspect.signature(LOSSES[name].__init__).parameters
        if "num_classes" in parameters and name != "margin":
            settings["num_classes"] = CLASSES
        return keras_epos.losses.get(name, **settings)

    random = keras_epos.mining.Random
    return {name: lambda name=name: plain(name) for name in sorted(LOSSES)} | {
        "hierarchical_triplet": lambda: keras_epos.HierarchicalTripletLoss(CLASSES),
        "random pairs": lambda: keras_epos.TripletLoss(positives=random(seed=1), negatives=random(seed=2)),
        "memory": lambda: keras_epos.CrossBatchMemory(
            keras_epos.MultiSimilarityLoss(positives="easy"), 100, memory_positives=False
        ),
        "sampled classes": lambda: keras_epos.ArcFaceLoss(2 * CLASSES, scale=16.0, sampled=0.7, seed=1),
        "matryoshka": lambda: keras_epos.Matryoshka("multi_similarity", (2, 4)),
        "sum with penalty": lambda: keras_epos.WeightedSum(
            {"triplet": keras_epos.EasyPositiveTripletLoss(), "spread": keras_epos.KoLeoPenalty()}
        ),
    }


def train(make, scope, sizes, micro_batch=None):
    """Losses of the steps and all weights after them."""
    import keras

    import keras_epos

    generator = np.random.default_rng(2)
    # A batch after another: Keras reads its own arrays in one size.
    batches = [
        (generator.normal(size=(size, 6)).astype("float32"), np.arange(size) % CLASSES, np.linspace(0.5, 2, size))
        for size in sizes
    ]
    with scope():
        keras.utils.set_random_seed(0)
        loss = make()
        lengths = isinstance(loss, (keras_epos.AdaFaceLoss, keras_epos.MagFaceLoss, keras_epos.NPairsLoss))
        backbone = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5, activation="tanh")])
        model = keras_epos.EmbeddingModel(backbone, DIM, normalize=not lengths)
        model.compile(keras.optimizers.SGD(0.05, global_clipnorm=1.0), loss=loss, micro_batch=micro_batch)
        if isinstance(loss, keras_epos.HierarchicalTripletLoss):
            rows = np.random.default_rng(1).normal(size=(16, DIM))
            loss.set_hierarchy(keras_epos.hierarchy.ClassHierarchy.from_embeddings(rows, np.arange(16) % CLASSES))
    values = [
        model.fit(x, y, sample_weight=weight, batch_size=len(x), shuffle=False, verbose=0).history["loss"][0]
        for _ in range(STEPS // len(batches))
        for x, y, weight in batches
    ]
    weights = [*model.trainable_weights, *(one.proxies for one in loss.sampled_losses())]
    return np.array(values), np.concatenate([np.asarray(weight).ravel() for weight in weights])


def run(number, names, path, micro_batch, split_proxies):
    """Train with each loss on so many devices, and write what came out to a file."""
    import contextlib

    import keras

    scope, sizes = contextlib.nullcontext, (40, 40)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        sizes = (40, 35)
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * number)
        # One strategy for all: collective operations of a second one in the same process would meet those of the first.
        if number > 1:
            scope = tf.distribute.MirroredStrategy([f"CPU:{device}" for device in range(number)]).scope
    elif number > 1 and split_proxies:
        mesh = keras.distribution.DeviceMesh((1, number), ("batch", "model"))
        layout = keras.distribution.LayoutMap(mesh)
        layout["proxies"] = ("model", None)
        keras.distribution.set_distribution(
            keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch", auto_shard_dataset=False)
        )
    elif number > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    made = losses()
    found = {}
    for name in names:
        found[f"{name}/values"], found[f"{name}/weights"] = train(made[name], scope, sizes, micro_batch)
    np.savez(path, **found)


def on(number, names, folder, micro_batch=None, split_proxies=False):
    """What `run` finds, in a process of its own."""
    path = Path(folder) / f"{number} {micro_batch}.npz"
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={number}"
    command = [sys.executable, __file__, "--child", str(number), str(path), "--losses", *names]
    command += [] if micro_batch is None else ["--micro-batch", str(micro_batch)]
    command += ["--split-proxies"] if split_proxies else []
    done = subprocess.run(command, env={**os.environ, "XLA_FLAGS": flags}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return np.load(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, nargs="+", default=[2, 4, 8], metavar="N")
    parser.add_argument("--losses", nargs="+", metavar="NAME", help="only these, as the table names them")
    parser.add_argument("--micro-batch", type=int, metavar="N", help="samples that each device embeds at a time")
    parser.add_argument(
        "--split-proxies", action="store_true", help="the rows of proxies over the devices, and not the batch (JAX)"
    )
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    known = list(losses())
    if unknown := set(args.losses or ()) - set(known):
        parser.error(f"`--losses` must be of {', '.join(known)}. Received: {', '.join(sorted(unknown))}")
    if args.split_proxies and os.environ.get("KERAS_BACKEND") != "jax":
        parser.error("`--split-proxies` must be given with KERAS_BACKEND=jax, the only backend that can.")
    names = args.losses or known
    if args.child:
        run(int(args.child[0]), names, args.child[1], args.micro_batch, args.split_proxies)
        return
    import keras
    import side_by_side

    with tempfile.TemporaryDirectory() as folder:
        one = on(1, names, folder)
        several = [on(number, names, folder, args.micro_batch, args.split_proxies) for number in args.devices]
        width = max(map(len, names))
        print(f"\nLargest difference from one device, of the loss and of a weight, in {STEPS} steps\n")
        print(" " * width + "".join(f"{f'{number} devices':>20}" for number in args.devices))
        for name in names:
            cells = [
                " ".join(
                    f"{np.max(np.abs(other[f'{name}/{what}'] - one[f'{name}/{what}'])):9.1e}"
                    for what in ("values", "weights")
                )
                for other in several
            ]
            print(f"{name:{width}}" + "".join(f"{cell:>20}" for cell in cells))
    print(f"\n{keras.backend.backend()} on {side_by_side.machine()}")


if __name__ == "__main__":
    main()
