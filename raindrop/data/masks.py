"""The raindrop mask M of a pair, by one of the rules found in the field.

The release takes a pixel for drop where the largest difference of a channel is above 30
of 255. Others take the mean, the sum, or a threshold for each channel, and close or
open the mask with a 5 x 5 window.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

_REDUCE: dict[str, Any] = {"max": jnp.max, "mean": jnp.mean, "sum": jnp.sum}
RULES = ("max", "mean", "sum", "per_channel")
# Differences of 8-bit pictures are multiples of 1/255: the margin, far below that,
# keeps rounding from calling a difference larger that equals the threshold.
_MARGIN = 1e-5


def mask(
    rainy: jax.Array,
    clean: jax.Array,
    rule: str = "max",
    threshold: float = 30 / 255,
    channel_thresholds: tuple[float, float, float] = (30 / 255,) * 3,
    close: bool = False,
    open: bool = False,
    window: int = 5,
) -> jax.Array:
    """Where the pictures of a pair differ.

    Args:
      rainy: [H, W, 3] RGB in [0, 1], or with batch dimensions in front.
      clean: likewise.
      rule: of |rainy - clean|, what is compared: 'max', 'mean' or 'sum' over the
        channels with `threshold`, or any channel with its own ('per_channel').
      threshold: of 'max', 'mean' and 'sum'.
      channel_thresholds: of 'per_channel', in the order R, G, B.
      close: fill holes smaller than the window.
      open: drop specks smaller than the window, after closing.
      window: side of the square window.

    Returns:
      [..., H, W, 1], 1.0 where there is a drop, else 0.0.

    Raises:
      ValueError: an unknown rule.
    """
    if rule not in RULES:
        raise ValueError(f"data.mask.rule must be one of {RULES}, not {rule!r}")
    difference = jnp.abs(rainy - clean)
    if rule == "per_channel":
        above = difference > jnp.asarray(channel_thresholds) + _MARGIN
        drops = above.any(-1, keepdims=True)
    else:
        drops = _REDUCE[rule](difference, axis=-1, keepdims=True) > threshold + _MARGIN
    drops = drops.astype(jnp.float32)
    if close:
        drops = _erode(_dilate(drops, window), window)
    if open:
        drops = _dilate(_erode(drops, window), window)
    return drops


def _dilate(drops: jax.Array, window: int) -> jax.Array:
    """Largest value in a square window; what lies outside the picture is no drop."""
    shape = (1,) * (drops.ndim - 3) + (window, window, 1)
    ones = (1,) * drops.ndim
    return lax.reduce_window(drops, -jnp.inf, lax.max, shape, ones, "SAME")


def _erode(drops: jax.Array, window: int) -> jax.Array:
    # The outside counts as drop here, so that drops are not eaten from the border.
    return 1 - _dilate(1 - drops, window)
