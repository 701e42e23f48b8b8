"""MetricLearningModel: any graph of Keras layers, trained by losses that have weights of their own."""

import keras

from keras_epos.training._adopts_losses import AdoptsLosses


@keras.saving.register_keras_serializable(package="keras_epos")
class MetricLearningModel(AdoptsLosses, keras.Model):
    """A `keras.Model` of inputs and outputs that trains, saves and logs what the losses of this library keep.

    Proxies, learned boundaries and memories are the model's from `compile` on: its optimizer trains them, `save` and
    `load_model` restore them. One output, or several with a loss for each. The layers may come from anywhere: of a
    finished model take `model.inputs` and `model.outputs` (`model.output` if it is a dictionary); call a subclassed
    model on a `keras.Input`. The usual start of re-identification, with two heads:

        image = keras.Input((256, 128, 3))
        features = keras.applications.ResNet50(include_top=False, weights=None, pooling="avg")(image)
        neck = keras.layers.BatchNormalization(name="neck")(features)
        model = keras_epos.MetricLearningModel(image, {"features": features, "neck": neck})
        model.compile(
            "adam",
            loss={"features": keras_epos.TripletLoss(negatives="hard"), "neck": keras_epos.ArcFaceLoss(751)},
        )
        model.fit(images, {"features": labels, "neck": labels})

    With several outputs the logs name the output before each figure, as in `neck_active_anchors`.

    Args:
        inputs, outputs: Tensors of Keras, or lists or dictionaries of them, as of `keras.Model`. Where a loss of this
            library looks, an output is embeddings `(B, D)`; each loss gets the `D` of its own output.
        name: Name of the model.
        trainable: Whether its layers are trained.

    Examples:
        >>> features = backbone.outputs[0]
        >>> outputs = {"raw": features, "neck": keras.layers.Dense(8)(features)}
        >>> model = keras_epos.MetricLearningModel(backbone.inputs[0], outputs)
        >>> model.compile("adam", loss={"raw": keras_epos.TripletLoss(), "neck": keras_epos.ArcFaceLoss(num_classes=4)})
        >>> history = model.fit(images, {"raw": labels, "neck": labels}, verbose=0)
    """

    def __init__(self, inputs, outputs, name=None, *, trainable=True):
        super().__init__(inputs, outputs, name=name, trainable=trainable)

    @property
    def output_dims(self):
        """Dictionary of each output's name to the size of its last axis."""
        structure = self._outputs_struct
        names = list(structure) if isinstance(structure, dict) else self.output_names
        outputs = structure.values() if isinstance(structure, dict) else self.outputs
        return {name: output.shape[-1] for name, output in zip(names, outputs, strict=True)}

    def compile(self, optimizer="adam", loss=None, loss_optimizer=None, micro_batch=None, **arguments):
        """As `keras.Model.compile`, with losses and names of losses of this library.

        Args:
            optimizer: Trains the model, and the weights of the losses unless `loss_optimizer` is given.
            loss: A loss or its name such as `"multi_similarity"`; of several outputs a dictionary of output to loss,
                or a list with one for each.
            loss_optimizer: Optimizer of the weights of all losses, usually with a learning rate 10 to 100 times as
                high where these are proxies, or `None`.
            micro_batch: Samples that a training step embeds at a time, or `None` for all of the batch. The gradient is
                that of the whole batch, the memory that of so few samples, and each sample is embedded twice (gradient
                caching, Gao et al. 2021, https://arxiv.org/abs/2101.06983). BatchNormalization that is not frozen
                normalizes each piece by itself.
            arguments: All others of `keras.Model.compile`, by name.

        Raises:
            ValueError: If there is not one loss for each output that has one.
        """
        self._compile(optimizer, loss, loss_optimizer=loss_optimizer, micro_batch=micro_batch, **arguments)
