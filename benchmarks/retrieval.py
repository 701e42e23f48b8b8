"""Time of evaluation and of exact search, as a ratio to the products of all queries with all references.

    python benchmarks/retrieval.py --rows 60000 --dim 128
    python benchmarks/retrieval.py --rows 10000 100000 1000000 --queries 2048 --plot retrieval.png

All rows are references, and queries too unless `--queries` says how many of them. The floor multiplies 256 float32
queries at a time with the gallery (`tf.matmul` with `transpose_b=True`) and keeps nothing. faiss takes part where it is
installed (`pip install faiss-cpu`): it finds neighbors in float32 and does not settle ties, which the library does in
float64.
"""

import os
from functools import partial

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import floors
import losses
import numpy as np
import side_by_side
import tensorflow as tf

import keras_epos

BLOCK = 256


def floor(queries, rows):
    for start in range(0, len(queries), BLOCK):
        tf.matmul(queries[start : start + BLOCK], rows, transpose_b=True)


def transposed(queries, rows):
    """As the floor, with the gallery transposed once, which is quicker."""
    gallery = tf.transpose(rows)
    for start in range(0, len(queries), BLOCK):
        tf.matmul(queries[start : start + BLOCK], gallery)


def contestants(rows, labels, num_queries):
    ids = np.arange(len(rows))
    queries, few = rows[:num_queries], slice(num_queries)
    evaluate = partial(keras_epos.retrieval.evaluate, queries, labels[few], rows, labels, ids=ids[few], gallery_ids=ids)
    verify = partial(keras_epos.retrieval.verify, queries, labels[few], rows, labels, ids=ids[few], gallery_ids=ids)
    if num_queries == len(rows):
        evaluate = partial(keras_epos.retrieval.evaluate, rows, labels)
        verify = partial(keras_epos.retrieval.verify, rows, labels)
    found = {
        "all products, transposed once": partial(transposed, tf.constant(queries), tf.constant(rows)),
        "Recall@1, 10, 100, 1000": partial(evaluate, k=(1, 10, 100, 1000), metrics="recall"),
        "MAP@R and R-precision": partial(evaluate, metrics=("map@r", "r_precision")),
        "mAP, mINP, MRR": partial(evaluate, metrics=("map", "minp", "mrr")),
        "verify, two rates and EER": partial(verify, false_accept_rates=(0.0001, 0.001)),
        "nearest, k=11": partial(keras_epos.retrieval.nearest, queries, rows, k=11),
    }
    try:
        import faiss
    except ImportError:
        return found

    def search():
        index = faiss.IndexFlatIP(rows.shape[1])
        index.add(rows)
        index.search(queries, 11)

    return found | {"faiss IndexFlatIP, k=11": search}


def main():
    parser = side_by_side.parser(__doc__, rounds=5)
    parser.add_argument("--rows", type=int, nargs="+", default=[60_000])
    parser.add_argument("--queries", type=int, help="how many of the rows are queries (default all)")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--per-class", type=int, default=10)
    parser.add_argument("--plot", help="also draw the ratios over the number of rows into this file")
    args = parser.parse_args()
    found = {}
    for size in args.rows:
        labels, rows = (np.asarray(part) for part in floors.batch(size, args.dim, args.per_class))
        order = np.random.default_rng(1).permutation(size)
        rows, labels = rows[order], labels[order]
        num_queries = min(size, args.queries or size)
        products = partial(floor, tf.constant(rows[:num_queries]), tf.constant(rows))
        measured = side_by_side.ratios(contestants(rows, labels, num_queries), products, args.rounds)
        for name, ratio in measured.items():
            found.setdefault(name, []).append(ratio)
    title = f"Multiples of all products of {args.dim}-d rows, {BLOCK} queries at a time (median of {args.rounds})"
    side_by_side.table(title, [f"N={size:,}" for size in args.rows], found)
    if args.plot:
        losses.draw(args.plot, args.rows, found, "Rows", "Multiples of all products")


if __name__ == "__main__":
    main()
