"""Whether there are drops on a pane at all, judged by all of a picture."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from raindrop.models import layers
from raindrop.models.layers import Dtype, activation

# A logit, before anything was learned: all that is painted counts.
_SURE = nn.initializers.constant(4.0)


class Overview(nn.Module):
    """A small classifier on an autoencoder's features: is this pane wet?

    One lamp or one eye looks like a drop; a picture without any other drop tells that
    it is none. A convolution, then mean and maximum over all positions
    (squeeze-and-excitation, arXiv:1709.01507, has the mean), then two dense layers.
    It learns from the features, and no gradient goes into them.

    Attributes:
      channels: of all its layers.
      negative_slope: of the (leaky) ReLU.
      dtype: of the computation.
      fast_gradients: on a CPU; see `convolution`.
    """

    channels: int
    negative_slope: float = 0.1
    dtype: Dtype = jnp.float32
    fast_gradients: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, inside: jax.Array | None = None) -> jax.Array:
        """Features -> logits of a wet pane.

        Args:
          x: [B, H, W, C].
          inside: bool [B, H, W, 1], which positions belong to the picture, where it is
            in a larger array; all of them by default.

        Returns:
          float32 [B].
        """
        act = activation(self.negative_slope)
        dense: Any = partial(nn.Dense, dtype=self.dtype)
        conv = layers.conv(
            self.channels,
            stride=2,
            dtype=self.dtype,
            fast_gradients=self.fast_gradients,
            name="conv",
        )
        y = act(conv(jax.lax.stop_gradient(x)))
        y = act(dense(self.channels, name="mix")(y)).astype(jnp.float32)
        if inside is None:
            pooled = [y.mean((1, 2)), y.max((1, 2))]
        else:
            inside = inside[:, ::2, ::2]
            count = jnp.maximum(inside.sum((1, 2)), 1)
            mean = jnp.where(inside, y, 0).sum((1, 2)) / count
            pooled = [mean, jnp.where(inside, y, -jnp.inf).max((1, 2))]
        y = act(dense(self.channels, name="hidden")(jnp.concatenate(pooled, -1)))
        return dense(1, bias_init=_SURE, name="logit")(y)[:, 0].astype(jnp.float32)
