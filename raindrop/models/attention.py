"""Attentive recurrent network: where are the drops? (section 4.1 of the paper)."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from raindrop.models import layers
from raindrop.models.layers import Dtype, activation

Carry = tuple[jax.Array, jax.Array, jax.Array]  # cell state, hidden state, map


class AttentionStep(nn.Module):
    """One step of the recurrence: residual blocks, then a ConvLSTM, then a map.

    The equations are those of the released network (rui1996/DeRaindrop): no peepholes,
    which the paper's equation 3 has.

    Attributes:
      channels: of all features and states.
      num_blocks: residual blocks.
      block_kernel_size: kernel of the residual blocks.
      chain_sums: whether a block works on the sum that the block before gave, as
        residual blocks do. Without, it works on that block's convolutions alone, and
        the sums only add up beside the chain.
      recurrent_hidden: whether the gates see the hidden state of the step before.
      sigmoid_map: whether the map passes a sigmoid; linear in the release.
      negative_slope: of the (leaky) ReLU.
      use_bias: of the first convolution and the residual blocks.
      lstm_bias: of the gates and the map.
      dtype: of the computation.
      fast_gradients: on a CPU; see `kernels.convolution`.
    """

    channels: int = 32
    num_blocks: int = 5
    block_kernel_size: int = 3
    chain_sums: bool = True
    recurrent_hidden: bool = True
    sigmoid_map: bool = False
    negative_slope: float = 0.0
    use_bias: bool = True
    lstm_bias: bool = True
    dtype: Dtype = jnp.float32
    fast_gradients: bool = True

    @nn.compact
    def __call__(self, carry: Carry, image: jax.Array) -> tuple[Carry, jax.Array]:
        """Takes (C, H, A) and the image [B, H, W, 3]; gives the new ones, and A."""
        cell, hidden, attention = carry
        act = activation(self.negative_slope)
        conv = partial(
            layers.conv,
            use_bias=self.use_bias,
            dtype=self.dtype,
            fast_gradients=self.fast_gradients,
        )
        lstm_conv = partial(conv, use_bias=self.lstm_bias)
        block_conv = partial(conv, self.channels, self.block_kernel_size)

        x = jnp.concatenate([image, attention], axis=-1)
        x = y = act(conv(self.channels, name="input")(x))
        for i in range(1, self.num_blocks + 1):
            y = act(block_conv(name=f"block{i}_conv1")(x if self.chain_sums else y))
            y = act(block_conv(name=f"block{i}_conv2")(y))
            x = act(x + y)

        if self.recurrent_hidden:
            x = jnp.concatenate([x, hidden], axis=-1)
        # One convolution for the four gates: same parameters, a wider matrix product.
        gates = lstm_conv(4 * self.channels, name="gates")(x)
        write, forget, candidate, read = jnp.split(gates, 4, axis=-1)
        cell = nn.sigmoid(forget) * cell + nn.sigmoid(write) * jnp.tanh(candidate)
        hidden = nn.sigmoid(read) * jnp.tanh(cell)
        attention = lstm_conv(1, name="map")(hidden)
        if self.sigmoid_map:
            attention = nn.sigmoid(attention)
        return (cell, hidden, attention), attention


class AttentiveRecurrentNetwork(nn.Module):
    """`steps` steps over the same image, starting from A_0 = 0.5.

    167,809 parameters as released: the steps share their weights.

    Attributes:
      steps: N of the paper. 0 gives no maps.
      share_steps: one set of weights for all steps, or one set each (leading axis).
      unroll: the scan written out. On a CPU it takes as long and compiles slower;
        without `fast_gradients` a rolled scan is many times slower there.
      remat: recompute the steps in the backward pass; saves most of the memory.
      Others: see `AttentionStep`.
    """

    steps: int = 4
    channels: int = 32
    num_blocks: int = 5
    block_kernel_size: int = 3
    chain_sums: bool = True
    share_steps: bool = True
    recurrent_hidden: bool = True
    sigmoid_map: bool = False
    negative_slope: float = 0.0
    use_bias: bool = True
    lstm_bias: bool = True
    unroll: bool = False
    remat: bool = False
    dtype: Dtype = jnp.float32
    fast_gradients: bool = True

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """Image [B, H, W, 3] -> maps A_1 to A_N, [N, B, H, W, 1]."""
        batch, height, width, _ = image.shape
        if self.steps == 0:
            return jnp.zeros((0, batch, height, width, 1), self.dtype)
        step = nn.remat(AttentionStep) if self.remat else AttentionStep
        axes: dict[str, Any]
        if self.share_steps:
            axes = {"variable_broadcast": "params", "split_rngs": {"params": False}}
        else:
            axes = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}}
        scan = nn.scan(
            step,
            in_axes=nn.broadcast,
            length=self.steps,
            unroll=self.steps if self.unroll else 1,
            **axes,
        )
        state = jnp.zeros((batch, height, width, self.channels), self.dtype)
        attention = jnp.full((batch, height, width, 1), 0.5, self.dtype)
        _, maps = scan(
            channels=self.channels,
            num_blocks=self.num_blocks,
            block_kernel_size=self.block_kernel_size,
            chain_sums=self.chain_sums,
            recurrent_hidden=self.recurrent_hidden,
            sigmoid_map=self.sigmoid_map,
            negative_slope=self.negative_slope,
            use_bias=self.use_bias,
            lstm_bias=self.lstm_bias,
            dtype=self.dtype,
            fast_gradients=self.fast_gradients,
            name="step",
        )((state, state, attention), image.astype(self.dtype))
        return maps
