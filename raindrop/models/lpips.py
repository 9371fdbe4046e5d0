"""LPIPS, a learned distance of two pictures (Zhang et al., CVPR 2018).

As https://github.com/richzhang/PerceptualSimilarity has it, version 0.1: features of a
network trained on ImageNet, scaled to unit length over their channels; the squared
differences, weighed by a linear head, averaged over the picture and summed over layers.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from raindrop.models import vgg

# The layers of VGG-16 that LPIPS compares.
VGG_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
# AlexNet's convolutions: features, kernel, stride, padding.
_ALEXNET = (
    (64, 11, 4, 2),
    (192, 5, 1, 2),
    (384, 3, 1, 1),
    (256, 3, 1, 1),
    (256, 3, 1, 1),
)
_EPSILON = 1e-10  # where all features of a pixel are zero


class AlexNet(nn.Module):
    """torchvision's AlexNet as far as its last convolution (Krizhevsky 2014)."""

    @nn.compact
    def __call__(self, image: jax.Array) -> dict[str, jax.Array]:
        """Image [B, H, W, 3], RGB in [0, 1], 31 pixels a side or more -> features."""
        pool = partial(nn.max_pool, window_shape=(3, 3), strides=(2, 2))
        features = {}
        x = vgg.TORCHVISION(image)
        for i, (width, side, stride, padding) in enumerate(_ALEXNET, start=1):
            if i in (2, 3):
                x = pool(x)
            name = f"conv{i}"
            x = nn.Conv(width, (side, side), stride, padding=padding, name=name)(x)
            x = features[f"relu{i}"] = nn.relu(x)
        return features


def distance(
    x: Mapping[str, jax.Array], y: Mapping[str, jax.Array], heads: Sequence[Any]
) -> jax.Array:
    """LPIPS from features.

    Args:
      x: features of one picture by layer, [B, h, w, C].
      y: of the other.
      heads: weights [C] for each layer, none negative.

    Returns:
      [B], zero for equal pictures.
    """
    total = jnp.zeros(())
    for name, head in zip(x, heads, strict=True):
        difference = (_unit(x[name]) - _unit(y[name])) ** 2
        total += jnp.mean(jnp.sum(difference * head, axis=-1), axis=(1, 2))
    return total


def _unit(features: jax.Array) -> jax.Array:
    norm = jnp.sqrt(jnp.sum(features**2, axis=-1, keepdims=True))
    return features / (norm + _EPSILON)
