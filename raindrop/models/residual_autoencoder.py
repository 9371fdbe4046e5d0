"""An autoencoder of residual blocks, at full resolution, for small networks."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from raindrop.models import layers
from raindrop.models.layers import Dtype, Layer, activation
from raindrop.models.overview import Overview

# The last convolution of a block and of a picture: a fresh network changes little.
_SMALL = nn.initializers.variance_scaling(0.01, "fan_in", "normal")


class ResidualAutoencoder(nn.Module):
    """Residual blocks at every scale, strided convolutions down, additive skips up.

    It stands where `ContextualAutoencoder` does (section 4.1 of the paper: an
    encoder, dilated convolutions for context, a decoder with skips, pictures at three
    scales), with residual blocks in place of single convolutions (EDSR,
    arXiv:1707.02921), so that a slim network trains well at full resolution.

    Attributes:
      widths: channels of each scale, full size first; at least three scales, each half
        as large as the one before.
      encoder_blocks: residual blocks of each scale but the lowest, on the way down.
      decoder_blocks: the same on the way up.
      dilations: of the blocks at the lowest scale.
      pictures: that come out at each scale, one after the other in the channels.
      map_channels: further channels of the full-size output, after the pictures: the
        logits of how much of the pictures counts, for each pixel (of a patch).
      overview: channels of the `Overview` of its lowest scale; 0: there is none.
      negative_slope: of the (leaky) ReLU.
      dtype: of the computation.
      fast_gradients: on a CPU; see `convolution`.
    """

    widths: tuple[int, ...] = (24, 32, 48, 64)
    encoder_blocks: tuple[int, ...] = (1, 1, 1)
    decoder_blocks: tuple[int, ...] = (1, 1, 1)
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1)
    pictures: int = 1
    map_channels: int = 0
    overview: int = 0
    negative_slope: float = 0.1
    dtype: Dtype = jnp.float32
    fast_gradients: bool = True

    same_padding = False  # see `ContextualAutoencoder`

    @property
    def reduction(self) -> int:
        """By how much the lowest scale is smaller than the picture."""
        return 2 ** (len(self.widths) - 1)

    @nn.compact
    def __call__(self, image: jax.Array, attention: jax.Array) -> tuple[jax.Array, ...]:
        """Image [B, H, W, C] and map [B, H, W, M], H and W multiples of 2^(scales - 1).

        Returns:
          The picture at 1/4, 1/2 and full size, smallest first, of `pictures` times C
          channels each, the last with `map_channels` more. With `overview` its result,
          [B, H, W, 1], comes after them.
        """
        act = activation(self.negative_slope)
        shared: dict[str, Any] = {
            "dtype": self.dtype,
            "fast_gradients": self.fast_gradients,
        }
        conv: Layer = partial(layers.conv, **shared)

        def block(x: jax.Array, name: str, dilation: int = 1) -> jax.Array:
            width = x.shape[-1]
            y = act(conv(width, dilation=dilation, name=f"{name}_conv1")(x))
            y = conv(width, kernel_init=_SMALL, name=f"{name}_conv2")(y)
            return x + y

        inputs = [image.astype(self.dtype), attention.astype(self.dtype)]
        x = act(conv(self.widths[0], name="input")(jnp.concatenate(inputs, axis=-1)))
        skips = []
        for scale, count in enumerate(self.encoder_blocks):
            for i in range(count):
                x = block(x, f"down{scale}_block{i}")
            skips.append(x)
            width = self.widths[scale + 1]
            x = act(conv(width, stride=2, name=f"down{scale}")(x))
        for i, dilation in enumerate(self.dilations):
            x = block(x, f"lowest_block{i}", dilation)
        judged: tuple[jax.Array, ...] = ()
        if self.overview:
            overview = Overview(
                self.overview,
                self.reduction,
                self.negative_slope,
                name="overview_of_lowest",
                **shared,
            )
            judged = (overview(x),)
        outputs = []
        for scale in reversed(range(len(self.widths))):
            if scale < len(self.widths) - 1:
                upsample = layers.transposed_conv(
                    self.widths[scale], name=f"up{scale}", **shared
                )
                x = act(upsample(x)) + skips[scale]
                for i in range(self.decoder_blocks[scale]):
                    x = block(x, f"up{scale}_block{i}")
            if scale < 3:
                channels = self.pictures * image.shape[-1]
                channels += self.map_channels if scale == 0 else 0
                output = conv(channels, kernel_init=_SMALL, name=f"output{scale}")
                outputs.append(output(x))
        return *outputs, *judged
