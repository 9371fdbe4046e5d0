"""A generator small enough for tests, with random weights in place of trained ones."""

import jax
import numpy as np

from raindrop.models import generator
from raindrop.weights import LoadedGenerator


def loaded(**changes):
    fields = {
        "attention": {"steps": 2, "channels": 4, "num_blocks": 1},
        "autoencoder": {"channels": 4, "dilations": (2, 4)},
        **changes,
    }
    network = generator.from_fields(fields)
    image = np.zeros((1, 8, 8, 3), np.float32)
    params = jax.jit(network.init)(jax.random.key(3), image)["params"]
    # Biases that are not zero: with them a border that is not masked shows.
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(4), len(leaves))
    leaves = [
        leaf + 0.1 * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    return LoadedGenerator(fields, jax.tree.unflatten(tree, leaves), "tests")
