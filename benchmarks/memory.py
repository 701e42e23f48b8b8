"""Memory that a loss and its gradient take above the embeddings, and evaluation above the rows it is given.

    python benchmarks/memory.py
    python benchmarks/memory.py --losses --retrieval 10000x128 100000x128 --runs verify re-ranking

Each figure is the largest of its process, which does nothing else. Linux only.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import side_by_side

LOSSES = {
    "easy triplet, semi-hard": ("EasyPositiveTripletLoss", {}),
    "easy multi-similarity": ("MultiSimilarityLoss", {"positives": "easy"}),
    "easy margin, distance-weighted": ("MarginLoss", {"positives": "easy"}),
}


# What is run on rows and labels.
RUNS = {
    "all measures": lambda of, rows, labels: of.evaluate(rows, labels, k=(1, 10, 100, 1000)),
    "whole lists": lambda of, rows, labels: of.evaluate(rows, labels, metrics="map"),
    "verify": lambda of, rows, labels: of.verify(rows, labels),
    "re-ranking": lambda of, rows, labels: of.evaluate(rows, labels, metrics="map", reranking=of.rerank(rows)),
}


def one(case):
    """Measure one case in this process."""
    import numpy as np

    import keras_epos

    if case["of"] == "retrieval":
        rows = np.random.default_rng(0).standard_normal((case["rows"], case["dim"]), dtype="float32")
        labels = np.arange(case["rows"]) // 10
        few = np.arange(64)
        keras_epos.retrieval.evaluate(rows[few], labels[few])
        side_by_side.peak_above(lambda: RUNS[case["run"]](keras_epos.retrieval, rows, labels))
        return
    import floors

    name, settings = LOSSES[case["of"]]
    labels, rows = floors.batch(case["rows"], case["dim"], 8)
    made = getattr(keras_epos, name)(**settings)
    # What TensorFlow needs for any batch, and its compiler for whatever it compiles first.
    floors.with_gradient(made, case["jit_compile"], labels[:1100], rows[:1100])()
    run = floors.with_gradient(made, case["jit_compile"], labels, rows)
    side_by_side.peak_above(run)


def main():
    parser = side_by_side.parser(__doc__, rounds=1)
    parser.add_argument("--losses", nargs="*", default=["4096x512", "16384x128"], help="rows x dimensions")
    parser.add_argument("--retrieval", nargs="*", default=["10000x128", "60000x128"], help="rows x dimensions")
    parser.add_argument("--of", nargs="+", choices=LOSSES, default=list(LOSSES)[:1])
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS)[:1], help="of retrieval")
    parser.add_argument("--one", type=json.loads, help="measure this case only")
    args = parser.parse_args()
    if args.one:
        one(args.one)
        return
    rows = {}
    for name in args.of if args.losses else ():
        for how, jit_compile in (("XLA", True), ("graph", False)):
            cases = [measured(size, of=name, jit_compile=jit_compile) for size in args.losses]
            rows[f"{name} ({how})"] = cases + [None] * len(args.retrieval)
    for run in args.runs if args.retrieval else ():
        cases = [measured(size, of="retrieval", run=run) for size in args.retrieval]
        rows[f"retrieval, {run}"] = [None] * len(args.losses) + cases
    side_by_side.table("MB above the inputs, at the peak", [*args.losses, *args.retrieval], rows, unit="")


def measured(size, **case):
    rows, dim = map(int, size.split("x"))
    return side_by_side.memory_of(sys.argv[0], {"rows": rows, "dim": dim, **case})


if __name__ == "__main__":
    main()
