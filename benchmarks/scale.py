"""What training on several devices costs beside one: what they send each other, and its share of a step.

    python benchmarks/scale.py --devices 1 2 4 8
    KERAS_BACKEND=jax python benchmarks/scale.py --devices 1 2 4 8
    python benchmarks/scale.py --devices 1 2 4 8 --backbone ResNet50 --image-size 224 --batch 64     # on GPUs

`--batch` is that of each device. Takes the GPUs of the machine, if there are so many; else its CPU is cut into logical
devices, which are no faster together than one, so that images a second tell nothing and are left out. Each number of
devices is a process of its own.

Bytes are those of the collective operations in the compiled step, counted as a ring sends them: of n bytes on each of R
devices, 2 (R - 1) / R * n for a sum (all-reduce), (R - 1) / R * n for what all get of all (all-gather, n bytes in
total). The share of a step is the time of these operations alone, with tensors of the same sizes, by that of the step.
"""

import argparse
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

DIM = 512
PER_CLASS = 4
COLLECTIVE = re.compile(r"= (.*?) (all-reduce|all-gather|reduce-scatter|collective-permute|all-to-all)(?:-start)?\(")
SHAPE = re.compile(r"[a-z]+(\d+)\[([\d,]*)\]")


def batch(args, number):
    generator = np.random.default_rng(0)
    size = args.batch * number
    images = generator.uniform(0, 255, (size, args.image_size, args.image_size, 3)).astype("float32")
    return images, np.arange(size) // PER_CLASS


def model(args):
    import keras

    import keras_epos

    shape = (args.image_size, args.image_size, 3)
    if args.backbone:
        backbone = getattr(keras.applications, args.backbone)(include_top=False, weights=None, input_shape=shape)
    else:
        backbone = keras.Sequential([keras.Input(shape)])
        for filters in (32, 64, 128, 256):
            backbone.add(keras.layers.Conv2D(filters, 3, strides=2, activation="relu"))
    made = keras_epos.EmbeddingModel(backbone, DIM)
    made.compile("adam", loss=keras_epos.EasyPositiveTripletLoss())
    return made


def seconds(run, steps):
    """Median time of a call."""
    for _ in range(2):
        run()
    found = []
    for _ in range(steps):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def on_tensorflow(args, number):
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if len(gpus) >= number:
        devices = [f"GPU:{place}" for place in range(number)]
    else:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * number)
        devices = [f"CPU:{place}" for place in range(number)]
    strategy = tf.distribute.MirroredStrategy(devices)
    images, labels = batch(args, number)
    with strategy.scope():
        made = model(args)
        made.fit(images, labels, batch_size=len(labels), epochs=1, verbose=0, shuffle=False)
    data = tf.data.Dataset.from_tensors((images, labels))
    data = next(iter(strategy.experimental_distribute_dataset(data)))
    step = tf.function(lambda data: strategy.run(made.train_step, args=(data,)))
    graph = step.get_concrete_function(data).graph
    graphs = [graph, *(function.graph for function in graph._functions.values() if hasattr(function, "graph"))]
    found = [operation for one in graphs for operation in one.get_operations() if "Collective" in operation.type]
    sums = [operation.inputs[0].shape for operation in found if operation.type.startswith("CollectiveReduce")]
    # What is not known before it runs are rows of the batch; labels and embeddings are gathered, and the slope of these
    # is summed, once on each device.
    gradients = sum(shape.num_elements() for shape in sums if shape.is_fully_defined()) // number if number > 1 else 0
    rows = len(labels) * DIM
    sent = {"gradients": ("sum", 4 * gradients), "embeddings": ("gather", 4 * rows), "slopes": ("sum", 4 * rows)}

    @tf.function
    def alone():
        def run():
            context = tf.distribute.get_replica_context()
            summed = context.all_reduce(tf.distribute.ReduceOp.SUM, [tf.random.uniform([gradients])])
            gathered = context.all_gather(tf.random.uniform([args.batch, DIM]), axis=0)
            return summed[0][0] + context.all_reduce(tf.distribute.ReduceOp.SUM, [gathered])[0][0, 0]

        return strategy.run(run)

    whole = seconds(lambda: step(data), args.steps)
    part = seconds(alone, args.steps) if number > 1 else 0.0
    return {"step": whole, "sent": sent, "share": part / whole, "gpu": len(gpus) >= number}


def on_jax(args, number):
    import jax
    import keras

    devices = jax.devices()[:number]
    if number > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    images, labels = batch(args, number)
    made = model(args)
    whole = seconds(lambda: made.train_on_batch(images, labels), args.steps)
    sent = {}
    if number > 1:
        # The last program of this name is the step; what a device has of each tensor stands in it.
        programs = sorted(Path(args.dump).glob("*train_step*after_optimizations.txt"))
        for shapes, kind in COLLECTIVE.findall(programs[-1].read_text()):
            size = sum(
                int(bits) // 8 * math.prod(map(int, filter(None, sides.split(","))))
                for bits, sides in SHAPE.findall(shapes)
            )
            how = "sum" if kind == "all-reduce" else "gather"
            sent[kind] = (how, sent.get(kind, (how, 0))[1] + size)
    part = 0.0
    if sent:
        mesh = jax.sharding.Mesh(devices, ("devices",))
        spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("devices"))
        everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        total = sum(size for _, size in sent.values()) // 4
        values = jax.device_put(np.zeros((number, total), "float32"), spread)
        alone = jax.jit(lambda values: values.sum(axis=0), out_shardings=everywhere)
        part = seconds(lambda: jax.block_until_ready(alone(values)), args.steps)
    return {"step": whole, "sent": sent, "share": part / whole, "gpu": devices[0].platform == "gpu"}


def through_a_ring(sent, number):
    """MB that each device sends in a step."""
    share = (number - 1) / number
    return {what: (2 if how == "sum" else 1) * share * size / 1e6 for what, (how, size) in sent.items()}


def on(args, number):
    """What is found with so many devices, in a process of its own."""
    with tempfile.TemporaryDirectory() as dump:
        flags = [os.environ.get("XLA_FLAGS", ""), f"--xla_force_host_platform_device_count={number}"]
        flags += [f"--xla_dump_to={dump}", "--xla_dump_hlo_as_text"]
        command = [sys.executable, __file__, *sys.argv[1:], "--child", str(number), "--dump", dump]
        done = subprocess.run(command, env={**os.environ, "XLA_FLAGS": " ".join(flags)}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4, 8], metavar="N")
    parser.add_argument("--batch", type=int, default=32, help="images of each device")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--backbone", help="of keras.applications; without: four convolutions")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--dump", help=argparse.SUPPRESS)
    args = parser.parse_args()
    import keras

    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax"):
        parser.error(f"the backend must be tensorflow or jax. Received: {backend}")
    if args.child:
        print(json.dumps((on_tensorflow if backend == "tensorflow" else on_jax)(args, args.child)))
        return
    import side_by_side

    found = {number: on(args, number) for number in args.devices}
    one = found.get(1)
    print(f"\n{args.batch} images of {args.image_size} x {args.image_size} on each device\n")
    print(f"{'devices':>8}{'MB sent a step':>16}{'share of the step':>19}{'efficiency':>12}   of it")
    for number, run in found.items():
        parts = through_a_ring(run["sent"], number)
        efficiency = f"{one['step'] / run['step']:12.0%}" if one and run["gpu"] else f"{'-':>12}"
        what = ", ".join(f"{name} {size:.2f}" for name, size in parts.items())
        print(f"{number:8}{sum(parts.values()):16.2f}{run['share']:19.1%}{efficiency}   {what if number > 1 else ''}")
    print(f"\n{backend} on {side_by_side.machine()}")


if __name__ == "__main__":
    main()
