"""Optics of a wet pane: encoded and linear light, refraction by water, defocus."""

import jax
import jax.numpy as jnp


def to_linear(encoded: jax.Array) -> jax.Array:
    """Encoded (sRGB) values in [0, 1] -> linear light (IEC 61966-2-1)."""
    return jnp.where(
        encoded <= 0.04045,
        encoded / 12.92,
        ((jnp.maximum(encoded, 0.04045) + 0.055) / 1.055) ** 2.4,
    )


def to_encoded(linear: jax.Array) -> jax.Array:
    """Linear light -> encoded (sRGB) values in [0, 1], clipped."""
    linear = jnp.clip(linear, 0, 1)
    return jnp.where(
        linear <= 0.0031308,
        linear * 12.92,
        1.055 * jnp.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055,
    )


def refract(
    slope: jax.Array,
    half_view: jax.Array,
    tilt: jax.Array,
    pan: jax.Array,
    index: float,
) -> tuple[jax.Array, jax.Array]:
    """Where the rays of the pixels go behind the water, and how much light passes.

    Args:
      slope: [H, W, 2], x and y of the outward unit normal of the water's far surface.
      half_view: half the field of view of the longer side, in radians.
      tilt: of the pane about the horizontal axis, in radians.
      pan: of the pane about the vertical axis, in radians.
      index: refractive index of water.

    Returns:
      directions [H, W, 2] (x, y of the unit vector, in camera coordinates) and
      transmittance [H, W, 1], 0 where reflection is total.
    """
    height, width, _ = slope.shape
    half = jnp.sin(half_view) / (max(height, width) / 2)
    ray_y = ((jnp.arange(height) + 0.5 - height / 2) * half)[:, None]
    ray_x = ((jnp.arange(width) + 0.5 - width / 2) * half)[None, :]
    ray_y, ray_x = jnp.broadcast_arrays(ray_y, ray_x)
    tilt_y, tilt_x = jnp.sin(tilt), jnp.sin(pan)
    # First surface: glass is plane-parallel, so only air to water counts, and Snell's
    # law keeps the component along the pane.
    in_y, in_x = (ray_y + tilt_y) / index, (ray_x + tilt_x) / index
    in_z = jnp.sqrt(jnp.maximum(1 - in_x**2 - in_y**2, 0))
    # Second surface: the vector form of Snell's law, from water to air.
    normal_x, normal_y = slope[..., 0], slope[..., 1]
    normal_z = jnp.sqrt(jnp.maximum(1 - normal_x**2 - normal_y**2, 0))
    cosine = in_x * normal_x + in_y * normal_y + in_z * normal_z
    squared = 1 - index**2 * (1 - cosine**2)
    passes = (squared > 0) & (cosine > 0)
    out = jnp.sqrt(jnp.maximum(squared, 0))
    bend = out - index * cosine
    out_x = index * in_x + bend * normal_x - tilt_x
    out_y = index * in_y + bend * normal_y - tilt_y
    across = (index * cosine - out) / jnp.maximum(index * cosine + out, 1e-6)
    along = (index * out - cosine) / jnp.maximum(index * out + cosine, 1e-6)
    transmittance = jnp.where(passes, 1 - (across**2 + along**2) / 2, 0)
    return jnp.stack([out_x, out_y], -1), transmittance[..., None]


def gaussian_blur(x: jax.Array, sigma: jax.Array) -> jax.Array:
    """Blurs [H, W, C] by a standard deviation of sigma (> 0) pixels.

    What lies beyond the edges does not count: near them the mean is over what is left.
    By two products of matrices, in time that does not depend on sigma.
    """

    def weights(size: int) -> jax.Array:
        at = jnp.arange(size)
        return jax.nn.softmax(-(((at[:, None] - at) / sigma) ** 2) / 2)

    rows, columns = (weights(size) for size in x.shape[:2])
    return jnp.einsum("ih,jw,hwc->ijc", rows, columns, x, optimize=True)


def disc_transfer(
    shape: tuple[int, int], radius: jax.Array, sigma: jax.Array
) -> jax.Array:
    """Transfer function [H, W // 2 + 1] of a disc of `radius` and a Gaussian."""
    fy = jnp.fft.fftfreq(shape[0])[:, None]
    fx = jnp.fft.rfftfreq(shape[1])[None, :]
    frequency = jnp.sqrt(fy**2 + fx**2)
    angular = 2 * jnp.pi * frequency
    argument = jnp.maximum(angular * radius, 1e-3)
    disc = 2 * bessel_j1(argument) / argument
    return disc * jnp.exp(-((angular * sigma) ** 2) / 2)


def bessel_j1(x: jax.Array) -> jax.Array:
    """Bessel function of order one for x > 0 (Abramowitz & Stegun 9.4.4, 9.4.6)."""
    t = (jnp.minimum(x, 3) / 3) ** 2
    small = jnp.polyval(
        jnp.array(
            [
                0.00001109,
                -0.00031761,
                0.00443319,
                -0.03954289,
                0.21093573,
                -0.56249985,
                0.5,
            ]
        ),
        t,
    )
    u = 3 / jnp.maximum(x, 3)
    amplitude = jnp.polyval(
        jnp.array(
            [
                -0.00020033,
                0.00113653,
                -0.00249511,
                0.00017105,
                0.01659667,
                0.00000156,
                0.79788456,
            ]
        ),
        u,
    )
    phase = x + jnp.polyval(
        jnp.array(
            [
                -0.00029166,
                0.00079824,
                0.00074348,
                -0.00637879,
                0.00005650,
                0.12499612,
                -2.35619449,
            ]
        ),
        u,
    )
    large = amplitude * jnp.cos(phase) / jnp.sqrt(jnp.maximum(x, 3))
    return jnp.where(x <= 3, small * x, large)
