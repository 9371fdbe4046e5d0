"""Whether what looks like a drop is one, judged by all of a picture."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from raindrop.models import layers
from raindrop.models.layers import Dtype, activation

# A logit, before anything was learned: nearly all that is painted counts.
_SURE = nn.initializers.constant(2.0)


class Overview(nn.Module):
    """How far what a network paints is to count, place by place.

    One lamp or one eye looks like a drop; a picture without any other drop tells that
    it is none. A convolution, then mean and maximum over all positions
    (squeeze-and-excitation, arXiv:1709.01507, has the mean), which two dense layers
    compare with each position. It learns from the features of an autoencoder, and no
    gradient goes into them.

    Attributes:
      channels: of all its layers.
      factor: pixels of its result along a side, for each of the features.
      negative_slope: of the (leaky) ReLU.
      dtype: of the computation.
      fast_gradients: on a CPU; see `convolution`.
    """

    channels: int
    factor: int = 1
    negative_slope: float = 0.1
    dtype: Dtype = jnp.float32
    fast_gradients: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, inside: jax.Array | None = None) -> jax.Array:
        """Features -> how far what is painted counts, in [0, 1].

        Args:
          x: [B, h, w, C].
          inside: bool [B, h, w, 1], which positions belong to the picture, where it is
            in a larger array; all of them by default.

        Returns:
          float32 [B, factor * h, factor * w, 1].
        """
        act = activation(self.negative_slope)
        dense: Any = partial(nn.Dense, self.channels, dtype=self.dtype)
        conv = layers.conv(
            self.channels,
            stride=2,
            dtype=self.dtype,
            fast_gradients=self.fast_gradients,
            name="conv",
        )
        y = act(conv(jax.lax.stop_gradient(x)))
        y = act(dense(name="mix")(y))
        if inside is not None:
            inside = inside[:, ::2, ::2]
        whole = act(dense(name="hidden")(_pooled(y.astype(jnp.float32), inside)))
        whole = dense(use_bias=False, name="whole")(whole)[:, None, None]
        y = act(dense(name="place")(y) + whole)
        logits = nn.Dense(1, dtype=self.dtype, bias_init=_SURE, name="logit")(y)
        share = nn.sigmoid(logits.astype(jnp.float32))
        height, width = (self.factor * side for side in x.shape[1:3])
        return _enlarged(share, 2 * self.factor, inside)[:, :height, :width]


def _pooled(y: jax.Array, inside: jax.Array | None) -> jax.Array:
    """Mean and maximum over all positions inside, [B, 2 C]."""
    if inside is None:
        return jnp.concatenate([y.mean((1, 2)), y.max((1, 2))], -1)
    count = jnp.maximum(inside.sum((1, 2)), 1)
    mean = jnp.where(inside, y, 0).sum((1, 2)) / count
    return jnp.concatenate([mean, jnp.where(inside, y, -jnp.inf).max((1, 2))], -1)


def _enlarged(x: jax.Array, factor: int, inside: jax.Array | None) -> jax.Array:
    """Bilinear; beyond what is inside nothing is mixed in, as at an array's border."""
    shape = (x.shape[0], factor * x.shape[1], factor * x.shape[2], 1)
    if inside is None:
        return jax.image.resize(x, shape, "linear")
    weight = jax.image.resize(inside.astype(jnp.float32), shape, "linear")
    x = jax.image.resize(jnp.where(inside, x, 0), shape, "linear")
    return x / jnp.maximum(weight, 1e-6)
