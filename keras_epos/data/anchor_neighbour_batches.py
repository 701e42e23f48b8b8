"""Random classes with their nearest ones in a batch, for `fit` on every backend."""

from keras_epos.data.batches_of import batches_of


def anchor_neighbour_batches(
    inputs,
    indices,
    *,
    load=None,
    ids=False,
    on_error="raise",
    start_step=0,
    steps=None,
    same_every_pass=False,
):
    """Yield the batches of `AnchorNeighbourIndices`: a few random classes, each with its nearest ones.

        indices = keras_epos.data.AnchorNeighbourIndices(labels, 4, 4, 4)
        batches = keras_epos.data.anchor_neighbour_batches(images, indices)
        model.fit(batches, epochs=20, callbacks=[keras_epos.HierarchyRebuild(images, labels, indices=indices)])

    Steps, passes and resuming are those of `balanced_batches`. A new tree, `indices.set_hierarchy`, holds from the next
    pass on; to resume exactly, the tree must be that of the run, which `HierarchyRebuild` takes care of.

    Args:
        inputs: N inputs, see `balanced_batches`.
        indices: `AnchorNeighbourIndices` of N labels.
        load, ids, on_error: See `balanced_batches`.
        start_step: First step of the first pass.
        steps: Batches in one pass; `None`: as many as draw N samples; `math.inf`: endless.
        same_every_pass: Whether every pass takes the steps of the first one.

    Returns:
        `tf.data.Dataset`, or `keras.utils.PyDataset` on JAX and PyTorch, of `(x, y)`, see `balanced_batches`. A random
        class stands before its neighbours, and the K samples of a class side by side.

    Raises:
        ValueError: If a request cannot be met.
    """
    return batches_of(
        inputs,
        indices.labels,
        indices,
        load=load,
        ids=ids,
        on_error=on_error,
        start_step=start_step,
        steps=steps,
        same_every_pass=same_every_pass,
    )
