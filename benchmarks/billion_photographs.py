"""Embed many photographs on a cluster of Ray whose workers are killed, and the program too: nothing lost or double.

    pip install -e ".[cpu,ray,lancedb]"
    python benchmarks/billion_photographs.py photos --images 110000 --kills 20

`photos` is a folder of images at any depth. They, and as many random crops of them as it takes (JPEG, quality 90), go
into Parquet files, one in a thousand cut off so that it cannot be read. An untrained network embeds all of them in one
process, and then two nodes of a cluster on this machine, of one actor each, do. Meanwhile an actor or the program that
called `keras_epos.scale.embed` is killed (SIGKILL) at random moments, and the program is started again. At the end the
ids must be those of the source, each once, and embeddings and reasons those of the one process. Then a `LanceGallery`
with an IVF-PQ index takes the shards and is searched. Linux only.
"""

import argparse
import collections
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# What Ray gives each of its workers, so that both do the same.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import keras
import numpy as np
import side_by_side

import keras_epos
from keras_epos.data.datasets._image_folder import image_files
from keras_epos.gallery import LanceGallery
from keras_epos.scale import Embedder, Shards, embed

A_FILE = 10_000
SECONDS = 300  # without a new shard: something is wrong


def make_source(photographs, folder, number):
    """Parquet files of `id` and `bytes`."""
    import pyarrow as pa
    from PIL import Image
    from pyarrow import parquet

    def contents_of(place):
        path = paths[place % len(paths)]
        contents = Path(path).read_bytes()
        if place >= len(paths):
            generator = np.random.default_rng(place)
            image = Image.open(io.BytesIO(contents)).convert("RGB")
            share = generator.uniform(0.4, 0.9)
            width, height = (max(1, round(share * side)) for side in image.size)
            left, top = generator.integers(0, (image.width - width + 1, image.height - height + 1)).tolist()
            written = io.BytesIO()
            image.crop((left, top, left + width, top + height)).save(written, "JPEG", quality=90)
            contents = written.getvalue()
        # Cut off within its header, since decoders fill in what is missing later.
        return contents[:40] if place % 1000 == 500 else contents

    folder.mkdir(parents=True, exist_ok=True)
    paths = image_files(photographs)
    for start in range(0, number, A_FILE):
        target = folder / f"{start:09d}.parquet"
        if not target.exists():
            places = range(start, min(start + A_FILE, number))
            ids = [f"{paths[place % len(paths)]} {place // len(paths)}" for place in places]
            table = pa.table({"id": ids, "bytes": [contents_of(place) for place in places]})
            parquet.write_table(table, target, row_group_size=512)


def make_model(path, size):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((size, size, 3)), keras.layers.Rescaling(1 / 127.5, -1)]
    for filters in (16, 32, 64):
        layers += [keras.layers.Conv2D(filters, 3, 2, use_bias=False), keras.layers.BatchNormalization()]
        layers += [keras.layers.Activation("relu")]
    keras_epos.EmbeddingModel(keras.Sequential([*layers, keras.layers.GlobalAveragePooling2D()]), 64).save(path)


def in_one_process(args, folder):
    """Ids, embeddings and errors of the source, and shares of the CPU time."""
    from pyarrow import parquet

    embedder = Embedder(folder / "model.keras")
    ids, rows, errors, used = [], [], [], 0
    for file in sorted((folder / "source").glob("*.parquet")):
        table = parquet.read_table(file)
        for start in range(0, len(table), args.part):
            some = table.slice(start, args.part)
            before = time.process_time()
            found = embedder({"id": some["id"].to_pylist(), "bytes": some["bytes"].to_pylist()})
            used += time.process_time() - before if ids else 0
            ids += found["id"]
            rows.append(found["embedding"])
            errors += list(found["error"])
    embedded, _ = embedder._loaded
    images = np.zeros((embedder.batch_size, *embedder.image_size, 3), np.float32)
    embedded(images)
    before = time.process_time()
    for _ in range(100):
        embedded(images)
    forward = (time.process_time() - before) / 100 / len(images)
    return ids, np.concatenate(rows), errors, used / (len(ids) - len(rows[0])), forward


def drive(address, folder, part):
    """What is killed and started again."""
    import ray

    ray.init(address=address, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    print(embed(folder / "source", Embedder(folder / "model.keras"), folder / "embedded", part=part, actors=2))


class Nodes:
    """A cluster of two nodes on this machine, of one CPU each."""

    def __enter__(self):
        from ray.cluster_utils import Cluster

        options = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
        self.cluster = Cluster(initialize_head=True, head_node_args={**options, "include_dashboard": False})
        self.cluster.add_node(**options)
        return self

    def __exit__(self, *_):
        self.cluster.shutdown()

    def actors(self):
        """The largest memory, in MB, of each actor of Ray Data on these nodes, and of no others, by its process id."""
        raylets = {info.process.pid for node in self.cluster.list_all_nodes() for info in node.all_processes["raylet"]}
        found = {}
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                text = status.read_text()
                parent, largest = (int(text.split(name)[1].split()[0]) for name in ("PPid:", "VmHWM:"))
                command = (status.parent / "cmdline").read_bytes()
            except (OSError, IndexError):
                continue
            if parent in raylets and command.startswith(b"ray::MapWorker"):
                found[int(status.parent.name)] = largest / 1024
        return found


def disturbed(args, folder):
    """Embed on a cluster, and kill; counts of what was killed and of what was left."""
    generator, counts = random.Random(args.seed), collections.Counter()
    shards = folder / "embedded" / "shards"

    def number(ending):
        return sum(one.name.endswith(ending) for one in os.scandir(shards)) if shards.exists() else 0

    with Nodes() as nodes:
        driver, is_done = None, False
        while not is_done:
            if driver is None:
                command = [sys.executable, sys.argv[0], str(folder), "--part", str(args.part)]
                log = open(folder / "driver.log", "w")  # noqa: SIM115
                driver = subprocess.Popen([*command, "--address", nodes.cluster.address], stdout=log, stderr=log)
                counts["calls"] += 1
            before, since = number(".parquet"), time.monotonic()
            # Until there is a new shard, and a moment longer.
            while driver.poll() is None and number(".parquet") == before:
                assert time.monotonic() - since < SECONDS, (folder / "driver.log").read_text()
                time.sleep(0.05)
            kills = counts["actors killed"] + counts["calls killed"]
            moment = time.monotonic() + (generator.uniform(0, args.moment) if kills < args.kills else SECONDS)
            while driver.poll() is None and time.monotonic() < moment:
                time.sleep(0.01)
            if driver.poll() is not None:
                assert driver.returncode == 0, (folder / "driver.log").read_text()
                is_done = True
            elif kills < args.kills:
                actors = nodes.actors()
                counts["largest MB of an actor"] = round(max([counts["largest MB of an actor"], *actors.values()]))
                if kills % 3 == 2:
                    driver.send_signal(signal.SIGKILL)
                    driver.wait()
                    driver = None
                    counts["calls killed"] += 1
                elif actors:
                    os.kill(generator.choice(sorted(actors)), signal.SIGKILL)
                    counts["actors killed"] += 1
                counts["half-written files seen"] += number(".unfinished")
    counts["half-written files at the end"] = number(".unfinished")
    return counts


def compare(folder, ids, rows, errors):
    """Of the shards and the one process: counts, and the largest difference of an entry."""
    shards = Shards(folder / "embedded")
    reasons, found = shards.unreadable(), {}
    num_rows = len(reasons)
    for own, embeddings, _ in shards:
        num_rows += len(own)
        found |= dict(zip(own.tolist(), embeddings, strict=True))
    read = [place for place, error in enumerate(errors) if error is None]
    expected = {ids[place]: error for place, error in enumerate(errors) if error is not None}
    difference = max(np.abs(found[ids[place]] - rows[place]).max() for place in read)
    lost = len(set(ids) - set(found) - set(reasons))
    print(f"{len(ids):,} images, {num_rows:,} rows in {len(shards.files)} shards")
    print(f"lost: {lost}; double: {num_rows - len(set(found) | set(reasons))}; strange: {len(set(found) - set(ids))}")
    print(f"unreadable: {len(reasons)}, with the reasons of one process: {reasons == expected}")
    print(f"largest difference from one process: {difference:.1e}")
    assert not lost
    assert num_rows == len(ids) == len(set(found) | set(reasons))
    assert reasons == expected
    assert difference <= 1e-6


def searched(folder):
    """An index over the shards, in a gallery that is asked by photographs."""
    shards, model = Shards(folder / "embedded"), keras.saving.load_model(folder / "model.keras")
    gallery = LanceGallery(folder / "gallery.lance", model)
    added = gallery.add_shards(shards)
    settings = {"num_partitions": max(1, min(round(added**0.5), added // 256)), "num_sub_vectors": 16}
    gallery.build_index("IVF_PQ", num_queries=0, **settings)
    ids, rows, _ = next(iter(shards))
    for gallery.nprobes in (1, 8, 32):
        recall = gallery.recall_of_engine(rows[:200], fingerprint=shards.fingerprint)
        itself = np.mean(gallery.search(rows, 1, fingerprint=shards.fingerprint).ids[:, 0] == ids)
        print(
            f"{added:,} rows, {settings}, {gallery.nprobes} cells: {recall:.3f} of the exact ten, {itself:.3f} itself"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--images", type=int, default=110_000)
    parser.add_argument("--size", type=int, default=64, help="side in pixels that the network takes")
    parser.add_argument("--part", type=int, default=512)
    parser.add_argument("--kills", type=int, default=20, help="every third of the program, the others of an actor")
    parser.add_argument("--moment", type=float, default=4, help="longest time from a new shard to the kill, in seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="to work in; by default one that is removed again")
    parser.add_argument("--address", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.address:
        drive(args.address, args.photographs, args.part)
        return
    with tempfile.TemporaryDirectory() as place:
        folder = (args.folder or Path(place)).absolute()
        make_source(args.photographs, folder / "source", args.images)
        make_model(folder / "model.keras", args.size)
        ids, rows, errors, whole, forward = in_one_process(args, folder)
        print(f"CPU time of an image in one process: {whole / forward:.1f} times that of the network alone", flush=True)
        counts = disturbed(args, folder)
        print(json.dumps(counts))
        compare(folder, ids, rows, errors)
        searched(folder)
        print(f"\n{side_by_side.machine()}")


if __name__ == "__main__":
    main()
