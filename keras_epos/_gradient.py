"""The gradient of a function of one tensor, on any backend."""

import keras


def gradient(function, tensor):
    """Derivative of the scalar `function(tensor)` by `tensor`, in the shape of `tensor`."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensor)
            value = function(tensor)
        return tape.gradient(value, tensor, unconnected_gradients="zero")
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(function)(tensor)
    import torch

    leaf = tensor.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        (found,) = torch.autograd.grad(function(leaf), leaf, allow_unused=True)
    return torch.zeros_like(leaf) if found is None else found
