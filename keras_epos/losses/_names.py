"""The losses by name: each says its own where it is defined."""

import difflib
import inspect

import keras

from keras_epos._config import revived

# Short name, such as "triplet": class.
LOSSES = {}
# All losses of this library, those without a short name included.
CLASSES = []


def registered(name=None):
    """Decorator of a loss of this library: it is registered with Keras, and public.

    Args:
        name: Its name for `get`; `None` for penalties, and for what is no loss without arguments.
    """

    def register(loss):
        CLASSES.append(loss)
        if name is not None:
            LOSSES[name] = loss
        return keras.saving.register_keras_serializable(package="keras_epos")(loss)

    return register


def get(loss, **settings):
    """A loss of this library from its name, such as `"multi_similarity"`, with its arguments.

    Args:
        loss: Its name, its class's name (`"MultiSimilarityLoss"`, also as `"keras_epos>MultiSimilarityLoss"`), its
            Keras config, itself, or `None`.
        settings: Arguments of its constructor; only with a name.

    Raises:
        ValueError: If there is no loss of that name, or it needs arguments that are missing.
    """
    loss = revived(loss, keras.losses.Loss)
    if loss is None or isinstance(loss, keras.losses.Loss):
        return loss
    name = named(loss)
    if name is None:
        near = difflib.get_close_matches(str(loss), [*LOSSES, *(one.__name__ for one in LOSSES.values())], 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"`loss` must be one of {sorted(LOSSES)}. Received: loss={loss!r}.{hint}")
    missing = sorted(set(required_arguments(LOSSES[name])) - set(settings))
    if missing:
        raise ValueError(
            f"`{missing[0]}` must be given for the loss {loss!r}. Received: loss={loss!r} without. Pass an object: "
            f"keras_epos.{LOSSES[name].__name__}({missing[0]}=...)."
        )
    return LOSSES[name](**settings)


def of_name(name):
    """The loss of a name as `keras.Model.compile` is given it: one of this library, or the name where it is Keras's.

    Raises:
        ValueError: If there is no loss of that name, or one here and another in Keras.
    """
    if named(name) is None:
        # What Keras does not know either gets the nearest of our names.
        return name if _is_of_keras(name) else get(name)
    if _is_of_keras(name):
        raise ValueError(
            f"`loss` must say whose loss is meant. Received: loss={name!r}, the name of two. Pass "
            f"keras_epos.{LOSSES[name].__name__}() or keras.losses.get({name!r})."
        )
    return get(name)


def _is_of_keras(name):
    try:
        return name.lower() in ("crossentropy", "ce") or keras.losses.get(name) is not None
    except ValueError:
        return False


def named(loss):
    """The key in `LOSSES` of a loss's name or its class's name, or `None`."""
    if isinstance(loss, str) and loss in LOSSES:
        return loss
    classes = {one.__name__: name for name, one in LOSSES.items()}
    return classes.get(str(loss).removeprefix("keras_epos>"))


def required_arguments(loss):
    """Names of the constructor's arguments without a default."""
    parameters = inspect.signature(loss).parameters.values()
    return [one.name for one in parameters if one.default is one.empty and one.kind is not one.VAR_KEYWORD]
