"""The few layers that the networks share.

All work on NHWC. Convolutions pad by `kernel // 2` (times the dilation) on every side,
as PyTorch's do; the 'SAME' of TensorFlow, which is asymmetric for a stride of two, is
there for the network that was trained with it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from raindrop.models.kernels import convolution

Dtype = Any
Initializer = Callable[..., jax.Array]
# Of networks of rectifiers (He et al. 2015). With Flax's own, half as large, the
# gradients of the autoencoder's inner layers start at 1e-8, and stay there for long.
HE = nn.initializers.he_normal()
Activation = Callable[[jax.Array], jax.Array]
Layer = Callable[..., nn.Module]  # a layer's constructor, with some of its fields


def activation(negative_slope: float) -> Activation:
    """ReLU, or leaky ReLU where the slope below zero is not zero."""
    if negative_slope == 0:
        return nn.relu
    return lambda x: nn.leaky_relu(x, negative_slope)


def conv(
    features: int,
    kernel_size: int = 3,
    stride: int = 1,
    dilation: int = 1,
    *,
    use_bias: bool = True,
    same_padding: bool = False,
    dtype: Dtype = jnp.float32,
    fast_gradients: bool = True,
    kernel_init: Initializer = HE,
    name: str | None = None,
) -> nn.Conv:
    """A square convolution, [B, H, W, C] -> [B, H', W', features].

    Args:
      features: output channels.
      kernel_size: side of the kernel.
      stride: step of the window.
      dilation: spacing of the kernel's taps.
      use_bias: whether a bias is added.
      same_padding: TensorFlow's 'SAME' in place of symmetric padding.
      dtype: of the computation; parameters are float32.
      fast_gradients: on a CPU; see `kernels.convolution`.
      kernel_init: initial values of the kernel.
      name: of the layer.
    """
    return nn.Conv(
        features,
        (kernel_size, kernel_size),
        strides=stride,
        kernel_dilation=dilation,
        padding="SAME" if same_padding else dilation * (kernel_size // 2),
        use_bias=use_bias,
        dtype=dtype,
        kernel_init=kernel_init,
        conv_general_dilated=(
            convolution.conv_general_dilated if fast_gradients else None
        ),
        name=name,
    )


def transposed_conv(
    features: int,
    *,
    use_bias: bool = True,
    dtype: Dtype = jnp.float32,
    fast_gradients: bool = True,
    name: str | None = None,
) -> nn.Module:
    """A 4x4 transposed convolution: [B, H, W, C] -> [B, 2 H, 2 W, features].

    Args:
      features: output channels.
      use_bias: whether a bias is added.
      dtype: of the computation; parameters are float32.
      fast_gradients: on a CPU; see `convolution`.
      name: of the layer.
    """
    module: Layer = nn.ConvTranspose
    if fast_gradients:
        # The parameters of nn.Conv are the same.
        module = partial(nn.Conv, conv_general_dilated=convolution.conv_transpose)
    return module(
        features,
        (4, 4),
        strides=(2, 2),
        padding="SAME",
        use_bias=use_bias,
        dtype=dtype,
        kernel_init=HE,
        name=name,
    )


class Upsample(nn.Module):
    """Twice the size: 4x4 transposed convolution of stride 2, then a 2x2 mean.

    The mean has a stride of one and keeps the size. The release (rui1996/DeRaindrop)
    reflects one row on top and one column on the left for it; with `same_padding` the
    mean reaches down and right, as TensorFlow's 'SAME' does, and at the last row and
    column takes only the pixels that exist.
    """

    features: int
    use_bias: bool = True
    same_padding: bool = False
    dtype: Dtype = jnp.float32
    fast_gradients: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, 2 H, 2 W, features]."""
        x = transposed_conv(
            self.features,
            use_bias=self.use_bias,
            dtype=self.dtype,
            fast_gradients=self.fast_gradients,
            name="conv",
        )(x)
        if self.same_padding:
            return nn.avg_pool(x, (2, 2), padding="SAME", count_include_pad=False)
        x = jnp.pad(x, ((0, 0), (1, 0), (1, 0), (0, 0)), mode="reflect")
        return nn.avg_pool(x, (2, 2))
