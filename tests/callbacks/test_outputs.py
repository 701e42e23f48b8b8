"""Which output of a model a callback measures."""

import keras
import numpy as np
import pytest

from keras_epos import CollapseMonitor, HierarchyRebuild, RecallAtK, collapse, retrieval

RNG = np.random.default_rng(0)
LABELS = np.arange(12) % 3
IMAGES = RNG.normal(size=(12, 5)).astype(np.float32)


def functional(structure, name="embedding"):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,))
    embedding = keras.layers.Dense(4, name=name)(inputs)
    classes = keras.layers.Dense(3, name="classes")(embedding)
    maps = keras.layers.Reshape((2, 2), name="maps")(embedding)
    parts = {"classes": classes, name: embedding, "maps": maps}
    return keras.Model(inputs, structure(parts))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = functional(dict)

    def call(self, inputs, training=False):
        return self.inner(inputs)


MODELS = {
    "dictionary": (lambda: functional(dict), ["embedding", None]),
    "list": (lambda: functional(lambda parts: list(parts.values())), ["embedding", 1, np.int64(1), None]),
    "subclass": (Subclassed, ["embedding", None]),
    "single": (lambda: functional(lambda parts: parts["embedding"]), ["embedding", 0, None]),
}


@pytest.mark.parametrize("kind", MODELS)
def test_the_chosen_output_is_measured(kind):
    make, names = MODELS[kind]
    model = make()
    outputs = model.predict(IMAGES, verbose=0)
    embeddings = outputs["embedding"] if isinstance(outputs, dict) else outputs[1] if kind == "list" else outputs
    expected = retrieval.evaluate(embeddings, LABELS, k=(1, 2))
    for name in names:
        recall = RecallAtK(IMAGES, LABELS, k=(1, 2), output=name, batch_size=5, gallery=(IMAGES, LABELS))
        assert recall.evaluate(model)["recall@1"] == 1.0
        assert RecallAtK(IMAGES, LABELS, k=(1, 2), output=name, batch_size=5).evaluate(model) == expected
        monitor = CollapseMonitor(IMAGES, LABELS, output=name, batch_size=5)
        assert monitor.measure(model) == pytest.approx(collapse.measure(embeddings, LABELS), abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "output", "message"),
    [
        ("other names", None, r"Received: output=None and outputs .*Pass one of .*'rows'"),
        ("dictionary", "embeding", r"'classes', 'embedding', 'maps'\. Received: output='embeding'\. Did you mean 'emb"),
        ("dictionary", 0, r"`output` must be one of the model's outputs, 'classes'.*Received: output=0"),
        ("list", 3, r"'classes', 'embedding', 'maps', 0, 1, 2\. Received: output=3"),
        ("list", "maps", r"must return one embedding.*Received: \(12, 2, 2\) in output 'maps'"),
        ("single", "classes", r"outputs, 'embedding', 0\. Received: output='classes'"),
    ],
)
def test_wrong_outputs_are_named_before_the_first_epoch(kind, output, message):
    model = functional(dict, "rows") if kind == "other names" else MODELS[kind][0]()
    model.compile("sgd", loss=None)
    for make in (RecallAtK, CollapseMonitor):
        arguments = {"k": 1, "baseline": False} if make is RecallAtK else {}
        callback = make(IMAGES, LABELS, output=output, **arguments)
        callback.set_model(model)
        with pytest.raises(ValueError, match=message):
            callback.on_train_begin()


def test_outputs_that_are_no_name_and_no_place_are_refused():
    for make in (RecallAtK, CollapseMonitor, HierarchyRebuild):
        for output in (1.0, True, ["embedding"]):
            with pytest.raises(ValueError, match="`output` must be the name or the place of an output"):
                make(IMAGES, LABELS, output=output)
