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
    size = generator.example_size(network)
    image = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), image)["params"]
    rng = np.random.default_rng(3)

    def draw(leaf):
        # Biases that are not zero: with them a border that is not masked shows.
        fan_in = np.prod(leaf.shape[:-1]) if len(leaf.shape) > 1 else 100
        return rng.normal(0, fan_in**-0.5, leaf.shape).astype(np.float32)

    return LoadedGenerator(fields, jax.tree.map(draw, shapes), "tests")
