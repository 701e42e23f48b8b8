"""What a model does with the losses of this library: own their weights, train, save and log them."""

import keras

from keras_epos.training.loss_structure import resolved
from keras_epos.training.optimizers import by_part


class AdoptsLosses:
    """Part of a `keras.Model`, before it in the list of bases. The model says what its outputs are.

    Subclasses define `output_dims`, and may define `parts`.
    """

    # Losses of this library, their state, and the means of what they report. Assigned as a whole, never changed.
    _embedding_losses = ()
    _loss_state = ()
    _watched = {}

    @property
    def output_dims(self):
        """Dictionary of each output's name to the size of its last axis."""
        raise NotImplementedError(f"{type(self).__name__} must define output_dims.")

    def parts(self, optimizer):
        """Layers that an optimizer of their own trains: a list of `(layer, optimizer)`."""
        return []

    def _compile(self, optimizer, loss, backbone_optimizer=None, **arguments):
        loss, by_output = resolved(loss, self.output_dims)
        # Keras tells `compile_from_config` what compile was given, so the pair is remembered, not its merger.
        self._compile_arguments = {"optimizer": optimizer, "loss": loss, **arguments}
        if backbone_optimizer is not None:
            self._compile_arguments["backbone_optimizer"] = backbone_optimizer
        self._adopt(by_output)
        optimizer, backbone_optimizer = keras.optimizers.get(optimizer), keras.optimizers.get(backbone_optimizer)
        parts = [(layer, of_layer, 1) for layer, of_layer in self.parts(optimizer)]
        for state in self._loss_state:
            if isinstance(state, keras.Layer):
                parts.append((state, optimizer, getattr(state, "learning_rate_multiplier", 1)))
        super().compile(optimizer=by_part(backbone_optimizer or optimizer, parts), loss=loss, **arguments)

    def _adopt(self, by_output):
        dims = self.output_dims
        # Keras locks what a built model tracks; without this the loss's weights would never be trained.
        was_locked, self._tracker.locked = self._tracker.locked, False
        for state in (*self._loss_state, *self._watched.values()):
            self._tracker.untrack(state)
        self._embedding_losses = list(by_output.values())
        self._loss_state = [state for name, loss in by_output.items() for state in loss.adopt(dims[name])]
        # As Keras names metrics: by the output where there are several.
        self._prefixes = [f"{name}_" if len(dims) > 1 else "" for name in by_output]
        self._watched = {
            prefix + name: keras.metrics.Mean(prefix + name)
            for prefix, loss in zip(self._prefixes, self._embedding_losses, strict=True)
            for name in loss.statistic_names
        }
        self._tracker.locked = was_locked

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        for loss in self._embedding_losses:
            loss.training = training
        total = super().compute_loss(x, y, y_pred, sample_weight, training)
        for prefix, loss in zip(getattr(self, "_prefixes", ()), self._embedding_losses, strict=True):
            for name, value in loss.statistics.items():
                self._watched[prefix + name].update_state(value)
            loss.statistics = None
        return total

    def get_compile_config(self):
        if not self.compiled:
            return None
        return {key: keras.saving.serialize_keras_object(value) for key, value in self._compile_arguments.items()}

    def compile_from_config(self, config):
        self.compile(**{key: keras.saving.deserialize_keras_object(value) for key, value in config.items()})
        if self.built:
            self.optimizer.build(self.trainable_variables)
