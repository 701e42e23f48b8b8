"""Changed and broken images, sent to a served model: none may end it, and none may change another's answer.

    python benchmarks/fuzz_images.py --inputs 100000

Small images are encoded in every format, and then changed: bytes are set, flipped, cut out, repeated, taken from
another file. Batches of them go through `embed_bytes`, `search_bytes` and `match_bytes` of a tiny export. Whatever a
batch calls valid is sent alone once more and must get the same embedding; search and match must call the same images
valid, and answer as they do for the embedding. What comes in batch n depends on the seed and n alone, so that a batch
that ends the process, the last one named, can be sent again by `--first n`.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import collections
import sys
import tempfile

import numpy as np
import side_by_side
import tensorflow as tf
from odd_images import encoded, export
from PIL import Image

SIDE = 4


def seeds(generator):
    """Real files of every format, some dozens of bytes to a kilobyte."""
    files = {}
    for number, (height, width) in enumerate(((1, 1), (7, 5), (16, 24))):
        image = Image.fromarray(generator.integers(0, 256, (height, width, 3), np.uint8))
        alpha, palette, tags = image.convert("RGBA"), image.quantize(16), Image.Exif()
        tags[0x112] = 6
        moving = {"save_all": True, "append_images": [image.rotate(180)]}
        for name, one, form, options in (
            ("jpeg", image, "JPEG", {}),
            ("jpeg, progressive", image, "JPEG", {"progressive": True}),
            ("jpeg, gray", image.convert("L"), "JPEG", {}),
            ("jpeg, CMYK", image.convert("CMYK"), "JPEG", {}),
            ("jpeg, EXIF", image, "JPEG", {"exif": tags}),
            ("png", image, "PNG", {}),
            ("png, alpha", alpha, "PNG", {}),
            ("png, palette", palette, "PNG", {}),
            ("png, EXIF", image, "PNG", {"exif": tags}),
            ("gif", palette, "GIF", {}),
            ("gif, animated", image, "GIF", moving),
            ("bmp", image, "BMP", {}),
            ("bmp, alpha", alpha, "BMP", {}),
            ("bmp, palette", palette, "BMP", {}),
            ("webp", image, "WEBP", {}),
            ("webp, lossless", alpha, "WEBP", {"lossless": True, "exif": tags}),
            ("webp, animated", image, "WEBP", moving),
        ):
            files[f"{name} {number}"] = encoded(one, form, **options)
    return files


def mutated(contents, others, generator):
    """`contents` after one to four changes; one in ten stays as it is."""
    data = bytearray(contents)
    for _ in range(0 if generator.random() < 0.1 else generator.integers(1, 5)):
        kind, size = generator.integers(7), len(data)
        # Half of the changes are in the head, where sizes and lengths stand.
        place = int(generator.integers(min(size, 64) if generator.random() < 0.5 else size)) if size else 0
        length = int(generator.integers(1, 17))
        if kind == 0:
            data[place : place + 1] = generator.bytes(1)
        elif kind == 1 and size:
            data[place] ^= 1 << int(generator.integers(8))
        elif kind == 2:
            data[place : place + length] = bytes([generator.choice([0, 1, 127, 128, 255])]) * length
        elif kind == 3:
            del data[place : place + length]
        elif kind == 4:
            data[place:place] = data[place : place + length]
        elif kind == 5:
            del data[place:]
        else:
            other = others[generator.integers(len(others))]
            start = int(generator.integers(len(other)))
            data[place : place + length] = other[start : start + length]
    return bytes(data)


def same(found, expected):
    return np.array_equal(found, expected, equal_nan=found.dtype.kind == "f")


def check(signatures, files):
    """Which of `files` are valid. Raises `RuntimeError` where an answer is not that of the image alone."""
    batch = tf.constant(files)
    answer = signatures["embed_bytes"](image_bytes=batch)
    embedding, valid = answer["embedding"], answer["valid"].numpy()
    for row in np.flatnonzero(valid):
        alone = signatures["embed_bytes"](image_bytes=batch[row : row + 1])
        if not alone["valid"][0] or not same(alone["embedding"][0].numpy(), embedding[row].numpy()):
            raise RuntimeError(f"Among others it got another embedding than alone: {files[row]!r}")
    if not np.isnan(embedding.numpy()[~valid]).all() or np.isnan(embedding.numpy()[valid]).any():
        raise RuntimeError("Rows of NaN must be those that are not valid.")
    for name, k in (("search", {"k": tf.constant(2)}), ("match", {})):
        found = signatures[f"{name}_bytes"](image_bytes=batch, **k)
        expected = signatures[name](embedding=embedding, **k)
        for key in expected:
            if not same(found[key].numpy(), expected[key].numpy()):
                raise RuntimeError(f"{name}_bytes answered otherwise than {name} for the embeddings: {key}")
    return valid


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--first", type=int, default=0, help="number of the first batch")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    files = seeds(np.random.default_rng(args.seed))
    names, contents = list(files), list(files.values())
    tried, valid = collections.Counter(), collections.Counter()
    pictures = np.random.default_rng(args.seed).integers(0, 256, (5, SIDE, SIDE, 3))
    with tempfile.TemporaryDirectory() as folder:
        signatures = export(folder, pictures, SIDE)
        for number in range(args.first, args.first + -(-args.inputs // args.batch)):
            size = min(args.batch, args.inputs - (number - args.first) * args.batch)
            generator = np.random.default_rng((args.seed, number))
            chosen = generator.integers(len(contents), size=size)
            print(f"\rbatch {number}", end="", file=sys.stderr, flush=True)
            found = check(signatures, [mutated(contents[one], contents, generator) for one in chosen])
            for one, is_valid in zip(chosen, found, strict=True):
                form = names[one].split(",")[0].split(" ")[0]
                tried[form] += 1
                valid[form] += bool(is_valid)
    print(f"\n\n{'':<8}{'tried':>10}{'valid':>10}")
    for form in sorted(tried):
        print(f"{form:<8}{tried[form]:>10,}{valid[form]:>10,}")
    print(f"{'all':<8}{tried.total():>10,}{valid.total():>10,}")
    print("\nNo crash. Every valid image got the answer that it gets alone.")
    print(f"\n{side_by_side.machine()}")


if __name__ == "__main__":
    main()
