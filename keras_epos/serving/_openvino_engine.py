"""OpenVINO's files, checked in OpenVINO, in the layout of its model server."""

from keras_epos.serving._engine import need, version

EXTRA = '"keras-epos[openvino]"'


def write(task, folder):
    """`folder/1/model.xml`, and its weights in `model.bin` beside it."""
    need("openvino", "openvino", EXTRA)
    path = _place(folder)
    task.exported.export(str(path), format="openvino", verbose=False)
    return path


def smaller(task, source, folder, precision):
    """The file of `write` with weights in float16, or in int8 by NNCF; inputs and outputs stay float32."""
    import openvino

    model = openvino.Core().read_model(source)
    if precision == "int8":
        nncf = need("nncf", "nncf", EXTRA)
        rows = task.sample.calibration()
        model = nncf.quantize(model, nncf.Dataset(rows), subset_size=len(rows))
    path = _place(folder)
    openvino.save_model(model, path, compress_to_fp16=precision == "float16")
    return path


def load(path):
    """A function from images to embeddings, and the engine with its version."""
    import openvino

    # On processors that have bfloat16 OpenVINO computes in it unless told otherwise.
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: compiled(images)[0], version("openvino")


def _place(folder):
    (folder / "1").mkdir(parents=True)
    return folder / "1" / "model.xml"
