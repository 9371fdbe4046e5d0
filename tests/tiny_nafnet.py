"""A network that someone else brings, in one file: NAFNet (arXiv:2204.04676), small.

With pooling over the whole picture (its simplified channel attention), one scale, no
attention maps and no multiple of four.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from raindrop.models.interface import GeneratorOutput, Interface, no_maps


class Block(nn.Module):
    """NAFNet's block without its normalization."""

    width: int

    @nn.compact
    def __call__(self, x):
        y = nn.Conv(2 * self.width, (1, 1))(x)
        y = nn.Conv(2 * self.width, (3, 3), feature_group_count=2 * self.width)(y)
        a, b = jnp.split(y, 2, axis=-1)
        y = a * b
        y = y * nn.Conv(self.width, (1, 1))(y.mean((1, 2), keepdims=True))
        return x + nn.Conv(self.width, (1, 1))(y)


class NAFNet(nn.Module):
    width: int = 4
    blocks: tuple[int, ...] = (1, 1)  # before and after the one step down
    dtype: jnp.dtype = jnp.float32
    fast_gradients: bool = True

    @property
    def interface(self):
        return Interface(multiple=2)

    @nn.compact
    def __call__(self, rainy: jax.Array) -> GeneratorOutput:
        if rainy.shape[1] % 2 or rainy.shape[2] % 2:
            raise ValueError(f"height and width must be even, not {rainy.shape[1:3]}")
        x = nn.Conv(self.width, (3, 3))(rainy)
        for _ in range(self.blocks[0]):
            x = Block(self.width)(x)
        y = nn.Conv(2 * self.width, (2, 2), strides=(2, 2))(x)
        for _ in range(self.blocks[1]):
            y = Block(2 * self.width)(y)
        x = x + jnp.repeat(jnp.repeat(nn.Conv(self.width, (1, 1))(y), 2, 1), 2, 2)
        image = rainy + nn.Conv(3, (3, 3))(x).astype(jnp.float32)
        return GeneratorOutput((image,), no_maps(rainy))
