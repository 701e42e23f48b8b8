"""What a model does with the losses of this library: own their weights, train, save and log them."""

import functools

import keras
from keras.src.utils.tracking import DotNotTrackScope

from keras_epos.training.loss_structure import resolved
from keras_epos.training.means import EpochLoss, LossOfEachOutput, MeasuredMean
from keras_epos.training.optimizers import by_part
from keras_epos.training.pairs_watch import refuse_cut_targets, watched


class AdoptsLosses:
    """Part of a `keras.Model`, before it in the list of bases. The model says what its outputs are.

    Subclasses define `output_dims`, and may define `parts`.
    """

    # Losses of this library, their state, and the means of what they report. Assigned as a whole, never changed.
    _embedding_losses = ()
    _loss_state = ()
    _watched = {}
    _prefixes = ()
    _has_other_losses = False

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
        with DotNotTrackScope():
            self._compile_arguments = {"optimizer": optimizer, "loss": loss, **arguments}
            if backbone_optimizer is not None:
                self._compile_arguments["backbone_optimizer"] = backbone_optimizer
        self._adopt(by_output)
        self._has_other_losses = len([one for one in keras.tree.flatten(loss) if one is not None]) > len(by_output)
        optimizer, backbone_optimizer = keras.optimizers.get(optimizer), keras.optimizers.get(backbone_optimizer)
        parts = [(layer, of_layer, 1) for layer, of_layer in self.parts(optimizer)]
        for state in self._loss_state:
            if isinstance(state, keras.Layer):
                parts.append((state, optimizer, getattr(state, "learning_rate_multiplier", 1)))
        super().compile(optimizer=by_part(backbone_optimizer or optimizer, parts), loss=loss, **arguments)
        # Keras takes what it set itself for no part of the model's state, and a built model takes no more.
        with DotNotTrackScope():
            if self._embedding_losses:
                self._loss_tracker = EpochLoss()
            if len(self.output_dims) > 1 and loss is not None:
                weights = arguments.get("loss_weights")
                self._compile_loss = LossOfEachOutput(loss, weights, output_names=self.output_names)

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
            prefix + name: MeasuredMean(prefix + name)
            for prefix, loss in zip(self._prefixes, self._embedding_losses, strict=True)
            for name in loss.statistic_names
        }
        self._tracker.locked = was_locked

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        for loss in self._embedding_losses:
            loss.training = training
        total = super().compute_loss(x, y, y_pred, sample_weight, training)
        shares = [1.0] if self._has_other_losses else []
        for prefix, loss in zip(self._prefixes, self._embedding_losses, strict=True):
            shares.append(loss.statistics["valid_anchors"])
            for name, value in loss.statistics.items():
                self._watched[prefix + name].update_state(value, loss.share_of(name))
            loss.statistics = None
        if self._embedding_losses:
            self._loss_tracker.weigh(functools.reduce(keras.ops.maximum, shares), training)
        return total

    def fit(self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, **arguments):
        """As `keras.Model.fit`. A run whose batches hold no pairs is said to in one warning.

        The epoch's loss and statistics are means over the anchors that take part: a batch without pairs has no weight.

        Raises:
            ValueError: If an array of labels has values that the backend would cut.
        """
        refuse_cut_targets(y)
        validation = arguments.get("validation_data")
        refuse_cut_targets(validation[1] if isinstance(validation, (tuple, list)) else None)
        if self._embedding_losses:
            callbacks = watched(callbacks, y)
        return super().fit(x, y, batch_size, epochs, verbose, callbacks, **arguments)

    def evaluate(
        self,
        x=None,
        y=None,
        batch_size=None,
        verbose="auto",
        sample_weight=None,
        steps=None,
        callbacks=None,
        return_dict=False,
        **arguments,
    ):
        """As `keras.Model.evaluate`. Where no batch holds a pair the loss is NaN, with one warning.

        Raises:
            ValueError: If an array of labels has values that the backend would cut.
        """
        refuse_cut_targets(y)
        if self._embedding_losses:
            callbacks = watched(callbacks)
        return super().evaluate(
            x, y, batch_size, verbose, sample_weight, steps, callbacks, return_dict=return_dict, **arguments
        )

    def get_compile_config(self):
        if not self.compiled:
            return None
        return {key: keras.saving.serialize_keras_object(value) for key, value in self._compile_arguments.items()}

    def compile_from_config(self, config):
        self.compile(**{key: keras.saving.deserialize_keras_object(value) for key, value in config.items()})
        if self.built:
            self.optimizer.build(self.trainable_variables)
