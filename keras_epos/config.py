"""Configuration from the signature: an object's constructor arguments are its configuration."""

import difflib
import inspect

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


def refuse_unknown(instance, unknown):
    """Refuse arguments that no constructor of the object's class takes, by the name of that class.

    Raises:
        TypeError: If there is one.
    """
    if not unknown:
        return
    name, names = next(iter(unknown)), argument_names(type(instance))
    near = difflib.get_close_matches(name, names, 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise TypeError(
        f"`{name}` must be an argument of {type(instance).__name__}: {', '.join(names)}. Received: "
        f"{name}={unknown[name]!r}.{hint}"
    )


def revived(value):
    """An object from its Keras config, or itself."""
    return keras.saving.deserialize_keras_object(value) if isinstance(value, dict) else value


def did_you_mean(name, names):
    """The end of a message about a name that is none of `names`: the nearest of these, or nothing."""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5) if isinstance(name, str) else []
    return f". Did you mean {near[0]!r}?" if near else ""
