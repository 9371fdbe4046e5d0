"""A convolution, and its transpose, whose gradients are fast on a CPU too.

XLA turns the gradients of a convolution into convolutions again, and its CPU backend is
fast for one form alone: NHWC, with a small HWIO kernel, not dilated on the left. The
kernel gradient is far from that form (the whole picture is its window, the samples are
its channels) and runs three to eight times as long as the convolution itself; inside a
loop, such as `nn.scan`, it even stays on a single thread. The transposed convolution
multiplies by all the zeros that its stride puts between the pixels. So here, on a CPU:

- the input gradient is a plain convolution of dy with the flipped kernel; with a
  stride, one for each phase of the output, interleaved: no zeros, and a transposed
  convolution is the same thing (Dumoulin & Visin 2016, section 4);
- the kernel gradient is a convolution over the rows alone whose channels are a whole
  row of pixels. That is a long matrix product, and goes a few rows at a time, so that
  the shifted copies that it needs stay in the cache;
- the largest layers save products, as in Winograd's minimal filtering (Lavin & Gray
  2016, section 4.1): four pixels of a row come out of 8 products in place of 20, for
  a kernel of five, or 6 in place of 12. Only along a row: tiles of two dimensions save
  more products, but their transforms move too much memory and lose digits.

All are equal to XLA's own up to rounding: errors are a few 1e-6 of the largest value
with tiles, a few 1e-7 else. Other platforms, chosen when the program is compiled, keep
XLA's own, as their libraries have better kernels.
`benchmarks/README.md` holds the measurements.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Padding = tuple[tuple[int, int], tuple[int, int]]

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")
# Of dy, what one turn of the kernel gradient's loop takes at most: rows, and pixels,
# where several small samples fit.
_ROWS = 32
_PIXELS = 8192
# Of the convolution by tiles: pixels that a tile gives; rows, or pixels, that one turn
# of its loop takes; the least work, in products, that repays the half second that one
# more such loop takes to compile, and the least channels that repay the additions.
_TILE = 4
_TILE_ROWS = 8
_TILE_PIXELS = 2048
_TILE_PRODUCTS = 1e10
_TILE_CHANNELS = 32


def conv_general_dilated(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    *,
    rhs_dilation: Sequence[int] = (1, 1),
    **options: object,
) -> jax.Array:
    """For `nn.Conv(conv_general_dilated=...)`: the same, with fast gradients.

    Args:
      x: [B, H, W, C].
      kernel: [h, w, C, features].
      strides: of the window, the same for both axes.
      padding: 'SAME', or before and after for both axes.
      rhs_dilation: spacing of the kernel's taps, the same for both axes.
      **options: of `lax.conv_general_dilated`, as `nn.Conv` sets them by default; a
        convolution in groups or one that dilates its input is not covered.
    """
    (stride, _), (dilation, _) = strides, rhs_dilation
    if isinstance(padding, str):
        window = [dilation * (size - 1) + 1 for size in kernel.shape[:2]]
        padding = lax.padtype_to_pads(x.shape[1:3], window, strides, padding)
    return _convolve(x, kernel, stride, tuple(map(tuple, padding)), dilation)


def conv_transpose(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: str,
    **options: object,
) -> jax.Array:
    """`lax.conv_transpose` with fast gradients, in the place where `nn.Conv` has one.

    Args:
      x: [B, H, W, C].
      kernel: [h, w, C, features], larger than the stride by an even number.
      strides: s, the same for both axes.
      padding: 'SAME'.
      **options: as for `conv_general_dilated`.

    Returns:
      [B, s H, s W, features].
    """
    stride, _ = strides
    pads = tuple(((size - stride) // 2,) * 2 for size in kernel.shape[:2])
    return _transpose(x, _flip(kernel), stride, pads)


def _plain(
    x: jax.Array, kernel: jax.Array, stride: int, padding: Padding, dilation: int
) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=_DIMENSIONS,
    )


def _fast(
    x: jax.Array, kernel: jax.Array, stride: int, padding: Padding, dilation: int
) -> jax.Array:
    """`_plain` on a CPU."""
    if _suits_tiles(x, kernel.shape, stride, padding, dilation):
        return _by_tiles(x, kernel, padding, dilation)
    return _plain(x, kernel, stride, padding, dilation)


# Where no gradient is taken the forward pass is XLA's: it compiles at once.
_convolve = jax.custom_vjp(_plain, nondiff_argnums=(2, 3, 4))


def _convolve_forward(x, kernel, *window):  # noqa: ANN001, ANN002, ANN202
    def plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return _plain(x, kernel, *window)

    def fast(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return _fast(x, kernel, *window)

    return lax.platform_dependent(x, kernel, cpu=fast, default=plain), (x, kernel)


def _convolve_backward(stride, padding, dilation, saved, dy):  # noqa: ANN001, ANN202
    x, kernel = saved
    window = (stride, padding, dilation)
    dx = _input_gradient(dy, kernel, x.shape, *window)
    return dx, _kernel_gradient(x, dy, kernel.shape, *window)


_convolve.defvjp(_convolve_forward, _convolve_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _transpose(
    x: jax.Array, kernel: jax.Array, stride: int, padding: Padding
) -> jax.Array:
    """What the convolution [B, s H, s W, F] -> [B, H, W, C] does to its cotangents."""
    batch, height, width, _ = x.shape
    shape = (batch, stride * height, stride * width, kernel.shape[2])
    return _input_gradient(x, kernel, shape, stride, padding, 1)


def _transpose_forward(x, kernel, *window):  # noqa: ANN001, ANN002, ANN202
    return _transpose(x, kernel, *window), (x, kernel)


def _transpose_backward(stride, padding, saved, dy):  # noqa: ANN001, ANN202
    x, kernel = saved
    window = (stride, padding, 1)
    return _convolve(dy, kernel, *window), _kernel_gradient(
        dy, x, kernel.shape, *window
    )


_transpose.defvjp(_transpose_forward, _transpose_backward)


def _flip(kernel: jax.Array) -> jax.Array:
    """The kernel of the way back: turned by 180 degrees, in and out swapped."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


def _pads_back(sizes: Sequence[int], padding: Padding, dilation: int) -> Padding:
    """Padding of the way back, for a kernel of `sizes` and a stride of one."""
    reach = [dilation * (size - 1) for size in sizes]
    return tuple((r - a, r - b) for r, (a, b) in zip(reach, padding, strict=True))


def _input_gradient(
    dy: jax.Array,
    kernel: jax.Array,
    shape: tuple[int, ...],
    stride: int,
    padding: Padding,
    dilation: int,
) -> jax.Array:
    """Cotangent of the input, which has `shape`."""

    def plain(dy: jax.Array, kernel: jax.Array) -> jax.Array:
        x = jax.ShapeDtypeStruct(shape, dy.dtype)
        (dx,) = jax.linear_transpose(
            lambda x: _plain(x, kernel, stride, padding, dilation), x
        )(dy)
        return dx

    def same_size(dy: jax.Array, kernel: jax.Array) -> jax.Array:
        pads = _pads_back(kernel.shape[:2], padding, dilation)
        return _fast(dy, _flip(kernel), 1, pads, dilation)

    def by_phases(dy: jax.Array, kernel: jax.Array) -> jax.Array:
        # Of the pixels of one phase, x[phase + s q], the taps with
        # (phase + before - tap) % s == 0 see dy[q + (phase + before) // s - tap // s].
        sizes = [-(-size // stride) for size in shape[1:3]]
        phases = []
        for row in range(stride):
            for column in range(stride):
                taps, pads, cuts = [], [], [(0, 0, 0)]
                for axis, phase in enumerate((row, column)):
                    first = phase + padding[axis][0]
                    taps.append(slice(first % stride, None, stride))
                    count = len(range(kernel.shape[axis])[taps[-1]])
                    low = count - 1 - first // stride
                    high = sizes[axis] - dy.shape[1 + axis] + first // stride
                    # XLA's CPU backend reads beyond its input where a padding is
                    # negative (jax 0.10.2: 1x1 kernels of 16 channels); so cut first.
                    cuts.append((min(low, 0), min(high, 0), 0))
                    pads.append((max(low, 0), max(high, 0)))
                seen = lax.pad(dy, jnp.zeros((), dy.dtype), [*cuts, (0, 0, 0)])
                phases.append(
                    _plain(seen, _flip(kernel[tuple(taps)]), 1, tuple(pads), 1)
                )
        grid = jnp.stack(phases, axis=3).reshape(
            shape[0], *sizes, stride, stride, shape[3]
        )
        dx = grid.transpose(0, 1, 3, 2, 4, 5).reshape(
            shape[0], stride * sizes[0], stride * sizes[1], shape[3]
        )
        return dx[:, : shape[1], : shape[2]]

    if stride == 1:
        fast = same_size
    elif dilation == 1 and min(kernel.shape[:2]) >= stride:
        fast = by_phases
    else:
        return plain(dy, kernel)
    return lax.platform_dependent(dy, kernel, cpu=fast, default=plain)


def _kernel_gradient(
    x: jax.Array,
    dy: jax.Array,
    shape: tuple[int, ...],
    stride: int,
    padding: Padding,
    dilation: int,
) -> jax.Array:
    """Cotangent of the kernel, which has `shape`."""

    def plain(x: jax.Array, dy: jax.Array) -> jax.Array:
        kernel = jax.ShapeDtypeStruct(shape, x.dtype)
        (gradient,) = jax.linear_transpose(
            lambda kernel: _plain(x, kernel, stride, padding, dilation), kernel
        )(dy)
        return gradient

    def fast(x: jax.Array, dy: jax.Array) -> jax.Array:
        if _suits_tiles(x, shape, stride, padding, dilation):
            return _kernel_gradient_by_tiles(x, dy, shape[0], padding, dilation)
        if stride == 1 and shape[3] < shape[2]:
            # The same with the roles swapped: the copies are of the smaller picture.
            pads = _pads_back(shape[:2], padding, dilation)
            return _flip(_by_rows(dy, x, shape[:2], 1, pads, dilation))
        return _by_rows(x, dy, shape[:2], stride, padding, dilation)

    return lax.platform_dependent(x, dy, cpu=fast, default=plain)


def _by_rows(
    x: jax.Array,
    dy: jax.Array,
    size: tuple[int, int],
    stride: int,
    padding: Padding,
    dilation: int,
) -> jax.Array:
    """kernel[i, j] = sum over pixels of x[s h + d i, s w + d j]^T dy[h, w]."""
    batch, height, width, features = dy.shape
    channels = x.shape[3]
    blocks = -(-height // max(_ROWS, _PIXELS // width))
    rows = -(-height // blocks)
    samples = max(
        n
        for n in range(1, batch + 1)
        if batch % n == 0 and (n == 1 or n * rows * width <= _PIXELS)
    )
    x_rows = stride * (rows - 1) + dilation * (size[0] - 1) + 1

    # Rows of zeros fill the last block, and do not count.
    missing = stride * rows * (blocks - 1) + x_rows - x.shape[1] - sum(padding[0])
    zero = jnp.zeros((), x.dtype)
    (top, bottom), (left, right) = padding
    bottom += max(missing, 0)
    x = lax.pad(x, zero, ((0, 0, 0), (top, bottom, 0), (left, right, 0), (0, 0, 0)))
    dy = jnp.pad(dy, ((0, 0), (0, blocks * rows - height), (0, 0), (0, 0)))

    def add_block(index: jax.Array, total: jax.Array) -> jax.Array:
        sample, block = samples * (index // blocks), index % blocks
        x_block = lax.dynamic_slice(
            x,
            (sample, stride * rows * block, 0, 0),
            (samples, x_rows, x.shape[2], channels),
        )
        dy_block = lax.dynamic_slice(
            dy, (sample, rows * block, 0, 0), (samples, rows, width, features)
        )
        shifted = jnp.stack(
            [
                lax.slice_in_dim(x_block, j, j + stride * (width - 1) + 1, stride, 2)
                for j in range(0, dilation * size[1], dilation)
            ]
        )
        part = lax.conv_general_dilated(
            shifted.transpose(0, 4, 2, 1, 3).reshape(-1, x_rows, samples * width),
            dy_block.swapaxes(0, 1).reshape(rows, samples * width, features),
            (dilation,),
            "VALID",
            rhs_dilation=(stride,),
            dimension_numbers=("NHC", "HIO", "NHC"),
            preferred_element_type=jnp.float32,
        )
        return total + part

    total = jnp.zeros((size[1] * channels, size[0], features), jnp.float32)
    total = _for_each(add_block, total, batch // samples * blocks)
    total = total.reshape(size[1], channels, size[0], features)
    return total.transpose(2, 0, 1, 3).astype(x.dtype)


def _for_each(
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


def _combine(matrix: np.ndarray, arrays: Sequence[jax.Array]) -> jax.Array:
    """The product of a small matrix and the stacked arrays, written out."""
    return jnp.stack(
        [
            sum(float(c) * a for c, a in zip(row, arrays, strict=True) if c != 0)
            for row in matrix
        ]
    )


def _suits_tiles(
    x: jax.Array,
    shape: Sequence[int],
    stride: int,
    padding: Padding,
    dilation: int,
) -> bool:
    """Whether `_by_tiles` can do a layer, and pays."""
    height, width = (
        x.shape[1 + i] + sum(padding[i]) - dilation * (shape[i] - 1) for i in range(2)
    )
    products = x.shape[0] * height * width * math.prod(shape)
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
        block = lax.dynamic_slice(
            x,
            (index // self.blocks, self.rows * (index % self.blocks), 0, 0),
            (1, rows, *x.shape[2:]),
        )
        # Pixels `dilation` apart make a tile; those between are of other tiles.
        block = block.reshape(rows, -1, _TILE, self.dilation, x.shape[3])
        pixels = []
        for i in range(matrix.shape[1]):
            first = i // _TILE
            pixel = block[:, first : first + self.across, i % _TILE]
            pixels.append(pixel.reshape(rows, -1, x.shape[3]))
        return _combine(matrix, pixels)

    def shifted(self, points: jax.Array, size: int) -> jax.Array:
        """What the taps of a column see, side by side: [points, pixels, size * C]."""
        reach = range(0, self.dilation * size, self.dilation)
        # A stack: the same as a concatenation of channels took four times as long.
        seen = jnp.stack([points[:, i : i + self.rows] for i in reach], axis=3)
        return seen.reshape(len(points), -1, size * points.shape[3])


def _by_tiles(
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
        pixels = _combine(output.T, list(products))
        pixels = pixels.reshape(_TILE, tiles.rows, tiles.across, dilation, features)
        block = jnp.moveaxis(pixels, 0, 2).reshape(shape)
        return lax.dynamic_update_index_in_dim(y, block, index, 0)

    y = jnp.zeros((tiles.turns, *shape), x.dtype)
    y = _for_each(write_block, y, tiles.turns)
    y = y.reshape(batch, tiles.blocks * tiles.rows, *shape[1:])
    return y[:, : tiles.height, : tiles.width]


def _kernel_gradient_by_tiles(
    x: jax.Array, dy: jax.Array, size: int, padding: Padding, dilation: int
) -> jax.Array:
    """The transpose of `_by_tiles` in its kernel."""
    output, taps, inputs = _toom_cook(size)
    tiles = _Tiles(*dy.shape[:3], dilation)
    x, dy = tiles.pad(x, padding, size), tiles.pad(dy, ((0, 0), (0, 0)), 1)
    channels, features = x.shape[-1], dy.shape[-1]

    def add_block(index: jax.Array, total: jax.Array) -> jax.Array:
        points = tiles.points(x, index, size, inputs)
        left = tiles.shifted(points, size)
        right = tiles.shifted(tiles.points(dy, index, 1, output), 1)
        return total + jnp.einsum("pmc,pmf->pcf", left, right)

    total = jnp.zeros((len(inputs), size * channels, features), x.dtype)
    total = _for_each(add_block, total, tiles.turns)
    total = total.reshape(len(inputs), size, channels, features)
    return jnp.einsum("pj,picf->ijcf", taps.astype(np.float32), total)
