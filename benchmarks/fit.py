"""What a loss costs in `model.fit`, as a multiple of the same loss with its gradient alone.

    python benchmarks/fit.py --batch 512 1024
    python benchmarks/fit.py --of "easy triplet, semi-hard" multi-similarity --steps 50

The model holds the embeddings as its only weights, so its step is the loss and what `fit` does around it. The same
`fit` with the mean of the squared embeddings for a loss is taken off, round by round; how much that was is shown too.
So the figure has everything that comes with the loss in `fit`: the loss, its gradient, what it reports and the sums of
that. The learning rate is 0, and all steps are alike. The loss alone is run again as well: what differs there is noise.
CPU time, of all threads, is steadier where others use the machine.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import statistics

import keras
import losses
import numpy as np
import side_by_side
import tensorflow as tf
from floors import batch, with_gradient

import keras_epos


def mean_square(y_true, y_pred):
    return keras.ops.mean(keras.ops.square(y_pred), axis=-1)


class Rows(keras.layers.Layer):
    """Returns its weights, whatever its input."""

    def __init__(self, rows):
        super().__init__()
        self.rows = self.add_weight(shape=rows.shape, initializer=lambda shape, dtype: keras.ops.cast(rows, dtype))

    def call(self, inputs):
        return keras.ops.convert_to_tensor(self.rows)


def repeated(inputs, labels, steps):
    """`steps` times the same batch, as `fit` takes it."""
    options = tf.data.Options()
    # The thread that tunes a data set sleeps 10, 20, 40, ... ms, and TensorFlow 2.21 often waits at the end of an
    # epoch until it wakes: as long as the epoch took, at worst.
    options.autotune.enabled = False
    return tf.data.Dataset.from_tensors((inputs, labels)).repeat(steps).with_options(options)


def fit(loss, jit_compile, labels, embeddings, steps):
    """What runs an epoch of `steps` steps of a model that is nothing but `embeddings`."""
    inputs = keras.Input((1,))
    model = keras_epos.MetricLearningModel(inputs, Rows(embeddings)(inputs))
    model.compile(keras.optimizers.SGD(0.0), loss=loss, jit_compile=jit_compile)
    data = repeated(np.zeros((len(labels), 1), "float32"), labels, steps)

    def run():
        model.fit(data, shuffle=False, verbose=0)

    return run


def added(found, name, without, clock=0):
    """How much more `name` took than `without`, in multiples of the floor: the median of the rounds."""
    ratios = ([own[clock] / before[clock] for own, before in found[one]] for one in (name, without))
    return statistics.median(one - other for one, other in zip(*ratios, strict=True))


def measured(name, jit_compile, labels, embeddings, args):
    """The rows of the table for one loss: `{what: multiples of the loss alone}`."""

    def loss():
        return losses.main_losses()[name]

    alone = with_gradient(loss(), jit_compile, labels, embeddings, args.steps)
    contestants = {
        "alone": alone,
        "fit": fit(loss(), jit_compile, labels, embeddings, args.steps),
        "without": fit(mean_square, jit_compile, labels, embeddings, args.steps),
    }
    found = side_by_side.turns(contestants, alone, args.rounds)
    return {
        "in fit": added(found, "fit", "without"),
        "in fit, CPU time": added(found, "fit", "without", clock=1),
        "the rest of fit's step": side_by_side.median(found["without"]),
        "alone, once more": side_by_side.median(found["alone"]),
    }


def by_itself():
    """What `fit` takes if it is not told: `"XLA"` or `"graph"`."""
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    return "XLA" if model.jit_compile else "graph"


def main():
    parser = side_by_side.parser(__doc__, rounds=10)
    parser.add_argument("--batch", type=int, nargs="+", default=[128, 512, 1024])
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--per-class", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20, help="steps of an epoch; they share what fit does once")
    known = losses.main_losses()
    parser.add_argument("--of", nargs="+", choices=known, metavar="LOSS", default=list(known)[:1])
    args = parser.parse_args()
    rows = {}
    for size in args.batch:
        labels, embeddings = batch(size, args.dim, args.per_class)
        for name in args.of:
            for how, jit_compile in losses.HOW.items():
                found = measured(name, jit_compile, labels, embeddings, args)
                for what, value in found.items():
                    rows.setdefault(f"{name} ({how}): {what}", []).append(value)
    title = f"A loss in fit, as a multiple of the loss and its gradient alone (median of {args.rounds})"
    side_by_side.table(title, [f"B={size}" for size in args.batch], rows)
    print(f"Left to itself, fit takes here: {by_itself()}")


if __name__ == "__main__":
    main()
