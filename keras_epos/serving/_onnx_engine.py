"""ONNX, checked in ONNX Runtime, in the layout of Triton."""

import warnings

import keras

from keras_epos.serving._engine import need, version
from keras_epos.serving._triton import triton_config

EXTRA = '"keras-epos[onnx]"'


def write(task, folder):
    """`folder/1/model.onnx`, and `folder/config.pbtxt` for Triton."""
    need("onnxruntime", "onnxruntime", EXTRA)
    need("onnx", "onnx", EXTRA)
    if keras.backend.backend() == "tensorflow":
        need("tf2onnx", "tf2onnx", EXTRA)
    elif keras.backend.backend() == "jax":
        need("jax2onnx", "jax2onnx", "jax2onnx")
    path = _place(folder)
    with warnings.catch_warnings():
        # Keras looks whether NumPy still has `np.object`.
        warnings.simplefilter("ignore", FutureWarning)
        task.exported.export(str(path), format="onnx", verbose=False)
    _write_triton_config(task, path)
    return path


def smaller(task, source, folder, precision):
    """The file of `write` in float16, or in int8 with the ranges that the photographs show; inputs stay float32."""
    path = _place(folder)
    if precision == "float16":
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16

        onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), path)
    else:
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process

        folded = path.with_name("folded.onnx")
        # Without the shapes of TensorFlow's ops, which this cannot infer.
        quant_pre_process(str(source), str(folded), skip_symbolic_shape=True)
        rows = iter(task.sample.calibration())
        name = _session(source).get_inputs()[0].name

        class Reader(quantization.CalibrationDataReader):
            def get_next(self):
                row = next(rows, None)
                return None if row is None else {name: row}

        # One scale for each channel: depthwise convolutions lose too much with one for all.
        quantization.quantize_static(str(folded), str(path), Reader(), per_channel=True)
        folded.unlink()
    _write_triton_config(task, path)
    return path


def load(path):
    """A function from images to embeddings, and the engine with its version."""
    session = _session(path)
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0], version("onnxruntime")


def _place(folder):
    (folder / "1").mkdir(parents=True)
    return folder / "1" / "model.onnx"


def _session(path):
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def _write_triton_config(task, path):
    session = _session(path)
    inputs, outputs = (
        [(part.name, part.type, part.shape) for part in parts()] for parts in (session.get_inputs, session.get_outputs)
    )
    folder = path.parent.parent
    (folder / "config.pbtxt").write_text(triton_config(folder.name, inputs, outputs, task.max_batch_size))
