"""Training on one of several replicas of a `tf.distribute` strategy, and which of these there are."""

import keras

from keras_epos.losses import _replicas as replicas


def train_step(model, data):
    """As Keras's step, but gradients are summed over the replicas before the optimizer sees them.

    Keras clips the gradients of each replica by themselves, and asks the first replica alone whether they are finite.
    Summed first, they are what one device would have, and the same everywhere.
    """
    import tensorflow as tf

    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    number = tf.shape(next(part for part in keras.tree.flatten(x) if part is not None))[0]
    filled = _filled(model, x, number)
    with tf.GradientTape() as tape:
        y_pred = model(filled, training=True)
        if filled is not x:
            y_pred = keras.tree.map_structure(lambda output: output[:number], y_pred)
        loss = model._compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True)
        model._loss_tracker.update_state(whole(loss), sample_weight=number)
        scaled = model.optimizer.scale_loss(loss)
    weights = model.trainable_weights
    update(model, tape.gradient(scaled, weights), weights)
    return model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)


def _filled(model, x, number):
    """The samples; for a replica without any the first of the batch, where layers take means over their samples.

    A batch may have fewer samples than there are replicas, and `BatchNormalization` makes NaN of none.
    """
    import tensorflow as tf

    replica = replicas.current()
    if replica is None or not _own_statistics(model):
        return x

    def filled(part):
        if part is None:
            return None
        first = replica.gathered(part[:1])[:1]
        return tf.cond(number > 0, lambda: part, lambda: first)

    return keras.tree.map_structure(filled, x)


def whole(loss):
    """The loss of all replicas, from the part of this one."""
    replica = replicas.current()
    return loss if replica is None else loss * replica.number


def update(model, gradients, weights):
    """Hand the optimizer the gradients of all replicas."""
    replica = replicas.current()
    if replica is not None:
        gradients = replica.summed(gradients)
        for optimizer in plain_optimizers(model.optimizer):
            # Instead of Keras's own sum.
            optimizer._all_reduce_sum_gradients = list
    model.optimizer.apply(gradients, weights)
    if replica is not None and (layers := _own_statistics(model)):
        # Else each replica would embed by its own ones, and a file hold those of the first.
        moving = [one for layer in layers for one in (layer.moving_mean, layer.moving_variance)]
        for variable, mean in zip(moving, replica.averaged(moving), strict=True):
            variable.assign(mean)


def _own_statistics(model):
    """The layers that take statistics of the samples of their replica."""
    return [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable and not layer.synchronized
    ]


def plain_optimizers(optimizer):
    """The optimizers that change weights, of one that scales the loss or hands weights to several."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return plain_optimizers(optimizer.inner_optimizer)
    if isinstance(optimizer, keras.optimizers.MultiOptimizer):
        return optimizer.optimizers
    return [optimizer]


def refuse_single_batch(model, function):
    """Refuse to train or test on a batch that Keras would hand to every replica as a whole.

    Raises:
        ValueError: Where there are several replicas.
    """
    if keras.backend.backend() == "tensorflow" and model.distribute_strategy.num_replicas_in_sync > 1:
        raise ValueError(
            f"`{function}` must be called without several replicas, each of which Keras would give the whole batch. "
            f"Received: {model.distribute_strategy.num_replicas_in_sync} replicas. Call "
            "`fit(x, y, batch_size=len(x))` or `evaluate`, which share it out."
        )


def refuse_what_cannot_share(model):
    """Refuse several processes, and settings that Keras cannot combine with several replicas.

    Raises:
        ValueError: Before anything is trained.
    """
    if keras.backend.backend() == "torch":
        from torch import distributed

        if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
            raise ValueError(
                "`fit` must run in one process on PyTorch, as Keras does not share gradients there: each process would "
                f"train a model of its own. Received: a process group of {distributed.get_world_size()}. Train under "
                "tf.distribute.MirroredStrategy on TensorFlow, or keras.distribution.DataParallel on JAX."
            )
    if keras.backend.backend() != "tensorflow" or model.distribute_strategy.num_replicas_in_sync == 1:
        return
    import tensorflow as tf

    strategy = model.distribute_strategy
    if isinstance(strategy, (tf.distribute.MultiWorkerMirroredStrategy, tf.distribute.ParameterServerStrategy)):
        raise ValueError(
            "The strategy must keep its replicas in one process, such as tf.distribute.MirroredStrategy, since Keras 3 "
            f"cannot train any model with workers. Received: {type(strategy).__name__}. Several machines need JAX."
        )
    if model.steps_per_execution > 1 or model.jit_compile is True:
        raise ValueError(
            "`compile` must have neither jit_compile=True nor steps_per_execution above 1 where there are several "
            f"replicas, which Keras cannot combine. Received: jit_compile={model.jit_compile}, "
            f"steps_per_execution={model.steps_per_execution}, {strategy.num_replicas_in_sync} replicas."
        )
    for optimizer in plain_optimizers(model.optimizer):
        accumulated, frequency = optimizer.gradient_accumulation_steps, optimizer.ema_overwrite_frequency
        if accumulated or (optimizer.use_ema and frequency):
            raise ValueError(
                "`optimizer` must have neither gradient_accumulation_steps nor an ema_overwrite_frequency where there "
                f"are several replicas, on which Keras cannot take turns. Received: a {type(optimizer).__name__} with "
                f"gradient_accumulation_steps={accumulated}, ema_overwrite_frequency={frequency}. For larger batches "
                "use `compile(micro_batch=)`."
            )
