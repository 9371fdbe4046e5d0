"""The camera: defocus of the water, the veil, exposure, noise, colours, sharpening."""

import importlib.metadata
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from raindrop.errors import UserError
from raindrop.rendering.light import to_encoded, to_linear, unclip
from raindrop.rendering.settings import Drawn, Settings, between, log_between

# Below this, coverage is rounding error of the Fourier transform.
_LEAST_COVERAGE = 1e-3


# In each ring of an aperture's image; dust and a polished lens make the like.
_DOTS = 9

# Of red, green and blue, in grey (Rec. 709).
_LUMA = (0.2126, 0.7152, 0.0722)

# Their Fourier transforms on a CPU wait for threads of the pool that they run on
# (openxla/xla#46347).
_HANGING = ("0.11.1", "0.11.2")


def check_transforms() -> None:
    """Raises UserError where Fourier transforms, and so rendering, would hang."""
    version = importlib.metadata.version("jaxlib")
    if version in _HANGING and jax.default_backend() == "cpu":
        raise UserError(
            f"jaxlib {version} hangs while it renders drops on a CPU; take another: "
            "pip install --upgrade jax jaxlib"
        )


class Exposed(NamedTuple):
    """What the camera records."""

    picture: jax.Array  # [H, W, 3], encoded, in [0, 1]
    alpha: jax.Array  # [H, W, 1], coverage by water out of focus
    changed: jax.Array  # bool, [H, W, 1]: whether water changes anything there


def expose(
    noise_key: jax.Array,
    linear: jax.Array,
    coverage: jax.Array,
    light: jax.Array,
    sky: jax.Array,
    drawn: Drawn,
    settings: Settings,
) -> Exposed:
    """Takes the picture.

    Args:
      noise_key: of the sensor's noise.
      linear: [H, W, 3], what the camera shows without drops, in linear light; white
        or more where it is clipped.
      coverage: [H, W, 1], see `water.Water`.
      light: [H, W, 3], of `light.drop_light`.
      sky: [3], of `light.sky_light`.
      drawn: the pane's values.
      settings: of the lens.
    """
    scale = settings.frame / settings.reference
    alpha, glow = _out_of_focus(coverage, light, drawn, settings)
    around = gaussian_blur(coverage, drawn["veil_reach"] * scale)
    veil = jnp.minimum(drawn["veil"] * around, 1)
    scattered = gaussian_blur(linear, drawn["veil_spread"] * scale)
    scattered = scattered + drawn["veil_sky"] * (sky - scattered)
    rainy = linear + veil * (scattered - linear)
    rainy = (1 - alpha) * rainy + glow
    stops = drawn["exposure"] * jnp.mean(coverage)
    rainy = to_encoded(rainy * 2**stops)
    noise = drawn["noise"] * _nearly_normal(noise_key, linear.shape)
    rainy = jnp.clip(rainy + noise, 0, 1)
    changed = (alpha > 0) | (veil > 0) | (stops != 0) | (drawn["noise"] > 0)
    return Exposed(rainy, alpha, changed)


def grade(
    key: jax.Array, pictures: tuple[jax.Array, ...], settings: Settings
) -> tuple[jax.Array, ...]:
    """What a camera, or who edits its pictures, makes of the colours of a pair.

    Args:
      key: random key.
      pictures: [H, W, 3] each, RGB in [0, 1], as the sensor gives them.
      settings: of the camera.

    Returns:
      The pictures, all changed alike and with the same grain, or as they are; see
      `Settings.graded`.
    """
    if not settings.graded:
        return pictures
    u = jax.random.uniform(key, (6,))
    saturation = jnp.maximum(between(settings.saturation, u[0]), 0)
    gains = jnp.exp(between(settings.warmth, u[1]) * jnp.array([0.5, 0.0, -0.5]))
    tone = log_between(settings.tone, u[2])
    pivot = between(settings.pivot, u[3])
    grain = jnp.maximum(between(settings.grain, u[4]), 0)

    def graded() -> tuple[jax.Array, ...]:
        noise_key = jax.random.fold_in(key, 0)
        noise = grain * _nearly_normal(noise_key, pictures[0].shape)

        def one(x: jax.Array) -> jax.Array:
            grey = jnp.sum(x * jnp.array(_LUMA), -1, keepdims=True)
            x = (grey + saturation * (x - grey)) * gains
            return jnp.clip(pivot + tone * (x - pivot) + noise, 0, 1)

        return tuple(map(one, pictures))

    return jax.lax.cond(u[5] < settings.graded, graded, lambda: pictures)


def sharpen(
    key: jax.Array, pictures: tuple[jax.Array, ...], settings: Settings
) -> tuple[jax.Array, ...]:
    """What a camera that sharpens makes of a pair, by an unsharp mask.

    Args:
      key: random key.
      pictures: [H, W, 3] each, RGB in [0, 1], as `grade` gives them.
      settings: of the camera.

    Returns:
      The pictures, all sharpened alike, or as they are; see `Settings.sharpened`.
    """
    if not settings.sharpened:
        return pictures
    u = jax.random.uniform(key, (3,))
    amount = log_between(settings.sharpness, u[0])
    sigma = between(settings.sharpening, u[1])

    def sharp() -> tuple[jax.Array, ...]:
        return tuple(
            jnp.clip(x + amount * (x - gaussian_blur(x, sigma)), 0, 1) for x in pictures
        )

    return jax.lax.cond(u[2] < settings.sharpened, sharp, lambda: pictures)


def _nearly_normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Mean 0 and variance 1: the sum of four bytes; jax.random.normal is slower."""
    bits = jax.random.bits(key, shape)
    total = sum((bits >> shift) & 255 for shift in (0, 8, 16, 24))
    mean, variance = 4 * 255 / 2, 4 * (256**2 - 1) / 12
    return (jnp.asarray(total, jnp.float32) - mean) / variance**0.5


def _out_of_focus(
    coverage: jax.Array, light: jax.Array, drawn: Drawn, settings: Settings
) -> tuple[jax.Array, jax.Array]:
    """The water blurred by the aperture: coverage [H, W, 1], and its light [H, W, 3].

    The light is already multiplied by the coverage.
    """
    layer = jnp.concatenate([coverage, coverage * light], -1)
    blurred = _through_aperture(
        layer,
        drawn["defocus"] * drawn["closeness"],
        settings.closeness[1]
        * max(settings.defocus[1], settings.sharp_defocus[1] * settings.enlargement[1]),
        drawn,
        settings,
    )
    alpha = jnp.clip(blurred[..., :1], 0, 1)
    touched = alpha > _LEAST_COVERAGE
    alpha = jnp.where(touched, alpha, 0)
    glow = jnp.where(touched, jnp.maximum(blurred[..., 1:4], 0), 0)
    return alpha, glow


def unfocus(scene: jax.Array, drawn: Drawn, settings: Settings) -> jax.Array:
    """What a camera that is focused on the pane, or on the scene, shows of the scene.

    Args:
      scene: [H, W, 3], RGB in [0, 1], in focus.
      drawn: the pane's values.
      settings: of the lens.

    Returns:
      [H, W, 3]; `scene` itself where it is in focus.
    """
    if settings.sharp == 0 or settings.deep == 1:  # costs nothing where it is not used
        return scene

    def blurred() -> jax.Array:
        # Lamps are brighter than a photograph shows: out of focus they are discs.
        linear = unclip(to_linear(scene), drawn, 8)
        radius, largest = drawn["scene_defocus"], settings.scene_defocus[1]
        return to_encoded(_through_aperture(linear, radius, largest, drawn, settings))

    return jax.lax.cond(drawn["scene_defocus"] > 0, blurred, lambda: scene)


def _through_aperture(
    layer: jax.Array,
    radius: jax.Array,
    largest: float,
    drawn: Drawn,
    settings: Settings,
) -> jax.Array:
    """Blurs [H, W, C] by the aperture's image of a radius that is at most `largest`.

    The last three channels are red, green and blue.
    """
    shape, scale = layer.shape[:2], settings.frame / settings.reference
    # The convolution is circular: what is at one edge must not glow at the other.
    margin = min(math.ceil(largest * (1 + settings.softness[1]) * scale), *shape)
    # Multiples of 32 transform fast everywhere.
    pads = [(margin, margin + -(side + 2 * margin) % 32) for side in shape]
    layer = jnp.pad(layer, (*pads, (0, 0)), "symmetric")
    padded = (layer.shape[0], layer.shape[1])
    aperture = aperture_transfer(
        padded,
        radius * scale,
        (drawn["blades"], drawn["turn"], drawn["squeeze"]),
        (drawn["rim"], drawn["rings"], drawn["within"]),
        jnp.hypot(radius * scale * drawn["softness"], drawn["lens"]),
    )
    spectrum = jnp.fft.rfft2(layer, axes=(0, 1)) * aperture[..., None]
    red = _shift(padded, drawn["fringe"] * radius * scale, drawn["turn"])
    green = jnp.ones_like(red)
    others = [green] * (layer.shape[-1] - 3)
    spectrum *= jnp.stack([*others, red, green, jnp.conj(red)], -1)
    blurred = jnp.fft.irfft2(spectrum, s=layer.shape[:2], axes=(0, 1))
    return blurred[margin : margin + shape[0], margin : margin + shape[1]]


def _shift(shape: tuple[int, int], by: jax.Array, towards: jax.Array) -> jax.Array:
    """Transfer function [H, W // 2 + 1] of a shift in pixels, `towards` in radians."""
    fy, fx = jnp.fft.fftfreq(shape[0])[:, None], jnp.fft.rfftfreq(shape[1])[None, :]
    along = fy * jnp.sin(towards) + fx * jnp.cos(towards)
    return jnp.exp(-2j * jnp.pi * by * along)


def gaussian_blur(x: jax.Array, sigma: jax.Array) -> jax.Array:
    """Blurs [H, W, C] by a standard deviation of sigma (> 0) pixels.

    What lies beyond the edges does not count: near them the mean is over what is left.
    By two products of matrices, in time that does not depend on sigma.
    """

    def weights(size: int) -> jax.Array:
        at = jnp.arange(size)
        return jax.nn.softmax(-(((at[:, None] - at) / sigma) ** 2) / 2)

    rows, columns = (weights(size) for size in x.shape[:2])
    return jnp.einsum(
        "ih,jw,hwc->ijc", rows, columns, x, optimize=True, precision="highest"
    )


def aperture_transfer(
    shape: tuple[int, int],
    radius: jax.Array,
    outline: tuple[jax.Array, jax.Array, jax.Array],
    rim: tuple[jax.Array, jax.Array, jax.Array],
    sigma: jax.Array,
) -> jax.Array:
    """Transfer function [H, W // 2 + 1] of an aperture's image and a Gaussian.

    Args:
      shape: H and W.
      radius: of the circle through the aperture's corners, in pixels.
      outline: how many corners it has; the angle of the first one, in radians; and its
        width along that over its height.
      rim: light at the rim over the least inside, less one; how many maxima there are
        from the middle to the rim, 0.5 or more: 0.5 is a bowl; and the light of the
        inner ones, which consist of dots, over that.
      sigma: standard deviation of the Gaussian, in pixels.
    """
    y = (jnp.fft.fftfreq(shape[0]) * shape[0])[:, None]
    x = (jnp.fft.fftfreq(shape[1]) * shape[1])[None, :]
    blades, turn, squeeze = outline
    sector = 2 * jnp.pi / blades
    cos, sin = jnp.cos(turn), jnp.sin(turn)
    x, y = (cos * x + sin * y) / squeeze, cos * y - sin * x
    angle = jnp.arctan2(y, x)
    # jnp.mod takes forty times as long on a CPU.
    from_middle = angle - sector * (jnp.floor(angle / sector) + 0.5)
    away = jnp.hypot(y, x)
    beyond = away * jnp.cos(from_middle) - radius * jnp.cos(sector / 2)
    kernel = jnp.clip(0.5 - beyond, 0, 1)
    light, rings, within = rim
    # Rings narrower than two pixels are not seen.
    light = light * jnp.clip(radius / (2 * jnp.maximum(rings, 0.5)) - 0.5, 0, 1)
    share = jnp.minimum(away / jnp.maximum(radius, 1e-3), 1)
    ripple = (1 + jnp.cos(2 * jnp.pi * rings * (1 - share))) / 2
    dots = within * (1 + jnp.cos(_DOTS * angle)) / 2
    kernel *= 1 + light * ripple * (dots + (1 - dots) * share ** (4 * rings))
    transfer = jnp.fft.rfft2(kernel / jnp.sum(kernel))
    fy, fx = jnp.fft.fftfreq(shape[0])[:, None], jnp.fft.rfftfreq(shape[1])[None, :]
    # The discrete Gaussian, which is positive however narrow it is.
    roughness = 2 - jnp.cos(2 * jnp.pi * fy) - jnp.cos(2 * jnp.pi * fx)
    return transfer * jnp.exp(-(sigma**2) * roughness)
