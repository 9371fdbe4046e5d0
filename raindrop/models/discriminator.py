"""Attentive discriminator: real photograph or generated? (section 4.2 of the paper)."""

from functools import partial

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from raindrop.models import layers
from raindrop.models.layers import Dtype, activation


@flax.struct.dataclass
class DiscriminatorOutput:
    """What the discriminator gives."""

    logits: jax.Array  # [B], before the sigmoid: D(x) = sigmoid(logits)
    map: jax.Array  # [B, H, W, 1], where it looked


class Discriminator(nn.Module):
    """Six 5x5 convolutions, a map that weighs them, three of stride four, two dense.

    It works for the crop size that it was initialised with: the dense layer sees every
    position. The two dense layers have nothing between them.

    The layers are those of the blog post's listing of the paper's network. The authors'
    repository (rui1996/DeRaindrop) has a file of its own, which differs: channels 8,
    16, 64, 128, 128, 128, strided layers that pad by 1 where these pad by 2, and a
    seventh layer that is applied twice, which its own widths do not allow: it cannot
    run, and no weights of it were released. Its widths are to be had with `channels`.

    Attributes:
      channels: of the full-size convolutions; the listing's by default, and
        (8, 16, 64, 128, 128, 128) for those of the authors' file.
      strided_channels: of the convolutions of stride four.
      dense: width of the first dense layer.
      attentive: whether there is a map; without one (the paper's ablation A+D) the
        features pass as they are and the map is zero.
      negative_slope: of the (leaky) ReLU.
      dtype: of the computation.
      fast_gradients: on a CPU; see `kernels.convolution`.
    """

    channels: tuple[int, ...] = (8, 16, 32, 64, 128, 128)
    strided_channels: tuple[int, ...] = (64, 64, 32)
    dense: int = 1024
    attentive: bool = True
    negative_slope: float = 0.0
    dtype: Dtype = jnp.float32
    fast_gradients: bool = True

    @nn.compact
    def __call__(self, image: jax.Array) -> DiscriminatorOutput:
        """Image [B, H, W, 3], RGB in [0, 1] -> `DiscriminatorOutput`."""
        act = activation(self.negative_slope)
        conv = partial(
            layers.conv, dtype=self.dtype, fast_gradients=self.fast_gradients
        )
        x = image.astype(self.dtype)
        for i, features in enumerate(self.channels, start=1):
            x = act(conv(features, 5, name=f"conv{i}")(x))
        if self.attentive:
            attention = conv(1, 5, name="map")(x)
            x = x * attention
        else:
            attention = jnp.zeros((*x.shape[:3], 1), self.dtype)
        for i, features in enumerate(self.strided_channels, start=1):
            x = act(conv(features, 5, 4, name=f"strided{i}")(x))
        x = x.reshape(x.shape[0], -1)
        x = nn.Dense(self.dense, dtype=self.dtype, name="dense")(x)
        logits = nn.Dense(1, dtype=self.dtype, name="logits")(x)[:, 0]
        return DiscriminatorOutput(
            logits.astype(jnp.float32), attention.astype(jnp.float32)
        )
