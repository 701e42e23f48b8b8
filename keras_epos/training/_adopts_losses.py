"""What a model does with the losses of this library: own their weights, train, save and log them."""

import contextlib
import functools
import json
import warnings

import keras
import numpy as np

from keras_epos._checks import integer
from keras_epos._config import KnownArguments
from keras_epos._keras_private import DotNotTrackScope
from keras_epos._shares import predict_in_shares
from keras_epos.losses import _replicas as replicas
from keras_epos.losses._recording import recording
from keras_epos.training import _micro_batches, _replica_step
from keras_epos.training._inputs import as_keras_takes, can_be_shuffled, refuse_pairs
from keras_epos.training._loss_structure import resolved, warn_of_classification
from keras_epos.training._means import EpochLoss, LossOfEachOutput, MeasuredMean
from keras_epos.training._optimizers import by_part, decayed, scaled
from keras_epos.training._pairs_watch import refuse_cut_targets, watched
from keras_epos.training._sampled_classes import SampledClasses, refuse_what_mixes_rows
from keras_epos.training._stream_watch import StreamWatch


class AdoptsLosses(KnownArguments):
    """Part of a `keras.Model`, before it in the list of bases. The model says what its outputs are.

    Subclasses define `output_dims`, and may define `parts` and `depth_groups`.
    """

    # Losses of this library, their state, and the means of what they report. Assigned as a whole, never changed.
    _embedding_losses = ()
    _loss_state = ()
    _watched = {}
    _prefixes = ()
    _has_other_losses = False
    # Pairs of output and loss, of those that sample their classes; and what draws these, once the optimizer is built.
    _sampled_losses = ()
    _sampled_classes = None
    # Samples that a training step embeds at a time, or `None` for all of them.
    micro_batch = None

    @property
    def output_dims(self):
        """Dictionary of each output's name to the size of its last axis."""
        raise NotImplementedError(f"{type(self).__name__} must define output_dims.")

    @property
    def own_weights(self):
        """Variables of the model, without those of the losses that it trains with."""
        of_losses = {id(weight) for one in self._loss_state for weight in getattr(one, "weights", [one])}
        return [weight for weight in self.weights if id(weight) not in of_losses]

    def parts(self, optimizer):
        """Layers that an optimizer of their own trains: a list of `(layer, optimizer)`."""
        return []

    def depth_groups(self):
        """The layers to which `layer_decay` applies: a list of `DepthGroup`."""
        return []

    def _compile(
        self,
        optimizer,
        loss,
        backbone_optimizer=None,
        loss_optimizer=None,
        layer_decay=None,
        micro_batch=None,
        **arguments,
    ):
        if micro_batch is not None:
            micro_batch = integer("micro_batch", micro_batch, 1)
            _micro_batches.refuse_xla(arguments.get("jit_compile", "auto"))
        loss, by_output = resolved(loss, self.output_dims)
        for metrics in (arguments.get("metrics"), arguments.get("weighted_metrics")):
            warn_of_classification(metrics, by_output, self.output_dims)
        if any(one.sampled_losses() for one in by_output.values()):
            refuse_what_mixes_rows(keras.optimizers.get(loss_optimizer or optimizer))
        # Keras tells `compile_from_config` what compile was given, so the optimizers are remembered, not their merger.
        with DotNotTrackScope():
            self._compile_arguments = {"optimizer": optimizer, "loss": loss, **arguments}
            if backbone_optimizer is not None:
                self._compile_arguments["backbone_optimizer"] = backbone_optimizer
            if loss_optimizer is not None:
                self._compile_arguments["loss_optimizer"] = loss_optimizer
            if layer_decay is not None:
                self._compile_arguments["layer_decay"] = layer_decay
            if micro_batch is not None:
                self._compile_arguments["micro_batch"] = micro_batch
        self.micro_batch = micro_batch
        self._adopt(by_output)
        self._has_other_losses = len([one for one in keras.tree.flatten(loss) if one is not None]) > len(by_output)
        optimizer = keras.optimizers.get(optimizer)
        backbone_optimizer = keras.optimizers.get(backbone_optimizer) or optimizer
        loss_optimizer = keras.optimizers.get(loss_optimizer) or optimizer
        of_losses = [(layer, loss_optimizer) for layer in loss_layers(self._loss_state)]
        by_depth = decayed(self.depth_groups, backbone_optimizer, layer_decay)
        optimizer = by_part(backbone_optimizer, [*self.parts(optimizer), *of_losses, *by_depth])
        if self.dtype_policy.name == "mixed_float16" and arguments.get("auto_scale_loss", True):
            optimizer = scaled(optimizer)
        if micro_batch is not None and keras.backend.backend() == "tensorflow":
            arguments["jit_compile"] = False
        super().compile(optimizer=optimizer, loss=loss, **arguments)
        # Keras takes what it set itself for no part of the model's state, and a built model takes no more.
        with DotNotTrackScope():
            if self._embedding_losses:
                self._loss_tracker = EpochLoss()
            if len(self.output_dims) > 1 and loss is not None:
                weights = arguments.get("loss_weights")
                self._compile_loss = LossOfEachOutput(loss, weights, output_names=self.output_names)

    def _adopt(self, by_output):
        dims = self.output_dims
        state = [one for name, loss in by_output.items() for one in loss.adopt(dims[name])]
        self._claim(state)
        self._warn_of_what_starts_anew(state)
        # Keras locks what a built model tracks; without this the loss's weights would never be trained.
        was_locked, self._tracker.locked = self._tracker.locked, False
        for one in (*self._loss_state, *self._watched.values()):
            self._tracker.untrack(one)
        self._embedding_losses = list(by_output.values())
        self._sampled_losses = [(name, one) for name, loss in by_output.items() for one in loss.sampled_losses()]
        self._sampled_classes = None
        self._loss_state = state
        # As Keras names metrics: by the output where there are several.
        self._prefixes = [f"{name}_" if len(dims) > 1 else "" for name in by_output]
        self._watched = {
            prefix + name: MeasuredMean(prefix + name)
            for prefix, loss in zip(self._prefixes, self._embedding_losses, strict=True)
            for name in loss.statistic_names
        }
        self._tracker.locked = was_locked

    def _claim(self, state):
        """Refuse weights of a loss that another model has trained."""
        owner = vars(self).setdefault("_loss_owner", object())
        for layer in loss_layers(state):
            if getattr(layer, "owner", owner) is not owner:
                raise ValueError(
                    f"`loss` must be new: a loss with weights of its own belongs to one model. Received: the "
                    f"{layer.kind} of another model, with what it has learned there. Make a new one, or a copy without "
                    "weights by type(loss).from_config(loss.get_config())."
                )
            layer.owner = owner

    def _warn_of_what_starts_anew(self, state):
        before, after = loss_layers(self._loss_state), loss_layers(state)
        dropped = {layer.kind for layer in before if not any(layer is other for other in after)}
        new = {layer.kind for layer in after if not any(layer is other for other in before)}
        was_trained = self.compiled and self.optimizer is not None and int(self.optimizer.iterations.numpy()) > 0
        if was_trained and dropped & new:
            warnings.warn(
                f"The weights of {', '.join(sorted(dropped & new))} start anew, as compile was given a new loss "
                "object. To keep what was learned pass loss=model.loss.",
                stacklevel=4,
            )

    def save_own_variables(self, store):
        super().save_own_variables(store)
        store["losses"] = np.frombuffer(json.dumps(described(self._loss_state)).encode(), "uint8")

    def load_own_variables(self, store):
        names = list(store.keys())
        # Files from before do not tell.
        saved = json.loads(bytes(np.asarray(store["losses"]))) if "losses" in names else None
        own = described(self._loss_state)
        if own and saved is not None and saved != own:
            raise ValueError(
                f"The file must hold weights of the losses that the model has, {_listed(own)}. Received: "
                f"{_listed(saved)}. Load before `compile`, which leaves the weights of losses out, or compile with the "
                "loss of the file."
            )
        super().load_own_variables({name: store[name] for name in names if name != "losses"})

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        with recording(training) as here:
            total = super().compute_loss(x, self._of_outputs(y), y_pred, sample_weight, training)
        shares = [1.0] if self._has_other_losses else []
        for prefix, loss in zip(self._prefixes, self._embedding_losses, strict=True):
            result, weights = here.results[id(loss)]
            shares.append(result.statistics["valid_anchors"])
            for name, (value, share) in result.logs(weights, loss.reduction).items():
                self._watched[prefix + name].update_state(value, share)
        if self._embedding_losses:
            self._loss_tracker.weigh(functools.reduce(keras.ops.maximum, shares), training)
        return total

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        if keras.backend.backend() == "tensorflow" and iterator is not None and self._distribute_strategy is not None:
            # Keras would build on the mean of the replicas' batches, which must be as long as each other then, and
            # makes floats of labels.
            _, _, batches = next(iter(iterator))
            local = self.distribute_strategy.experimental_local_results
            iterator, data_batch = None, keras.tree.map_structure(lambda part: local(part)[0], next(batches))
        super()._maybe_symbolic_build(iterator, data_batch)

    def train_step(self, *arguments):
        if self._sampled_classes is not None:
            return self._sampled_classes.train_step(self, self._train_step, *arguments)
        return self._train_step(*arguments)

    def _train_step(self, *arguments):
        if not self.trainable_weights:
            return super().train_step(*arguments)
        if self.micro_batch is not None:
            return _micro_batches.train_step(self, *arguments)
        if replicas.current() is not None:
            return _replica_step.train_step(self, *arguments)
        return super().train_step(*arguments)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return super().compute_metrics(x, self._of_outputs(y), y_pred, sample_weight)

    def _of_outputs(self, targets):
        """Targets of each output: labels that come once are those of all outputs."""
        is_one = len(self.output_dims) > 1 and hasattr(targets, "shape")
        return dict.fromkeys(self.output_dims, targets) if is_one else targets

    def labels_by_output(self, targets):
        """Dictionary of output to its labels, from the targets of a batch."""
        names, targets = list(self.output_dims), self._of_outputs(targets)
        is_named = isinstance(targets, dict) and set(names) & set(targets)
        return targets if is_named else dict(zip(names, keras.tree.flatten(targets), strict=False))

    def fit(self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, **arguments):
        """As `keras.Model.fit`. A run whose batches hold no pairs is said to in one warning.

        Labels that come once, and not in a dictionary by output, are those of every output.

        `shuffle` is for arrays and finite `PyDataset`s; other data come as they are, and Keras warns of it if given.

        The epoch's loss and statistics are means over the anchors that take part: a batch without pairs has no weight.

        Raises:
            ValueError: If an array of labels has values that the backend would cut, or samples come as pairs; or where
                replicas or processes cannot share the batch.
        """
        _replica_step.refuse_what_cannot_share(self)
        refuse_pairs(x, getattr(self, "backbone", self))
        refuse_cut_targets(y)
        validation = arguments.get("validation_data")
        if isinstance(validation, (tuple, list)):
            refuse_cut_targets(validation[1])
            arguments["validation_data"] = as_keras_takes(validation[0]), *validation[1:]
        if self._embedding_losses:
            callbacks = watched(callbacks, y)
        if hasattr(x, "passes") and not isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = [*keras.tree.flatten(callbacks or []), StreamWatch(x.passes)]
        if not can_be_shuffled(x):
            # Keras would warn of its own default.
            arguments.setdefault("shuffle", False)
        return super().fit(as_keras_takes(x), y, batch_size, epochs, verbose, callbacks, **arguments)

    def make_train_function(self, force=False):
        if self.built and self.trainable_variables:
            self._build_optimizer()
        return super().make_train_function(force)

    def _build_optimizer(self):
        """Make all variables of the optimizer. TensorFlow traces a step twice if its first trace does it."""
        is_tensorflow = keras.backend.backend() == "tensorflow"
        with self.distribute_strategy.scope() if is_tensorflow else contextlib.nullcontext():
            if not self.optimizer.built:
                self.optimizer.build(self.trainable_variables)
            if self._sampled_losses and self._sampled_classes is None:
                with DotNotTrackScope():
                    self._sampled_classes = SampledClasses(self._sampled_losses, self.optimizer)

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
            as_keras_takes(x),
            y,
            batch_size,
            verbose,
            sample_weight,
            steps,
            callbacks,
            return_dict=return_dict,
            **arguments,
        )

    def train_on_batch(self, *arguments, **named):
        """As `keras.Model.train_on_batch`, on one replica."""
        _replica_step.refuse_single_batch(self, "train_on_batch")
        return super().train_on_batch(*arguments, **named)

    def test_on_batch(self, *arguments, **named):
        """As `keras.Model.test_on_batch`, on one replica."""
        _replica_step.refuse_single_batch(self, "test_on_batch")
        return super().test_on_batch(*arguments, **named)

    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
        """As `keras.Model.predict`. Strings may also be an array of NumPy, or a list.

        On several devices of JAX the rows of arrays need not divide by them; the batches of a data set must.
        """
        x, arguments = as_keras_takes(x), {"verbose": verbose, "steps": steps, "callbacks": callbacks}
        if all(hasattr(part, "shape") and np.ndim(part) for part in keras.tree.flatten(x)):
            return predict_in_shares(super().predict, x, batch_size, **arguments)
        return super().predict(x, batch_size, **arguments)

    def get_compile_config(self):
        if not self.compiled:
            return None
        return {key: keras.saving.serialize_keras_object(value) for key, value in self._compile_arguments.items()}

    def compile_from_config(self, config):
        self.compile(**{key: keras.saving.deserialize_keras_object(value) for key, value in config.items()})
        if self.built:
            self._build_optimizer()


def loss_layers(state):
    """The layers among what losses keep: those that hold their weights."""
    return [one for one in state if isinstance(one, keras.Layer)]


def described(state):
    """Class, number of classes and shapes of the weights of losses, in plain JSON."""
    return [
        [layer.kind, layer.num_classes, [list(weight.shape) for weight in layer.weights]]
        for layer in loss_layers(state)
    ]


def _listed(losses):
    texts = [f"{kind}{f' of {number} classes' if number else ''} {shapes}" for kind, number, shapes in losses]
    return ", ".join(texts) or "none"
