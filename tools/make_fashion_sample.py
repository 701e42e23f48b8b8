"""Make the embedded keras_epos/data/fashion_sample.npz from the official Fashion-MNIST files.

    apt-get install dataset-fashion-mnist   # or take the files of zalandoresearch/fashion-mnist
    python tools/make_fashion_sample.py

It draws 400 images of each of the ten classes from the training file by a fixed seed. The first
half of the rows is for training and the second for testing, 200 of each class in both, in random
order. The arrays come out the same everywhere, and the file too, byte for byte, with the same
version of zlib.
"""

import argparse
import gzip
import hashlib
from pathlib import Path

import numpy as np

SEED = 2020
IMAGES_PER_CLASS = 400
PACKAGE = Path(__file__).resolve().parent.parent / "keras_epos" / "data"
NOTICE = """\
fashion_sample.npz holds 4,000 images and labels from Fashion-MNIST
(https://github.com/zalandoresearch/fashion-mnist; Han Xiao, Kashif Rasul, Roland Vollgraf, 2017),
chosen by tools/make_fashion_sample.py, under this license:

The MIT License (MIT)

Copyright (c) 2017 Zalando SE, https://tech.zalando.com

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute,
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial
portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES
OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def choose(images, labels):
    """Return the chosen images, uint8 `(4000, 28, 28)`, and labels, the training half first."""
    random = np.random.RandomState(SEED)  # its stream never changes, unlike that of `default_rng`
    chosen = [random.permutation(np.flatnonzero(labels == c))[:IMAGES_PER_CLASS] for c in range(10)]
    halves = np.split(np.stack(chosen), 2, axis=1)
    rows = np.concatenate([random.permutation(half.reshape(-1)) for half in halves])
    return images[rows], labels[rows]


def read_idx(path, header_bytes, shape):
    """Return an official idx file as a uint8 array."""
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=header_bytes).reshape(shape)


def main():
    """Write the file and the notice, and print the SHA-256."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--out", type=Path, default=PACKAGE)
    arguments = parser.parse_args()
    images = read_idx(arguments.source / "train-images-idx3-ubyte.gz", 16, (-1, 28, 28))
    labels = read_idx(arguments.source / "train-labels-idx1-ubyte.gz", 8, (-1,))
    images, labels = choose(images, labels)
    out = arguments.out / "fashion_sample.npz"
    np.savez_compressed(out, images=images, labels=labels)
    (arguments.out / "fashion_sample.LICENSE").write_text(NOTICE, encoding="utf-8")
    print(f"{out}: {out.stat().st_size:,} bytes, {hashlib.sha256(out.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
