"""Contextual autoencoder: paints what the drops hide (section 4.1 of the paper)."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from raindrop.models import layers
from raindrop.models.layers import Dtype, Layer, activation

_SMALL = nn.initializers.variance_scaling(0.01, "fan_in", "normal")


class ContextualAutoencoder(nn.Module):
    """Encoder, dilated convolutions, decoder with additive skips, three outputs.

    The layers are those of the released network (rui1996/DeRaindrop). The outputs at
    1/4 and 1/2 scale serve the multi-scale loss.

    Attributes:
      channels: width at full size; twice and four times that further down.
      last_channels: width before the full-size output; 0: half of `channels`.
      pictures: that come out at each scale, one after the other in the channels.
      widen_at_conv4: the width doubles at conv4, the second of stride two, as released;
        else one convolution later.
      dilations: of the 3x3 convolutions at 1/4 scale.
      attention_first: order in which image and map are concatenated.
      relu_heads: ReLU on the two small outputs, as released.
      tanh_output: tanh on the full-size output, else linear.
      negative_slope: of the (leaky) ReLU.
      use_bias: of every convolution.
      same_padding: TensorFlow's padding in place of PyTorch's.
      dtype: of the computation.
      fast_gradients: on a CPU; see `kernels.convolution`.
    """

    channels: int = 64
    last_channels: int = 0
    pictures: int = 1
    widen_at_conv4: bool = True
    dilations: tuple[int, ...] = (2, 4, 8, 16)
    attention_first: bool = False
    relu_heads: bool = True
    tanh_output: bool = False
    negative_slope: float = 0.0
    use_bias: bool = True
    same_padding: bool = False
    dtype: Dtype = jnp.float32
    fast_gradients: bool = True

    map_channels = 0  # no gate of its own; see `ResidualAutoencoder`
    overview = 0  # as there
    reduction = 4  # of the size, at the lowest scale

    @nn.compact
    def __call__(
        self, image: jax.Array, attention: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Image [B, H, W, C] and map [B, H, W, 1], H and W multiples of four.

        Returns:
          The picture at 1/4, 1/2 and full size, smallest first, of `pictures` times C
          channels each.
        """
        act = activation(self.negative_slope)
        head = nn.relu if self.relu_heads else lambda x: x
        shared: dict[str, Any] = {
            "use_bias": self.use_bias,
            "same_padding": self.same_padding,
            "dtype": self.dtype,
            "fast_gradients": self.fast_gradients,
        }
        conv: Layer = partial(layers.conv, **shared)
        upsample: Layer = partial(layers.Upsample, **shared)
        # Pictures start close to nothing: a correction close to none.
        to_picture: Layer = partial(
            conv, self.pictures * image.shape[-1], kernel_init=_SMALL
        )

        full, half, quarter = self.channels, 2 * self.channels, 4 * self.channels
        inputs = [attention, image] if self.attention_first else [image, attention]
        x = jnp.concatenate([i.astype(self.dtype) for i in inputs], axis=-1)

        x = skip_full = act(conv(full, kernel_size=5, name="conv1")(x))
        x = act(conv(half, stride=2, name="conv2")(x))
        x = skip_half = act(conv(half, name="conv3")(x))
        width = quarter if self.widen_at_conv4 else half
        x = act(conv(width, stride=2, name="conv4")(x))
        x = act(conv(quarter, name="conv5")(x))
        x = act(conv(quarter, name="conv6")(x))
        for i, dilation in enumerate(self.dilations, start=1):
            x = act(conv(quarter, dilation=dilation, name=f"dilated{i}")(x))
        x = act(conv(quarter, name="conv7")(x))
        x = act(conv(quarter, name="conv8")(x))
        output_quarter = head(to_picture(name="output_quarter")(x))

        x = act(upsample(half, name="up1")(x)) + skip_half
        x = act(conv(half, name="conv9")(x))
        output_half = head(to_picture(name="output_half")(x))

        x = act(upsample(full, name="up2")(x)) + skip_full
        x = act(conv(self.last_channels or full // 2, name="conv10")(x))
        output = to_picture(name="output")(x)
        if self.tanh_output:
            output = jnp.tanh(output)
        return output_quarter, output_half, output
