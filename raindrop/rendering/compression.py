"""What a JPEG file keeps of a picture.

Almost every photograph comes as one. Its blocks and its lost detail lie over drops and
scene alike, and a network that was trained on uncompressed pictures alone finds fewer
drops there.
"""

import jax
import jax.numpy as jnp
import numpy as np

from raindrop.rendering.settings import Settings, between

_BLOCK = 8
# Tables K.1 and K.2 of ITU-T T.81, which libjpeg scales by the quality.
_LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
)
_CHROMA = np.full((_BLOCK, _BLOCK), 99, np.float32)
_CHROMA[:4, :4] = [
    [17, 18, 24, 47],
    [18, 21, 26, 66],
    [24, 26, 56, 99],
    [47, 66, 99, 99],
]
# JFIF's YCbCr, without the offset of 128.
_TO_YCBCR = np.array(
    [
        [0.299, 0.587, 0.114],
        [-0.168736, -0.331264, 0.5],
        [0.5, -0.418688, -0.081312],
    ],
    np.float32,
)
_TO_RGB = np.linalg.inv(_TO_YCBCR)
# Rows: the basis functions of the orthonormal DCT-II.
_DCT = np.cos(np.pi / _BLOCK * np.outer(np.arange(_BLOCK), np.arange(_BLOCK) + 0.5))
_DCT *= np.sqrt(np.where(np.arange(_BLOCK) == 0, 1, 2) / _BLOCK)[:, None]
_DCT = _DCT.astype(np.float32)


def compress(
    key: jax.Array, pictures: tuple[jax.Array, ...], settings: Settings
) -> tuple[jax.Array, ...]:
    """Pictures as a file of one quality would give them back, or as they are.

    The grid of blocks begins anywhere: what is trained on is cut from larger pictures.

    Args:
      key: random key.
      pictures: [H, W, 3] each, RGB in [0, 1].
      settings: how often, and of which quality.
    """
    if not settings.compressed:
        return pictures
    draws = jax.random.uniform(key, (5,))
    quality = between(settings.quality, draws[0])
    corner = (draws[1:3] * 2 * _BLOCK).astype(jnp.int32)

    def lossy() -> tuple[jax.Array, ...]:
        return tuple(
            jpeg(x, quality, halved=draws[3] < 0.5, corner=corner) for x in pictures
        )

    return jax.lax.cond(draws[4] < settings.compressed, lossy, lambda: pictures)


def jpeg(
    picture: jax.Array, quality: jax.Array, halved: jax.Array, corner: jax.Array
) -> jax.Array:
    """A picture out of a JPEG file (ITU-T T.81), as libjpeg writes it.

    Args:
      picture: [H, W, 3], RGB in [0, 1].
      quality: libjpeg's, 1 to 100; need not be whole.
      halved: whether the colours are kept at half the size (4:2:0).
      corner: [2], int32 in [0, 16): the rows and columns of the first block that the
        picture was cut off by.

    Returns:
      [H, W, 3], RGB in [0, 1], not rounded.
    """
    height, width, _ = picture.shape
    around = 2 * _BLOCK
    pads = [(around, around + -side % around) for side in (height, width)]
    padded = jnp.pad(picture, (*pads, (0, 0)), "edge")
    rows, columns = (side + -side % around + around for side in (height, width))
    start = (around - corner[0], around - corner[1], 0)
    whole = jax.lax.dynamic_slice(padded, start, (rows, columns, 3))
    factor = jnp.where(quality < 50, 50 / quality, 2 - quality / 50)
    levels = jnp.round(_mixed(255 * whole, _TO_YCBCR))
    luma, colours = levels[..., :1], levels[..., 1:]

    def small() -> jax.Array:
        half = colours.reshape(rows // 2, 2, columns // 2, 2, 2).mean((1, 3))
        return jax.image.resize(
            _quantized(half, _CHROMA, factor), colours.shape, "linear"
        )

    colours = jax.lax.cond(halved, small, lambda: _quantized(colours, _CHROMA, factor))
    levels = jnp.concatenate([_quantized(luma - 128, _LUMA, factor) + 128, colours], -1)
    result = jnp.clip(_mixed(jnp.round(levels), _TO_RGB) / 255, 0, 1)
    return jax.lax.dynamic_slice(result, (*corner, 0), (height, width, 3))


def _mixed(picture: jax.Array, matrix: np.ndarray) -> jax.Array:
    """[H, W, 3] with each pixel's colour times the matrix, [3, 3]."""
    # Written out: on a CPU the product of so narrow a matrix takes 30 times as long.
    first, second, third = (picture[..., i : i + 1] * matrix[:, i] for i in range(3))
    return first + second + third


def _quantized(levels: jax.Array, table: np.ndarray, factor: jax.Array) -> jax.Array:
    """[H, W, C] of whole blocks, each coefficient rounded to its step."""
    height, width, channels = levels.shape
    blocks = levels.reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK, channels)
    steps = jnp.clip(jnp.floor(table * factor + 0.5), 1, 255)[:, None, :, None]
    coefficients = jnp.einsum("ui,aibjc,vj->aubvc", _DCT, blocks, _DCT, optimize=True)
    coefficients = jnp.round(coefficients / steps) * steps
    blocks = jnp.einsum("ui,aubvc,vj->aibjc", _DCT, coefficients, _DCT, optimize=True)
    return blocks.reshape(height, width, channels)
