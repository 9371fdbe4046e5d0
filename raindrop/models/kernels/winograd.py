"""Convolutions with fewer products, for the largest layers on a CPU.

Winograd's minimal filtering (Lavin & Gray 2016, section 4.1): four pixels of a row come
out of 8 products in place of 20, for a kernel of five, or 6 in place of 12, for one of
three. Only along a row: tiles of two dimensions save more products, but their
transforms move too much memory and lose digits. A few rows at a time, so that the
transformed pixels stay in the cache. `convolution` chooses where it is used.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Padding = tuple[tuple[int, int], tuple[int, int]]

# Pixels that a tile gives; rows, or pixels, that one turn of its loop takes; the least
# work of a sample, in products, that repays the transforms and the compilation of one
# more such loop, and the least channels that repay the additions.
_TILE = 4
_TILE_ROWS = 8
_TILE_PIXELS = 2048
_TILE_PRODUCTS = 2e9
_TILE_CHANNELS = 32


def for_each(
    body: Callable[[jax.Array, jax.Array], jax.Array], carry: jax.Array, count: int
) -> jax.Array:
    """`lax.fori_loop` from zero; a single turn without a loop compiles faster."""
    if count == 1:
        return body(jnp.zeros((), jnp.int32), carry)
    return lax.fori_loop(0, count, body, carry)


def _toom_cook(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matrices A, G, B: y[i] = sum_j g[j] d[i + j] is y = A^T ((G g) * (B d)).

    `_TILE` values y, `size` taps g, and for each of the inputs d a point at which the
    polynomials are multiplied, infinity being the last (Lavin & Gray 2016).
    """
    count = _TILE + size - 1
    points = np.array([0, 1, -1, 2, -2, 1 / 2, -1 / 2][: count - 1])
    others = [np.delete(points, i) for i in range(count - 1)]
    powers = np.vander(points, count, increasing=True)
    output = np.concatenate([powers[:, :_TILE], np.eye(_TILE)[-1:]])
    scale = np.array([np.prod(p - o) for p, o in zip(points, others, strict=True)])
    taps = np.concatenate([powers[:, :size] / scale[:, None], np.eye(size)[-1:]])
    rows = [np.append(np.poly(o)[::-1], 0) for o in others]
    return output, taps, np.stack([*rows, np.poly(points)[::-1]])


def _combine(matrix: np.ndarray, stacked: jax.Array) -> jax.Array:
    """Sums of the arrays along the first axis, each weighted by a row of the matrix."""
    # A product: the sums written out run no faster, and take seconds to compile.
    return jnp.tensordot(matrix.astype(np.float32), stacked, 1)


def suits(
    x: jax.Array,
    shape: Sequence[int],
    stride: int,
    padding: Padding,
    dilation: int,
) -> bool:
    """Whether `convolve` can do a layer, and pays."""
    height, width = (
        x.shape[1 + i] + sum(padding[i]) - dilation * (shape[i] - 1) for i in range(2)
    )
    products = height * width * math.prod(shape)
    return (
        x.dtype == jnp.float32
        and stride == 1
        and shape[0] == shape[1]
        and shape[0] in (3, 5)
        and min(shape[2:]) >= _TILE_CHANNELS
        and products >= _TILE_PRODUCTS
        and -width % (_TILE * dilation) <= width // 4
    )


@dataclasses.dataclass(frozen=True)
class _Tiles:
    """How an output [B, height, width, F] is cut into blocks, and a row into tiles."""

    batch: int
    height: int
    width: int
    dilation: int

    @property
    def rows(self) -> int:
        rows = min(self.height, max(_TILE_ROWS, _TILE_PIXELS // self.width))
        return -(-self.height // -(-self.height // rows))

    @property
    def blocks(self) -> int:
        return -(-self.height // self.rows)

    @property
    def turns(self) -> int:
        return self.batch * self.blocks

    @property
    def across(self) -> int:
        return -(-self.width // (_TILE * self.dilation))

    def pad(self, x: jax.Array, padding: Padding, size: int) -> jax.Array:
        """Pads [B, H, W, C], and adds zeros up to whole blocks and tiles."""
        want = (
            self.blocks * self.rows + self.dilation * (size - 1),
            (self.across + (size > 1)) * _TILE * self.dilation,
        )
        pads = [
            (low, goal - old - low, 0)
            for (low, _), goal, old in zip(padding, want, x.shape[1:3], strict=True)
        ]
        return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *pads, (0, 0, 0)])

    def points(
        self, x: jax.Array, index: jax.Array, size: int, matrix: np.ndarray
    ) -> jax.Array:
        """Of the padded x, one block, transformed: [points, rows, tiles, C]."""
        rows = self.rows + self.dilation * (size - 1)
        # What JAX would do about negative indices takes long to compile.
        block = lax.dynamic_slice(
            x,
            (index // self.blocks, self.rows * (index % self.blocks), 0, 0),
            (1, rows, *x.shape[2:]),
            allow_negative_indices=False,
        )
        # Pixels `dilation` apart make a tile; those between are of other tiles.
        block = block.reshape(rows, -1, _TILE, self.dilation, x.shape[3])
        pixels = []
        for i in range(matrix.shape[1]):
            first = i // _TILE
            pixel = block[:, first : first + self.across, i % _TILE]
            pixels.append(pixel.reshape(rows, -1, x.shape[3]))
        return _combine(matrix, jnp.stack(pixels))

    def shifted(self, points: jax.Array, size: int) -> jax.Array:
        """What the taps of a column see, side by side: [points, pixels, size * C]."""
        reach = range(0, self.dilation * size, self.dilation)
        # A stack: the same as a concatenation of channels took four times as long.
        seen = jnp.stack([points[:, i : i + self.rows] for i in reach], axis=3)
        return seen.reshape(len(points), -1, size * points.shape[3])


def convolve(
    x: jax.Array, kernel: jax.Array, padding: Padding, dilation: int
) -> jax.Array:
    """The convolution with fewer products (Winograd 1980), along the rows alone."""
    size, _, channels, features = kernel.shape
    output, taps, inputs = _toom_cook(size)
    reach = dilation * (size - 1)
    batch, height, width, _ = x.shape
    tiles = _Tiles(
        batch,
        height + sum(padding[0]) - reach,
        width + sum(padding[1]) - reach,
        dilation,
    )
    x = tiles.pad(x, padding, size)
    kernel = jnp.einsum("pj,ijcf->picf", taps.astype(np.float32), kernel)
    kernel = kernel.reshape(len(inputs), size * channels, features)
    shape = (tiles.rows, tiles.across * _TILE * dilation, features)

    def write_block(index: jax.Array, y: jax.Array) -> jax.Array:
        points = tiles.points(x, index, size, inputs)
        products = tiles.shifted(points, size) @ kernel
        pixels = _combine(output.T, products)
        pixels = pixels.reshape(_TILE, tiles.rows, tiles.across, dilation, features)
        block = jnp.moveaxis(pixels, 0, 2).reshape(shape)
        return lax.dynamic_update_index_in_dim(
            y, block, index, 0, allow_negative_indices=False
        )

    y = jnp.zeros((tiles.turns, *shape), x.dtype)
    y = for_each(write_block, y, tiles.turns)
    y = y.reshape(batch, tiles.blocks * tiles.rows, *shape[1:])
    return y[:, : tiles.height, : tiles.width]


def kernel_gradient(
    x: jax.Array, dy: jax.Array, size: int, padding: Padding, dilation: int
) -> jax.Array:
    """The transpose of `convolve` in its kernel."""
    output, taps, inputs = _toom_cook(size)
    batch, height, width, _ = dy.shape
    tiles = _Tiles(batch, height, width, dilation)
    x, dy = tiles.pad(x, padding, size), tiles.pad(dy, ((0, 0), (0, 0)), 1)
    channels, features = x.shape[-1], dy.shape[-1]

    def add_block(index: jax.Array, total: jax.Array) -> jax.Array:
        points = tiles.points(x, index, size, inputs)
        left = tiles.shifted(points, size)
        right = tiles.shifted(tiles.points(dy, index, 1, output), 1)
        return total + jnp.einsum("pmc,pmf->pcf", left, right)

    total = jnp.zeros((len(inputs), size * channels, features), x.dtype)
    total = for_each(add_block, total, tiles.turns)
    total = total.reshape(len(inputs), size, channels, features)
    return jnp.einsum("pj,picf->ijcf", taps.astype(np.float32), total)
