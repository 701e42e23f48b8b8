"""A training step in pieces: the memory of a small batch, the gradient of a large one.

The loss needs the embeddings of the whole batch, but the network's work on one piece needs no other: first all pieces
are embedded without a gradient, then the loss says how each embedding should move, then each piece is embedded once
more and its gradient is added. Gao et al. 2021, https://arxiv.org/abs/2101.06983.
"""

import itertools

import keras
from keras import ops

from keras_epos._keras_private import get_keras_mask
from keras_epos.training import _replica_step


def train_step(model, *arguments):
    """Keras's `train_step` with `model.micro_batch` samples at a time; the arguments are those of the backend's."""
    step = {"tensorflow": _in_tensorflow, "jax": _in_jax, "torch": _in_torch}[keras.backend.backend()]
    return step(model, *arguments)


def state_of(model):
    """Variables that the layers change by themselves: statistics, and the seeds of what they draw.

    Put back before the second pass, they make it the same as the first, and changed only once.
    """
    layers = model._flatten_layers()
    seeds = [generator.state for layer in layers for generator in layer._seed_generators]
    statistics = [variable for layer in layers for variable in layer._non_trainable_variables]
    of_losses = {id(variable) for one in model._loss_state for variable in getattr(one, "variables", [one])}
    return [variable for variable in [*statistics, *seeds] if id(variable) not in of_losses]


def rows(inputs, first, last):
    """The samples from `first` to `last` of inputs of any structure."""
    return keras.tree.map_structure(lambda part: None if part is None else part[first:last], inputs)


def number_of(inputs):
    """How many samples there are; in a TensorFlow graph it may be a tensor."""
    return ops.shape(next(part for part in keras.tree.flatten(inputs) if part is not None))[0]


def refuse_xla(jit_compile):
    if jit_compile is True and keras.backend.backend() == "tensorflow":
        raise ValueError(
            "`jit_compile` must not be True with `micro_batch` on TensorFlow, where XLA cannot hold pieces of "
            "different lengths. Received: jit_compile=True."
        )


def refuse_own_losses(number):
    if number:
        raise ValueError(
            "`micro_batch` must be None for a model with layers that call `add_loss` or have an activity regularizer, "
            f"whose losses would be those of a piece. Received: a model with {number} such losses."
        )


def refuse_masks(model, outputs):
    # Losses of this library look at no mask.
    if model._has_other_losses and any(get_keras_mask(one) is not None for one in keras.tree.flatten(outputs)):
        raise ValueError(
            "`micro_batch` must be None for a model whose outputs have masks, which a loss of Keras would not see. "
            "Received: an output with a mask."
        )


def _embed(model, piece):
    outputs = model(piece, training=True)
    refuse_masks(model, outputs)
    refuse_own_losses(sum(len(layer._get_own_losses()) for layer in model._flatten_layers()))
    return outputs


def _in_tensorflow(model, data):
    import tensorflow as tf

    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    number, size = number_of(x), model.micro_batch
    # A last sample alone goes with the piece before: layers that take means over samples make nothing of one.
    # Of a replica without samples there is no piece at all.
    is_alone = tf.logical_and(number % size == 1, number > size) if size > 1 else False
    count = (number + size - 1) // size - tf.cast(is_alone, "int32")
    state = state_of(model)
    before = [tf.identity(variable.value) for variable in state]
    weights = model.trainable_weights

    def each_piece(function, loop_variables):
        # One piece after another: two would take twice the memory.
        def last(place):
            return tf.where(place == count - 1, number, place * size + size)

        return tf.while_loop(
            lambda place, *_: place < count,
            lambda place, *found: (place + 1, *function(place, place * size, last(place), *found)),
            (0, *loop_variables),
            parallel_iterations=1,
        )[1:]

    structure = model.compute_output_spec(keras.tree.map_structure(_spec, x))
    shapes = [[None, *one.shape[1:]] for one in keras.tree.flatten(structure)]
    arrays = [
        tf.TensorArray(one.dtype, 0, dynamic_size=True, infer_shape=False, element_shape=shape)
        for one, shape in zip(keras.tree.flatten(structure), shapes, strict=True)
    ]

    def embed(place, first, last, *arrays):
        outputs = keras.tree.flatten(_embed(model, rows(x, first, last)))
        return [array.write(place, output) for array, output in zip(arrays, outputs, strict=True)]

    embedded = [tf.stop_gradient(array.concat()) for array in each_piece(embed, arrays)]
    for output, shape in zip(embedded, shapes, strict=True):
        output.set_shape(shape)
    for variable, value in zip(state, before, strict=True):
        variable.assign(value)
    with tf.GradientTape() as tape:
        tape.watch(embedded)
        y_pred = keras.tree.pack_sequence_as(structure, embedded)
        loss = model._compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True)
        scaled = model.optimizer.scale_loss(loss)
    model._loss_tracker.update_state(_replica_step.whole(loss), sample_weight=number)
    found = tape.gradient(scaled, [*embedded, *weights])
    upstream, of_loss = found[: len(embedded)], found[len(embedded) :]
    reached = set()

    def add(place, first, last, *sums):
        with tf.GradientTape() as tape:
            outputs = keras.tree.flatten(model(rows(x, first, last), training=True))
        pairs = [(output, slope) for output, slope in zip(outputs, upstream, strict=True) if slope is not None]
        outputs, slopes = zip(*pairs, strict=True)
        gradients = tape.gradient(list(outputs), weights, output_gradients=[slope[first:last] for slope in slopes])
        reached.update(place for place, gradient in enumerate(gradients) if gradient is not None)
        return [
            total if gradient is None else total + gradient for total, gradient in zip(sums, gradients, strict=True)
        ]

    sums = each_piece(add, [tf.zeros_like(weight.value) for weight in weights])
    gradients = [
        _sum(total if place in reached else None, gradient)
        for place, (total, gradient) in enumerate(zip(sums, of_loss, strict=True))
    ]
    _replica_step.update(model, gradients, weights)
    return model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)


def _spec(part):
    return None if part is None else keras.KerasTensor(part.shape, keras.backend.standardize_dtype(part.dtype))


def _sum(first, second):
    """The sum of two gradients, of which either may be `None`."""
    import tensorflow as tf

    there = [tf.convert_to_tensor(gradient) for gradient in (first, second) if gradient is not None]
    return sum(there) if there else None


def _in_jax(model, state, data):
    import jax

    trainable, others, of_optimizer, of_metrics = state
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    number, size = number_of(x), model.micro_batch
    whole = number // size
    if number % size == 1 and size > 1 and whole:
        # A last sample alone goes with the piece before: layers that take means over samples make nothing of one.
        whole -= 1

    def each_piece(function, carried):
        """`function(carried, first, last)` piece by piece; the last piece may be shorter."""
        found = []

        def step(carried, place):
            first = place * size
            return function(carried, lambda part: jax.lax.dynamic_slice_in_dim(part, first, size))

        if whole:
            carried, outputs = jax.lax.scan(step, carried, jax.numpy.arange(whole))
            found.append(jax.tree.map(lambda part: part.reshape(-1, *part.shape[2:]), outputs))
        if whole * size < number:
            carried, outputs = function(carried, lambda part: part[whole * size :])
            found.append(outputs)
        return carried, jax.tree.map(lambda *parts: jax.numpy.concatenate(parts), *found)

    def embed(trainable, others, piece):
        outputs, others, losses = model.stateless_call(
            trainable, others, jax.tree.map(piece, x), training=True, return_losses=True
        )
        refuse_masks(model, outputs)
        refuse_own_losses(len(losses) - sum(weight.regularizer is not None for weight in model.trainable_weights))
        return outputs, others

    def first_pass(others, piece):
        outputs, others = embed(trainable, others, piece)
        return others, outputs

    _, y_pred = each_piece(first_pass, others)

    def of_whole(trainable, y_pred):
        loss, (_, changed, measured) = model.stateless_compute_loss(
            trainable, others, of_metrics, x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True
        )
        mapping = list(zip(model.optimizer.variables, of_optimizer, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            scaled = model.optimizer.scale_loss(loss)
        return scaled, (loss, changed, measured)

    differentiated = jax.value_and_grad(of_whole, argnums=(0, 1), has_aux=True)
    (_, (loss, others, of_metrics)), (sums, upstream) = differentiated(trainable, y_pred)

    def second_pass(carried, piece):
        sums, others = carried
        _, back, others = jax.vjp(lambda trainable: embed(trainable, others, piece), trainable, has_aux=True)
        (gradients,) = back(jax.tree.map(piece, upstream))
        return (jax.tree.map(jax.numpy.add, sums, gradients), others), ()

    (sums, others), _ = each_piece(second_pass, (sums, others))
    trainable, of_optimizer = model.optimizer.stateless_apply(of_optimizer, sums, trainable)
    logs, of_metrics = model._update_metrics_variables(of_metrics, loss, x, y, y_pred, sample_weight)
    return logs, (trainable, others, of_optimizer, of_metrics)


def _in_torch(model, data):
    import torch

    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    number, size = number_of(x), model.micro_batch
    # A last sample alone goes with the piece before: PyTorch's variance of one is NaN.
    ends = [end for end in range(size, number, size) if size == 1 or number - end > 1]
    pieces = list(itertools.pairwise([0, *ends, number]))
    state = state_of(model)
    before = [variable.value.detach().clone() for variable in state]
    with torch.no_grad():
        found = [_embed(model, rows(x, *piece)) for piece in pieces]
    y_pred = keras.tree.map_structure(lambda *parts: torch.cat(parts).requires_grad_(), *found)
    with torch.no_grad():
        for variable, value in zip(state, before, strict=True):
            variable.assign(value)
    model.zero_grad()
    loss = model._compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True)
    model._loss_tracker.update_state(loss, sample_weight=number)
    model.optimizer.scale_loss(loss).backward()
    for first, last in pieces:
        outputs = keras.tree.flatten(model(rows(x, first, last), training=True))
        whole = zip(outputs, keras.tree.flatten(y_pred), strict=True)
        # What hangs on no trained weight has no gradient to go back.
        pairs = [
            (output, one.grad[first:last]) for output, one in whole if output.requires_grad and one.grad is not None
        ]
        if pairs:
            torch.autograd.backward(*zip(*pairs, strict=True))
    weights = model.trainable_weights[:]
    gradients = [weight.value.grad for weight in weights]
    with torch.no_grad():
        model.optimizer.apply(gradients, weights)
    return model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
