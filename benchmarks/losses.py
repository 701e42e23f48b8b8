"""Time of a loss and its gradient, as a ratio to the one matrix product that no pair loss can do without.

    python benchmarks/losses.py --batch 128 512 1024

All contestants run interleaved in one process, several rounds, and the median of the ratios is printed: machines
differ and are noisy, ratios less so. pytorch-metric-learning takes part where it is installed
(`pip install pytorch-metric-learning torch`).
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

import keras_epos


def ours(loss, jit_compile):
    @tf.function(jit_compile=jit_compile)
    def value_and_gradient(labels, embeddings):
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            value = loss(labels, embeddings)
        return value, tape.gradient(value, embeddings)

    def run(labels, embeddings):
        value, gradient = value_and_gradient(labels, embeddings)
        return gradient.numpy()[0, 0] + value.numpy()

    return run


def floor(labels, embeddings):
    return tf.matmul(embeddings, embeddings, transpose_b=True).numpy()[0, 0]


def contestants():
    easy = {
        "easy triplet, semi-hard": keras_epos.EasyPositiveTripletLoss(),
        "easy triplet, hard": keras_epos.EasyPositiveTripletLoss(negatives="hard"),
        "all-positive triplet, semi-hard": keras_epos.TripletLoss(),
        "easy margin, distance-weighted": keras_epos.MarginLoss(positives="easy"),
        "multi-similarity": keras_epos.MultiSimilarityLoss(),
        "easy multi-similarity": keras_epos.MultiSimilarityLoss(positives="easy"),
        "easy NT-Xent": keras_epos.NTXentLoss(positives="easy"),
        "contrastive": keras_epos.ContrastiveLoss(),
    }
    runs = {}
    for name, loss in easy.items():
        runs[name] = ours(loss, False)
        runs[f"{name} (XLA)"] = ours(loss, True)
    return runs | peers()


def peers():
    try:
        import torch
        from pytorch_metric_learning import losses, miners
    except ImportError:
        return {}

    def torch_run(loss, miner):
        def run(labels, embeddings):
            rows = torch.from_numpy(embeddings.numpy()).requires_grad_()
            targets = torch.from_numpy(labels.numpy())
            loss(rows, targets, miner(rows, targets)).backward()
            return rows.grad[0, 0].item()

        return run

    return {
        "PML easy triplet, semi-hard": torch_run(
            losses.TripletMarginLoss(margin=0.2), miners.BatchEasyHardMiner("easy", "semihard")
        ),
        "PML multi-similarity": torch_run(losses.MultiSimilarityLoss(2, 40, 0.5), miners.MultiSimilarityMiner(0.1)),
    }


def measure(runs, labels, embeddings, rounds):
    """Median over rounds of the time of each run divided by that of the floor beside it."""
    ratios = {name: [] for name in runs}
    for run in (*runs.values(), floor):
        run(labels, embeddings)
        run(labels, embeddings)
    for _ in range(rounds):
        for name, run in runs.items():
            times = []
            for contestant in (floor, run):
                start = time.perf_counter()
                contestant(labels, embeddings)
                times.append(time.perf_counter() - start)
            ratios[name].append(times[1] / times[0])
    return {name: statistics.median(values) for name, values in ratios.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[128, 512, 1024])
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--per-class", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    generator = np.random.default_rng(0)
    table = {}
    for batch in args.batch:
        embeddings = tf.constant(generator.normal(size=(batch, args.dim)).astype("float32"))
        labels = tf.constant(np.arange(batch) // args.per_class)
        for name, ratio in measure(contestants(), labels, embeddings, args.rounds).items():
            table.setdefault(name, []).append(ratio)
    print(f"Loss and gradient, as multiples of one B x B matrix product of {args.dim}-d rows ({args.rounds} rounds)\n")
    print(f"{'':<42}" + "".join(f"{f'B={batch}':>9}" for batch in args.batch))
    for name, ratios in table.items():
        print(f"{name:<42}" + "".join(f"{ratio:>8.1f}x" for ratio in ratios))


if __name__ == "__main__":
    main()
