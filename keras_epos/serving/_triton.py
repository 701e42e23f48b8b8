"""The file by which NVIDIA Triton learns what an ONNX model takes and gives."""

TYPES = {
    "tensor(float)": "TYPE_FP32",
    "tensor(float16)": "TYPE_FP16",
    "tensor(double)": "TYPE_FP64",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(uint8)": "TYPE_UINT8",
}


def triton_config(name, inputs, outputs, max_batch_size):
    """The text of `config.pbtxt`.

    Args:
        name: Of the model, which is that of its folder.
        inputs, outputs: `(name, type, shape)` of each, as ONNX Runtime tells them: `("image", "tensor(float)",
            ["batch", 224, 224, 3])`. A side that is no integer is free.
        max_batch_size: Rows that Triton may put into one batch, where the file leaves their number free.
    """
    is_free = all(shape and not isinstance(shape[0], int) for _, _, shape in [*inputs, *outputs])
    lines = [f'name: "{name}"', 'platform: "onnxruntime_onnx"', f"max_batch_size: {max_batch_size if is_free else 0}"]
    for kind, parts in (("input", inputs), ("output", outputs)):
        for part_name, part_type, shape in parts:
            # Triton's own dimension stands before these, where it makes batches.
            sides = [side if isinstance(side, int) else -1 for side in shape[is_free:]]
            lines.append(f'{kind} {{ name: "{part_name}" data_type: {TYPES[part_type]} dims: {sides} }}')
    return "\n".join([*lines, *(["dynamic_batching { }"] if is_free else [])]) + "\n"
