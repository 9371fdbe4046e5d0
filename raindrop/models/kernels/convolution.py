"""A convolution, and its transpose, whose gradients are fast on a CPU too.

XLA turns the gradients of a convolution into convolutions again, and its CPU backend is
fast for one form alone: NHWC, with a small HWIO kernel, not dilated on the left. The
kernel gradient is far from that form (the whole picture is its window, the samples are
its channels) and runs three to eight times as long as the convolution itself; inside a
loop, such as `nn.scan`, it even stays on a single thread. The transposed convolution
multiplies by all the zeros that its stride puts between the pixels. So here, on a CPU:

- the input gradient is a plain convolution of dy with the flipped kernel; with a
  stride, one whose channels are the phases of the output, to be interleaved: next to no
  zeros. A transposed convolution is the same thing (Dumoulin & Visin 2016, section 4);
- the kernel gradient is a convolution over the rows alone whose channels are a whole
  row of pixels. That is a long matrix product, and goes a few rows at a time, so that
  the shifted copies that it needs stay in the cache;
- the largest layers save products: see `winograd`.

All are equal to XLA's own up to rounding: errors are a few 1e-6 of the largest value
with `winograd`, a few 1e-7 else. Other platforms, chosen when the program is compiled,
keep XLA's own, as their libraries have better kernels.
`benchmarks/README.md` holds the measurements.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from raindrop.models.kernels import winograd
from raindrop.models.kernels.winograd import Padding

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")
# Of dy, what one turn of the kernel gradient's loop takes at most: rows, and pixels,
# where several small samples fit.
_ROWS = 32
_PIXELS = 8192


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
    if winograd.suits(x, kernel.shape, stride, padding, dilation):
        return winograd.convolve(x, kernel, padding, dilation)
    return _plain(x, kernel, stride, padding, dilation)


# Where no gradient is taken the forward pass is XLA's: it compiles at once.
_convolve = jax.custom_vjp(_plain, nondiff_argnums=(2, 3, 4))


@partial(jax.jit, static_argnums=(2, 3, 4))
def _output(
    x: jax.Array, kernel: jax.Array, stride: int, padding: Padding, dilation: int
) -> jax.Array:
    """The convolution, where a gradient is to be taken."""

    def plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return _plain(x, kernel, stride, padding, dilation)

    def fast(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return _fast(x, kernel, stride, padding, dilation)

    return lax.platform_dependent(x, kernel, cpu=fast, default=plain)


def _convolve_forward(x, kernel, *window):  # noqa: ANN001, ANN002, ANN202
    return _output(x, kernel, *window), (x, kernel)


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
    rows, columns = (dilation * (size - 1) for size in sizes)
    (top, bottom), (left, right) = padding
    return (rows - top, rows - bottom), (columns - left, columns - right)


# A program of its own, so that layers of one shape are traced once.
@partial(jax.jit, static_argnums=(2, 3, 4, 5))
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
        # The pixel p of x's q-th group of s, x[s q + p - skip], is the sum over m of
        # dy[q + m] kernel[p - skip + before - s m]. So one convolution gives a group as
        # channels; where the tap does not exist its kernel is zero.
        taps, pads, cuts, groups, kept = [], [], [(0, 0, 0)], [], []
        for axis in (0, 1):
            size, (before, _) = kernel.shape[axis], padding[axis]
            pixels, rows = shape[1 + axis], dy.shape[1 + axis]
            reach = [
                ((stride - 1 + b) // stride, -((size - 1 - b) // stride))
                for b in range(before, before - stride, -1)
            ]
            # All phases see the same rows of dy, as few as can be.
            skip = min(range(stride), key=lambda i: reach[i][0] - reach[i][1])
            last, first = reach[skip]
            count = last - first + 1
            low = stride * last - before + skip
            taps.append((count, low, stride * count - size - low))
            groups.append(-(-(skip + pixels) // stride))
            kept.append(slice(skip, skip + pixels))
            low, high = -first, groups[-1] - rows + last
            # XLA's CPU backend reads beyond its input where a padding is negative (jax
            # 0.10.2: 1x1 kernels of 16 channels); so cut first.
            cuts.append((min(low, 0), min(high, 0), 0))
            pads.append((max(low, 0), max(high, 0)))
        channels, features = kernel.shape[2:]
        kernel = jnp.pad(kernel, [tap[1:] for tap in taps] + [(0, 0), (0, 0)])
        (rows, *_), (columns, *_) = taps
        kernel = kernel.reshape(rows, stride, columns, stride, channels, features)
        kernel = kernel[::-1, :, ::-1].transpose(0, 2, 5, 1, 3, 4)
        kernel = kernel.reshape(rows, columns, features, -1)
        dy = lax.pad(dy, jnp.zeros((), dy.dtype), [*cuts, (0, 0, 0)])
        dx = _plain(dy, kernel, 1, (pads[0], pads[1]), 1)
        dx = dx.reshape(shape[0], *groups, stride, stride, channels)
        dx = dx.transpose(0, 1, 3, 2, 4, 5).reshape(
            shape[0], stride * groups[0], stride * groups[1], channels
        )
        return dx[:, *kept]

    if stride == 1:
        fast = same_size
    elif dilation == 1:
        fast = by_phases
    else:
        return plain(dy, kernel)
    return lax.platform_dependent(dy, kernel, cpu=fast, default=plain)


@partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _kernel_gradient(
    x: jax.Array,
    dy: jax.Array,
    shape: tuple[int, ...],
    stride: int,
    padding: Padding,
    dilation: int,
) -> jax.Array:
    """Cotangent of the kernel, which has `shape`."""
    size = shape[0], shape[1]

    def plain(x: jax.Array, dy: jax.Array) -> jax.Array:
        kernel = jax.ShapeDtypeStruct(shape, x.dtype)
        (gradient,) = jax.linear_transpose(
            lambda kernel: _plain(x, kernel, stride, padding, dilation), kernel
        )(dy)
        return gradient

    def fast(x: jax.Array, dy: jax.Array) -> jax.Array:
        if winograd.suits(x, shape, stride, padding, dilation):
            return winograd.kernel_gradient(x, dy, shape[0], padding, dilation)
        if stride == 1 and shape[3] < shape[2]:
            # The same with the roles swapped: the copies are of the smaller picture.
            pads = _pads_back(size, padding, dilation)
            return _flip(_by_rows(dy, x, size, 1, pads, dilation))
        return _by_rows(x, dy, size, stride, padding, dilation)

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
        # What JAX would do about negative indices takes long to compile.
        x_block = lax.dynamic_slice(
            x,
            (sample, stride * rows * block, 0, 0),
            (samples, x_rows, x.shape[2], channels),
            allow_negative_indices=False,
        )
        dy_block = lax.dynamic_slice(
            dy,
            (sample, rows * block, 0, 0),
            (samples, rows, width, features),
            allow_negative_indices=False,
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
    total = winograd.for_each(add_block, total, batch // samples * blocks)
    total = total.reshape(size[1], channels, size[0], features)
    return total.transpose(2, 0, 1, 3).astype(x.dtype)
