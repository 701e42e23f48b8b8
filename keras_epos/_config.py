"""Configuration from the signature: an object's constructor arguments are its configuration."""

import difflib
import functools
import inspect
import types

import keras


def constructor_arguments(instance):
    """Plain-JSON values of every `__init__` argument, read from the attributes of the same names.

    A constructor that ends in `**shared` passes those on to its parent, whose arguments are then included.
    """
    arguments = {}
    for cls in type(instance).__mro__:
        if "__init__" not in vars(cls):
            continue
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        for parameter in parameters:
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
                value = getattr(instance, parameter.name)
                arguments[parameter.name] = keras.saving.serialize_keras_object(value)
        if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
            break
    return arguments


def argument_names(cls):
    """Names of the arguments of a constructor, those that `**shared` passes on to its parents included."""
    names = []
    for one in cls.__mro__:
        if "__init__" not in vars(one):
            continue
        parameters = list(inspect.signature(one.__init__).parameters.values())[1:]
        names += [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return list(dict.fromkeys(names))


class KnownArguments:
    """Base of what refuses, in one sentence, arguments that its constructor lacks: by its own name, with the nearest.

    A constructor that ends in `**shared` leaves that to the parent it passes them on to.
    """

    def __init_subclass__(cls, **arguments):
        super().__init_subclass__(**arguments)
        if "__init__" in vars(cls):
            cls.__init__ = refusing_unknown(cls.__init__)


def refusing_unknown(init):
    """The constructor, which raises a `TypeError` that names the object's class for an argument that it lacks."""
    signature = inspect.signature(init)
    parameters = signature.parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return init

    @functools.wraps(init)
    def checked(self, *args, **arguments):
        for name, value in arguments.items():
            if name not in parameters:
                cls, names = type(self).__name__, argument_names(type(self))
                raise TypeError(
                    f"`{name}` must be an argument of {cls}: {', '.join(names)}. Received: {name}={value!r}"
                    + did_you_mean(name, names)
                )
        init(self, *args, **arguments)

    # By the arguments of a constructor Keras tells which models it can rebuild from a graph; it sees no wrapped ones.
    checked.__signature__ = signature
    return checked


def revived(value, *kinds):
    """An object from its Keras config, or itself.

    A config of another class is returned as it is, to be refused: nothing of it is made, so nothing is opened.

    Args:
        value: A config, or anything else.
        kinds: Classes of which the object must be, `types.FunctionType` for functions.
    """
    if isinstance(value, dict) and issubclass(configured_class(value), kinds):
        return keras.saving.deserialize_keras_object(value)
    return value


def configured_class(config):
    """The class of what a Keras config describes.

    `types.NoneType` if it is neither registered nor a loss of Keras, or a layer, as some of these open files.
    """
    name = config.get("class_name")
    if not isinstance(name, str) or "config" not in config:
        return types.NoneType
    if name == "function":
        return types.FunctionType
    found = keras.saving.get_registered_object(config.get("registered_name") or name)
    if found is None and str(config.get("module")).split(".")[0] == "keras":
        found = getattr(keras.losses, name, None)
    found = found if isinstance(found, type) else type(found)
    return types.NoneType if issubclass(found, keras.Layer) else found


def did_you_mean(name, names):
    """The end of a message about a name that is none of `names`: the nearest of these, or nothing."""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5) if isinstance(name, str) else []
    return f". Did you mean {near[0]!r}?" if near else ""
