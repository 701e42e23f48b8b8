"""Losses of TensorFlow Similarity and tensorflow-addons, timed when `losses.py` asks for it. Not run by hand.

    python benchmarks/peers.py --into .venv-old-peers
    python benchmarks/losses.py --old-peers .venv-old-peers/bin/python

Both need a TensorFlow that is older than Keras 3, so they run in a process of their own, in an environment without
keras_epos. The process waits while the others have their turn, and all are divided by the same product. It times
itself, so its answers' way is not counted.

What is not alike: TensorFlow 2.15 multiplies at another speed than the TensorFlow beside it, so its own product takes
part too. Both libraries run as graphs, as Keras 2 runs them unless asked otherwise; TensorFlow Similarity 0.17 cannot
be compiled by XLA, and of tensorflow-addons the hard triplets are also shown so. The semi-hard negatives of TensorFlow
Similarity are those beyond the farthest positive, whichever positive was chosen, and it chooses in float64. Its
multi-similarity keeps all mined positives.
"""

import os
from functools import partial

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import floors
import side_by_side
import tensorflow as tf


def losses():
    """`{name: (loss, jit_compile)}` of the libraries that are installed."""
    found = {}
    try:
        from tensorflow_similarity import losses as similarity
    except ImportError:
        pass
    else:
        easy = similarity.TripletLoss(positive_mining_strategy="easy", negative_mining_strategy="semi-hard", margin=0.2)
        found["TF-Similarity easy triplet, semi-hard"] = easy, False
        found["TF-Similarity multi-similarity"] = similarity.MultiSimilarityLoss(), False
    try:
        import tensorflow_addons as tfa
    except ImportError:
        pass
    else:
        found["TF-addons triplet, hard"] = tfa.losses.TripletHardLoss(margin=0.2), False
        found["TF-addons triplet, hard (XLA)"] = tfa.losses.TripletHardLoss(margin=0.2), True
        found["TF-addons triplet, semi-hard"] = tfa.losses.TripletSemiHardLoss(margin=0.2), False
    return found


class Answers:
    """What the other process may ask for, by name."""

    def __init__(self):
        self.losses, self.contestants = losses(), {}

    def batch(self, size, dim, per_class):
        labels, embeddings = floors.batch(size, dim, per_class)
        self.contestants = {f"one product, TensorFlow {tf.__version__}": partial(floors.floor, embeddings)}
        for name, (loss, jit_compile) in self.losses.items():
            self.contestants[name] = floors.with_gradient(loss, jit_compile, labels, embeddings)
        return list(self.contestants)

    def run(self, name):
        return side_by_side.clocks(self.contestants[name])

    def machine(self):
        return side_by_side.machine()


if __name__ == "__main__":
    side_by_side.answer(Answers)
