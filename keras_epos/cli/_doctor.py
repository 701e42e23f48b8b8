"""`keras-epos doctor`."""

import platform
from importlib.metadata import PackageNotFoundError, version

import click
import keras
import numpy as np

import keras_epos
from keras_epos import reference, retrieval
from keras_epos._gradient import gradient
from keras_epos.retrieval._product import significant_bits

PACKAGES = ("keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "numpy")
# What optional packages are for.
EXTRAS = {
    "matplotlib": "pictures of curves and neighbors",
    "scipy": "the annotations of Cars196",
    "scikit-learn": "clusters of CurriculumNet",
    "Pillow": "images on JAX and PyTorch",
    "tensorflow-datasets": "more data sets",
    "flask": "the page of `keras-epos browse`",
    "grain": "shards of photographs, and batches from worker processes",
    "pyarrow": "embeddings as .parquet files",
}
BITS = {24: "float32", 11: "TF32, 11 bits", 8: "bfloat16, 8 bits"}


@click.command(short_help="What is installed here, and whether it computes right.")
def doctor():
    """Say what is installed here, what it computes with, and whether it computes right."""
    line("keras_epos", keras_epos.__version__)
    line("Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}")
    for package in PACKAGES:
        if installed := version_of(package):
            line(package, installed)
    line("backend", keras.backend.backend())
    line("devices", ", ".join(devices()))
    line("dtype policy", keras.config.dtype_policy().name)
    line("matrix products", BITS[significant_bits(128, 64)])
    click.echo()
    for package, purpose in EXTRAS.items():
        line(package, version_of(package) or f"not installed: {purpose}")
    click.echo()
    differs = self_test()
    for name, difference in differs.items():
        line(name, "right" if difference < 1e-4 else f"WRONG: off by {difference:.1e}")
    if max(differs.values()) >= 1e-4:
        raise ValueError("What this machine computes is wrong. Try another version of the backend, or a CPU.")


def line(name, value):
    click.echo(f"{name:<22}{value}")


def version_of(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def devices():
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return [device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices()]
    if backend == "jax":
        import jax

        return [str(device) for device in jax.devices()]
    import torch

    return ["cpu", *(torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count()))]


def self_test():
    """How far a loss, its gradient and a search are from NumPy in float64, as shares of the largest number."""
    generator = np.random.default_rng(0)
    labels, rows = np.arange(64) // 4, generator.normal(size=(64, 32))
    loss = keras_epos.TripletLoss(1.0, positives="easy", negatives="hard", average_over="valid")
    terms = reference.triplet(labels, rows, 1.0, positives=reference.easy, negatives=reference.hard)
    slope = reference.gradient(terms, rows)
    unit = reference.unit(rows)
    nearest = (unit @ unit.T - 3 * np.eye(64)).max(axis=1)

    tensor = keras.ops.convert_to_tensor(rows, "float32")
    found = [loss(labels, tensor), gradient(lambda x: loss(labels, x), tensor)]
    value, found_slope = (keras.ops.convert_to_numpy(one) for one in found)
    return {
        "loss": abs(value / terms.mean() - 1),
        "gradient": np.abs(found_slope - slope).max() / np.abs(slope).max(),
        "search": np.abs(retrieval.nearest(rows, k=1)[0][:, 0] - nearest).max(),
    }
