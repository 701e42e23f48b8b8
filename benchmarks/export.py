"""What the formats of `keras_epos.export` change: embeddings, Recall@1 and size, each in its own engine.

    pip install -e ".[cpu,onnx,openvino,litert]"
    python benchmarks/export.py
    python benchmarks/export.py --backbone backbone.keras --cars data/cars196

Without a backbone a small convolutional network, without cars the clothes of `fashion_sample`. The features are
taken as they are, without a head.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import tempfile
from pathlib import Path

import keras
import numpy as np
import side_by_side

import keras_epos


def network(shape):
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Conv2D(16, 3, strides=2, activation="relu"),
            layers.Conv2D(32, 3, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
        ]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", help="a .keras file, for photographs of --size")
    parser.add_argument("--cars", help="the folder of Cars196")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--classes", type=int, default=50, help="the first so many test classes")
    parser.add_argument("--per-class", type=int, default=4, help="the first so many photographs of each")
    parser.add_argument("--formats", nargs="+", default=["savedmodel", "onnx", "openvino", "litert"])
    args = parser.parse_args()
    keras.utils.set_random_seed(0)
    test = keras_epos.datasets.cars196(args.cars).test if args.cars else keras_epos.datasets.fashion_sample().test
    classes = np.unique(test.labels)[: args.classes]
    rows = np.concatenate([np.flatnonzero(test.labels == label)[: args.per_class] for label in classes])
    shape = (args.size, args.size, 3) if args.cars else (*test.inputs.shape[1:3], 1)
    images = [test.inputs[row] for row in rows] if args.cars else test.inputs[rows].reshape(-1, *shape)
    model = keras.saving.load_model(args.backbone, compile=False) if args.backbone else network(shape)
    model(np.zeros((1, *shape), np.float32))
    with tempfile.TemporaryDirectory() as folder:
        report = keras_epos.export(
            model,
            Path(folder) / "model",
            args.formats,
            image_size=args.size if args.cars else None,
            photographs=images,
            labels=test.labels[rows],
        )
    print()
    print(report)
    print(f"\n{len(rows)} photographs of {len(classes)} classes. {side_by_side.machine()}")


if __name__ == "__main__":
    main()
