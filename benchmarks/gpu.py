"""What losses cost on a GPU, and how far coarser matrix products take them from those of float32.

    KERAS_BACKEND=jax python benchmarks/gpu.py --batch 1024 4096 16384
    KERAS_BACKEND=tensorflow python benchmarks/gpu.py --steps 1000

A table for each batch size. `x product` is the time of a loss and its gradient, compiled as `fit` compiles them, as a
multiple of one product of the batch with itself in the same mode: of the same rows, in their dtype, on the same card.
The line "one product" is that product as a multiple of the one of float32. `ppm` are millionths: how far the value is
from that of float32, how much the cosine between both gradients lacks to 1, and, for the product, its relative error.
A negative that is chosen or drawn anew by a last bit is part of that. Modes that the card lacks change nothing:

    float32              products of full precision
    tf32                 products that keep 11 bits of each factor: what TensorFlow and JAX do unless told otherwise
    bfloat16 products    float32 rows, products that keep 8 bits of each factor; JAX only
    bfloat16 embeddings  rows of bfloat16, as a plain Keras model under "mixed_bfloat16" hands them to its loss, and the
                         products of the backend's default. Losses make float32 of them first, so their time is about
                         that of float32 rows, and the product that counts as 1 is a quicker one, of bfloat16.

`MB` is the most that a call takes above its inputs: what the compiler planned on JAX, what was measured of a GPU
elsewhere. `-` was not measured, or did not fit. pytorch-metric-learning takes part where it is installed, in multiples
of PyTorch's own product. `--steps` trains under mixed_float16, with its scaled loss, and mixed_bfloat16, and fails if
a loss or a weight is not finite.
"""

import os
from functools import partial

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# PyTorch wants a part of the card too.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import keras
import numpy as np
import side_by_side

import keras_epos

COLUMNS = ("x product", "MB", "value ppm", "gradient ppm")


def losses():
    return {
        "easy triplet, semi-hard": keras_epos.EasyPositiveTripletLoss(),
        "easy margin, distance-weighted": keras_epos.MarginLoss(
            positives="easy", negatives=keras_epos.DistanceWeighted(seed=0)
        ),
        "easy multi-similarity": keras_epos.MultiSimilarityLoss(positives="easy"),
        "all-positive triplet, semi-hard": keras_epos.TripletLoss(),
        "easy NT-Xent": keras_epos.NTXentLoss(positives="easy"),
    }


class OnJax:
    """A backend: its modes, `{name: (its own word for the precision of products, dtype of the rows)}`, and the card.

    `ready` makes a call without arguments of `function(labels, rows)`, which returns before the card is done. `wait`
    waits for what a call returned, and for all before it.
    """

    modes = {
        "float32": ("float32", "float32"),
        "tf32": ("tensorfloat32", "float32"),
        # What JAX calls "bfloat16" is TF32 on a GPU.
        "bfloat16 products": ("BF16_BF16_F32", "float32"),
        "bfloat16 embeddings": (None, "bfloat16"),
    }

    def __init__(self):
        import jax

        # On a CPU calls would run beside each other.
        jax.config.update("jax_cpu_enable_async_dispatch", False)
        self.jax, self.wait = jax, jax.block_until_ready
        self.card = jax.devices()[0].device_kind
        self.has_gpu = jax.default_backend() != "cpu"

    array = staticmethod(keras.ops.convert_to_tensor)
    numbers = staticmethod(keras.ops.convert_to_numpy)

    def product(self, labels, rows):
        return rows @ rows.T

    def with_gradient(self, loss):
        def value(labels, rows):
            with keras.StatelessScope():
                return loss(labels, rows)

        loss.adopt()  # so that what is drawn does not hang on the last bits of similarities
        return self.jax.value_and_grad(value, argnums=1)

    def ready(self, function, precision, labels, rows):
        with self.jax.default_matmul_precision(precision):
            compiled = self.jax.jit(function).lower(labels, rows).compile()
        return partial(compiled, labels, rows)

    def peak(self, call):
        plan = call.func.memory_analysis()
        return plan and plan.temp_size_in_bytes + plan.output_size_in_bytes


class OnTensorflow:
    modes = {"float32": (False, "float32"), "tf32": (True, "float32"), "bfloat16 embeddings": (True, "bfloat16")}

    def __init__(self):
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")  # it warns of many functions that do not differ in shapes
        self.tf, cards = tf, tf.config.list_physical_devices("GPU")
        self.has_gpu = bool(cards)
        self.card = tf.config.experimental.get_device_details(cards[0]).get("device_name", "GPU") if cards else "cpu"

    array = staticmethod(keras.ops.convert_to_tensor)
    numbers = staticmethod(keras.ops.convert_to_numpy)

    def product(self, labels, rows):
        return self.tf.matmul(rows, rows, transpose_b=True)

    def with_gradient(self, loss):
        def value_and_gradient(labels, rows):
            with self.tf.GradientTape() as tape:
                tape.watch(rows)
                value = loss(labels, rows)
            return value, tape.gradient(value, rows)

        return value_and_gradient

    def ready(self, function, has_tf32, labels, rows):
        compiled = self.tf.function(function, jit_compile=True)

        def call():
            self.tf.config.experimental.enable_tensor_float_32_execution(has_tf32)
            return compiled(labels, rows)

        return call

    def wait(self, last):
        self.tf.test.experimental.sync_devices()

    def peak(self, call):
        if not self.has_gpu:
            return None
        memory = self.tf.config.experimental
        memory.reset_memory_stats("GPU:0")
        before = memory.get_memory_info("GPU:0")["current"]
        self.wait(call())
        return memory.get_memory_info("GPU:0")["peak"] - before


class OnTorch:
    modes = {
        "float32": ("highest", "float32"),
        "tf32": ("high", "float32"),
        "bfloat16 embeddings": ("highest", "bfloat16"),
    }

    def __init__(self):
        import torch

        self.torch, self.has_gpu = torch, torch.cuda.is_available()
        self.device = "cuda" if self.has_gpu else "cpu"
        self.card = torch.cuda.get_device_name() if self.has_gpu else "cpu"

    def array(self, values, dtype=None):
        return self.torch.as_tensor(values, dtype=dtype and getattr(self.torch, dtype), device=self.device)

    def numbers(self, tensor):
        return tensor.detach().float().cpu().numpy()

    def product(self, labels, rows):
        return rows @ rows.T

    def with_gradient(self, loss):
        def value_and_gradient(labels, rows):
            leaf = rows.detach().requires_grad_()
            value = loss(labels, leaf)
            value.backward()
            return value, leaf.grad

        return value_and_gradient

    def ready(self, function, precision, labels, rows):
        def call():
            self.torch.set_float32_matmul_precision(precision)
            return function(labels, rows)

        return call

    def wait(self, last):
        if self.has_gpu:
            self.torch.cuda.synchronize()

    def peak(self, call):
        if not self.has_gpu:
            return None
        memory = self.torch.cuda
        memory.reset_peak_memory_stats()
        before = memory.memory_allocated()
        self.wait(call())
        return memory.max_memory_allocated() - before


BACKENDS = {"jax": OnJax, "tensorflow": OnTensorflow, "torch": OnTorch}


def peers():
    """Losses of pytorch-metric-learning as functions of labels and rows; none where it is not installed."""
    try:
        from pytorch_metric_learning import losses as theirs
        from pytorch_metric_learning import miners
    except ImportError:
        return {}

    def mined(loss, miner):
        return lambda labels, rows: loss(rows, labels, miner(rows, labels))

    return {
        "PML easy triplet, semi-hard": mined(
            theirs.TripletMarginLoss(margin=0.2), miners.BatchEasyHardMiner("easy", "semihard")
        ),
        "PML multi-similarity": mined(theirs.MultiSimilarityLoss(2, 40, 0.5), miners.MultiSimilarityMiner(0.1)),
    }


def batch(size, dim, per_class):
    """Unit rows in clusters, as of a network that has learned something: `(labels, rows)`."""
    generator = np.random.default_rng(0)
    labels = (np.arange(size) // per_class).astype("int32")
    rows = generator.normal(size=(labels[-1] + 1, dim))[labels] + 2 * generator.normal(size=(size, dim))
    return labels, (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("float32")


def measured(backend, make_losses, modes, size, args):
    """Lines of the table: `{name and mode: numbers}`."""
    labels, rows = batch(size, args.dim, args.per_class)
    first_products = rows[:64].astype("float64") @ rows.T.astype("float64")
    found, reference, product = {"one product": {}}, {}, None
    for mode in modes:
        precision, dtype = backend.modes[mode]
        arrays = backend.array(labels), backend.array(rows, dtype=dtype)
        floor = backend.ready(backend.product, precision, *arrays)
        contestants = {}
        for name, loss in make_losses().items():
            line = found.setdefault(name, {})[mode] = [None] * len(COLUMNS)
            try:
                call = backend.ready(backend.with_gradient(loss), precision, *arrays)
                result = [backend.numbers(one).astype("float64") for one in call()]
                call()
                line[1] = megabytes(backend.peak(call))
            except Exception as error:
                if not is_of_memory(error):
                    raise
                continue
            # Where that of float32 did not fit there is nothing to compare with.
            line[2:] = off(*result, *reference.setdefault(name, result if mode == "float32" else (np.nan, np.nan)))
            contestants[name] = turn(backend, call, args.calls)
        floor_turn = turn(backend, floor, args.calls)
        product = product or floor_turn
        error = np.linalg.norm(backend.numbers(floor()[:64]) - first_products) / np.linalg.norm(first_products)
        [ratio] = side_by_side.ratios({"": floor_turn}, product, args.rounds).values()
        found["one product"][mode] = [ratio, megabytes(backend.peak(floor)), 1e6 * error, None]
        for name, ratio in side_by_side.ratios(contestants, floor_turn, args.rounds).items():
            found[name][mode][0] = ratio
    return {f"{name}: {mode}": line for name, by_mode in found.items() for mode, line in by_mode.items()}


def is_of_memory(error):
    words = str(error).lower()
    # PyTorch finds no pairs in matrices of more entries than an int has.
    return any(part in words for part in ("out of memory", "oom when", "resource_exhausted", "int_max"))


def turn(backend, call, calls):
    """Some calls in a row, as the steps of a training: the host prepares one while the card computes another."""

    def run():
        for _ in range(calls):
            last = call()
        backend.wait(last)

    return run


def off(value, gradient, exact_value, exact_gradient):
    """Millionths by which a value differs, and by which the cosine of the gradients lacks to 1."""
    norms = np.linalg.norm(gradient) * np.linalg.norm(exact_gradient)
    return 1e6 * abs(value / exact_value - 1), 1e6 * abs(1 - np.sum(gradient * exact_gradient) / norms)


def megabytes(size):
    return None if size is None else size / 2**20


def train(policy, steps, dim=32, classes=64):
    """Train a small model by the sum of all the losses and say how it went; fail if a loss or a weight went astray."""
    generator = np.random.default_rng(0)
    chosen = [generator.choice(classes, 16, replace=False) for _ in range(steps)]
    labels = np.repeat(np.concatenate(chosen), 8).astype("int32")
    inputs = generator.normal(size=(classes, dim))[labels] + generator.normal(size=(len(labels), dim))
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(256, "relu"), keras.layers.BatchNormalization(), keras.layers.Dense(256, "relu")]
    model = keras_epos.EmbeddingModel(keras.Sequential([keras.Input((dim,)), *layers]), 64, dtype=policy)
    parts = {f"part_{place}": loss for place, loss in enumerate(losses().values())}
    model.compile(keras.optimizers.Adam(1e-3), loss=keras_epos.WeightedSum(parts))

    def weights():
        return np.concatenate([keras.ops.convert_to_numpy(one).ravel() for one in model.trainable_weights])

    # Means over the steps so far: what is not finite stays in them.
    before, means = weights(), []
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: means.append(float(logs["loss"])))
    model.fit(inputs.astype("float32"), labels, batch_size=128, shuffle=False, verbose=0, callbacks=[watch])
    after = weights()
    moved = np.linalg.norm(after - before) / np.linalg.norm(before)
    said = f"{policy}: {len(means)} steps, loss {means[0]:.3f} at first and {means[-1]:.3f} on average, "
    if not (np.isfinite(means).all() and np.isfinite(after).all() and moved > 0):
        raise SystemExit(
            f"{said}{np.isfinite(means).sum()} finite; {np.mean(~np.isfinite(after)):.1%} of the weights not finite; "
            f"moved by {moved:.3f} of their norm"
        )
    print(f"{said}all finite; weights finite, moved by {moved:.3f} of their norm", flush=True)


def main():
    parser = side_by_side.parser(__doc__, rounds=10)
    parser.add_argument("--batch", type=int, nargs="*", default=[1024, 4096, 16384])
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--per-class", type=int, default=8)
    parser.add_argument("--calls", type=int, default=10, help="calls of each round, for which the host waits once")
    parser.add_argument("--steps", type=int, default=0, help="also train so many steps under each mixed policy")
    args = parser.parse_args()
    name = keras.backend.backend()
    backend = BACKENDS[name]()
    if not backend.has_gpu:
        print(f"{name} found no GPU: what follows is of the CPU.", flush=True)
    for policy in ("mixed_float16", "mixed_bfloat16") if args.steps else ():
        train(policy, args.steps)
    theirs = {}
    if peers():
        # First, since TensorFlow and JAX keep the memory that they have had.
        torch = OnTorch()
        if backend.has_gpu and not torch.has_gpu:
            print("torch found no GPU: the lines of PyTorch are of the CPU.", flush=True)
        for size in args.batch:
            found = measured(torch, peers, ("float32", "tf32"), size, args)
            theirs[size] = {f"PyTorch, {name}" if "product" in name else name: line for name, line in found.items()}
        if torch.has_gpu:
            torch.torch.cuda.empty_cache()
    for size in args.batch:
        rows = measured(backend, losses, backend.modes, size, args) | theirs.get(size, {})
        title = f"{name} on {backend.card}: loss and gradient of {size} rows of {args.dim} dimensions"
        side_by_side.table(f"{title} (median of {args.rounds})", COLUMNS, rows, unit="")


if __name__ == "__main__":
    main()
