"""What each protocol costs as a multiple of one product of all queries with all references, and whether it is right.

    python benchmarks/protocols.py --rows 50000 --dim 128
    python benchmarks/protocols.py --check 1000
    python benchmarks/protocols.py --gain

All rows are queries and references. The floor multiplies 256 float32 queries at a time with the gallery and keeps
nothing. With `--check` so many random small cases of each protocol, most with ties, are compared with loops in float64,
and the largest difference is printed (`pip install -e ".[test]"`). `--gain` prints what each after-processing does to
the mAP of pixels of the sample of Fashion-MNIST (150 references of a class) and of made embeddings (5 of a class).
"""

import sys
import warnings
from functools import partial
from pathlib import Path

import floors
import numpy as np
import retrieval as plain
import side_by_side
import tensorflow as tf

from keras_epos import calibrate, retrieval
from keras_epos.data.datasets import fashion_sample

ORACLES = Path(__file__).resolve().parents[1] / "tests" / "retrieval"
# What float32 results of `nearest` and of moved rows may differ by; everything else is float64.
FLOAT32 = 1e-6


def contestants(rows, labels):
    cameras = np.random.default_rng(2).integers(0, 6, len(rows))
    evaluate = partial(retrieval.evaluate, rows, labels)
    rates = (0.0001, 0.001, 0.01)

    def reranked():
        evaluate(metrics=("map", "recall"), reranking=retrieval.rerank(rows))

    return {
        "Recall@K (CMC, hit rate)": partial(evaluate, metrics="recall"),
        "MAP@R, R-precision": partial(evaluate, metrics=("map@r", "r_precision")),
        "mAP, mAP@100, NDCG@100, MRR": partial(evaluate, k=100, metrics=("map", "map@k", "ndcg@k", "mrr")),
        "re-identification: CMC, mAP, mINP": partial(evaluate, cameras=cameras, metrics=("recall", "map", "minp")),
        "mAP with an interval": partial(evaluate, metrics="map", interval=0.95),
        "grades: NDCG@100": partial(evaluate, k=100, metrics="ndcg@k", relevance=_grade),
        "verify: 3 rates, EER, intervals": partial(retrieval.verify, rows, labels, false_accept_rates=rates),
        "open set: DIR, AUROC, GAP": partial(retrieval.open_set, rows, labels),
        "calibrate": partial(calibrate, rows, labels, false_accept_rate=0.01),
        "nearest, k=10": partial(retrieval.nearest, rows, k=10),
        "inspect": partial(retrieval.inspect, rows, labels),
        "query expansion, k=10": partial(retrieval.expand_queries, rows, rows, k=10),
        "whitening": partial(retrieval.whiten, rows),
        "re-ranking and mAP": reranked,
    }


def _grade(labels, references):
    """2 for the same class, 1 for the next one."""
    return np.clip(2 - np.abs(labels[:, None] - references), 0, 2)


def measure(args):
    labels, rows = (np.asarray(part) for part in floors.batch(args.rows, args.dim, args.per_class))
    order = np.random.default_rng(1).permutation(args.rows)
    rows, labels = rows[order], labels[order]
    few = min(args.rows, 2000)
    for run in contestants(rows[:few], labels[:few]).values():
        run()
    floor = partial(plain.floor, tf.constant(rows), tf.constant(rows))
    floor()
    found, chosen = {name: [] for name in contestants(rows, labels)}, contestants(rows, labels)
    for _ in range(args.rounds):
        for name, run in chosen.items():
            before = side_by_side.clocks(floor)
            found[name].append((side_by_side.clocks(run), before))
    rows_of_table = {name: [side_by_side.median(turns), side_by_side.median(turns, 1)] for name, turns in found.items()}
    title = f"Multiples of all products of {args.rows:,} {args.dim}-d rows (median of {args.rounds})"
    side_by_side.table(title, ["time", "CPU time"], rows_of_table)


def check(number):
    sys.path.append(str(ORACLES))
    import protocol_cases

    print(f"\nLargest difference from loops in float64, {number:,} cases of each protocol\n")
    for name in protocol_cases.PROTOCOLS:
        off = protocol_cases.largest(name, number)
        print(f"{name:<36}{off:>10.1e}", flush=True)
        if not off < FLOAT32:
            sys.exit(f"{name} is wrong.")
    print(f"\n{side_by_side.machine()}")


def gain():
    sample = fashion_sample(label="fine")
    pixels, others = (split.inputs.reshape(len(split), -1) / 255.0 for split in (sample.test, sample.train))
    mean = others.mean(axis=0)
    labels, made = (np.asarray(part) for part in floors.batch(4000, 128, 10))
    for title, rows, of, train in (
        ("pixels, 10 classes", pixels - mean, sample.test.labels, others - mean),
        ("made embeddings, 200 classes", made[2000:], labels[2000:], made[:2000]),
    ):
        order = np.random.default_rng(0).permutation(len(rows))
        queries, gallery = np.split(order, [len(rows) // (4 if title.startswith("pixels") else 2)])
        print(f"\nmAP of {title}, without and with after-processing (interval of 95 % of the difference)\n")
        for name, scores in _processed(rows[queries], of[queries], rows[gallery], of[gallery], train):
            if name is None:
                plain = scores
                continue
            found = retrieval.compare(plain, scores, of[queries])["map"]
            low, high = found.interval
            means = f"{found.first:>7.3f}{found.second:>7.3f}{found.difference:>+8.3f}"
            print(f"{name:<36}{means} ({low:+.3f} to {high:+.3f})")
    print(f"\n{side_by_side.machine()}")


def _processed(queries, labels, gallery, gallery_labels, train):
    """Yields the name of an after-processing and what `evaluate` says of it; none first."""

    def evaluate(left, right, **named):
        return retrieval.evaluate(left, labels, right, gallery_labels, metrics="map", per_query=True, **named)

    yield None, evaluate(queries, gallery)
    yield "query expansion, k=3", evaluate(retrieval.expand_queries(queries, gallery, k=3), gallery)
    both = retrieval.augment_gallery(gallery, k=3)
    yield "and augmentation, k=3", evaluate(retrieval.expand_queries(queries, both, k=3), both)
    whitening = retrieval.whiten(train, dim=64)
    yield "whitening to 64 dimensions", evaluate(whitening(queries), whitening(gallery))
    for k1, k2 in ((20, 6), (6, 3)):
        after = retrieval.rerank(queries, gallery, k1=k1, k2=k2)
        yield f"re-ranking, k1={k1}, k2={k2}", evaluate(queries, gallery, reranking=after)


def main():
    parser = side_by_side.parser(__doc__, rounds=3)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--per-class", type=int, default=10)
    parser.add_argument("--check", type=int, metavar="N", help="compare N random cases of each protocol with loops")
    parser.add_argument("--gain", action="store_true", help="what each after-processing does to the mAP")
    args = parser.parse_args()
    # Small cases have few classes.
    warnings.filterwarnings("ignore", message=".*intervals come from a bootstrap|Only .* classes play")
    if args.check:
        check(args.check)
    elif args.gain:
        gain()
    else:
        measure(args)


if __name__ == "__main__":
    main()
