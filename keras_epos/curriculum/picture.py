"""A picture of samples from each part."""

import numpy as np


def draw_parts(path, parts, images, is_wrong=None, class_names=None, classes=None, examples=6):
    """Draw images from each part of some classes, so that a person sees what was taken for noise.

    A row is a class, a block of columns a part; inside it images run from the densest to the least dense, evenly
    spaced by rank.

    Args:
        path: The file, such as `"parts.png"`.
        parts: `Parts` with integer labels.
        images: `(N, H, W)` or `(N, H, W, C)`: uint8, or floats in [0, 1].
        is_wrong: Bool `(N,)`, or `None`: samples that get a red frame.
        class_names: Names by label, or `None`.
        classes: Labels of the rows; by default the first eight.
        examples: Images of a part, at least 1.

    Raises:
        ImportError: if matplotlib is missing.
        ValueError: if `images` are not one for each sample.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("`draw_parts` needs matplotlib: `pip install matplotlib`.") from error
    if len(images) != len(parts):
        raise ValueError(f"`images` must be one for each of {len(parts)} samples. Received: {len(images)} images.")
    classes = np.unique(parts.labels)[:8] if classes is None else classes
    columns = parts.num_parts * examples
    figure = Figure(figsize=(0.62 * columns + 1.2, 0.68 * len(classes) + 0.7), dpi=120, layout="constrained")
    blocks = figure.subfigures(1, parts.num_parts, wspace=0.02, squeeze=False)[0]
    for part, block in enumerate(blocks):
        block.suptitle(title_of(part, parts.num_parts), size=11)
        axes = block.subplots(len(classes), examples, squeeze=False)
        for row, label in enumerate(classes):
            _draw_row(axes[row], _spread(parts, label, part, examples), images, is_wrong)
            if part == 0:
                name = class_names[label] if class_names is not None else label
                axes[row, 0].set_ylabel(name, size=9, rotation=0, ha="right", va="center")
    figure.savefig(path)


def title_of(part, num_parts):
    """What a part is called."""
    if num_parts == 3:
        return ("clean", "noisy", "highly noisy")[part]
    return f"part {part}" + (" (densest)" if part == 0 else "")


def _spread(parts, label, part, examples):
    """Up to `examples` samples of one part of a class, evenly spaced by density, the densest first."""
    members = np.flatnonzero((parts.labels == label) & (parts.parts == part))
    members = members[np.argsort(-parts.density[members], kind="stable")]
    return members[np.unique(np.linspace(0, len(members) - 1, examples).round().astype(int))] if len(members) else []


def _draw_row(axes, members, images, is_wrong):
    for axis in axes:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for axis, member in zip(axes, members, strict=False):
        axis.imshow(images[member], cmap="gray")
        if is_wrong is not None and is_wrong[member]:
            axis.spines[:].set(visible=True, color="red", linewidth=2)
