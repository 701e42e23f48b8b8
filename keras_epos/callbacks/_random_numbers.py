"""Where random numbers come from: what no weights file of Keras holds."""

import random

import keras
import numpy as np


def state(model):
    """The states of the seeds of a model, and of the generators of the process, in arrays and plain values."""
    version, numbers, gauss = random.getstate()
    found = {
        "seeds": [keras.ops.convert_to_numpy(seed) for seed in _seeds(model)],
        "python": [version, np.array(numbers, "uint64"), gauss],
        "numpy": np.random.get_state(legacy=False),
    }
    if keras.backend.backend() == "torch":  # whose dropout draws from the generator of the device
        import torch

        found["torch"] = [one.numpy() for one in [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]]
    return found


def restore(model, kept):
    """Go on from what `state` found."""
    for seed, value in zip(_seeds(model), kept["seeds"], strict=True):
        seed.assign(value)
    version, numbers, gauss = kept["python"]
    random.setstate((version, tuple(numbers.tolist()), gauss))
    np.random.set_state(kept["numpy"])
    if keras.backend.backend() == "torch":
        import torch

        of_cpu, *of_devices = (torch.from_numpy(one) for one in kept["torch"])
        torch.set_rng_state(of_cpu)
        if len(of_devices) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(of_devices)


def _seeds(model):
    """The variables of dropout, augmentation layers and random mining."""
    weights = {id(weight) for weight in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]
