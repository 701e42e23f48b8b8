"""LiteRT, which was TensorFlow Lite, checked in its interpreter."""

import importlib.util

import keras

from keras_epos.serving._engine import CannotDoError, need, version

EXTRA = '"keras-epos[litert]"'


def write(task, folder):
    """`folder/model.tflite`."""
    if keras.backend.backend() == "jax":
        raise CannotDoError("Keras writes LiteRT on the TensorFlow and PyTorch backends only.")
    if keras.backend.backend() == "torch":
        need("litert_torch", "litert-torch", "litert-torch")
    return _write(task, folder)


def smaller(task, source, folder, precision):
    """The same with weights in float16, or in int8 with the ranges that the photographs show; inputs stay float32."""
    if keras.backend.backend() != "tensorflow":
        raise CannotDoError(f"LiteRT in {precision} is written on the TensorFlow backend only.")
    import tensorflow as tf

    options = {"optimizations": [tf.lite.Optimize.DEFAULT]}
    if precision == "float16":
        return _write(task, folder, **options, target_spec={"supported_types": [tf.float16]})
    return _write(task, folder, **options, representative_dataset=lambda: ([row] for row in task.sample.calibration()))


def load(path):
    """A function from images to embeddings, and the engine with its version."""
    if importlib.util.find_spec("ai_edge_litert"):
        from ai_edge_litert.interpreter import Interpreter

        engine = version("ai-edge-litert")
    elif importlib.util.find_spec("tensorflow"):
        import tensorflow as tf

        Interpreter, engine = tf.lite.Interpreter, f"tensorflow {tf.__version__}"
    else:
        need("ai_edge_litert", "ai-edge-litert", EXTRA)
    run = Interpreter(str(path)).get_signature_runner()
    (name,) = run.get_input_details()
    return lambda images: next(iter(run(**{name: images}).values())), engine


def _write(task, folder, **options):
    folder.mkdir(parents=True)
    path = folder / "model.tflite"
    task.exported.export(str(path), format="litert", verbose=False, **options)
    return path
