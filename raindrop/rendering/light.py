"""Light: encoded and linear values, refraction, and what a drop shows."""

import jax
import jax.numpy as jnp

from raindrop.rendering.settings import Drawn, Settings, between, log_between
from raindrop.rendering.water import Water

# Least cosine between a ray and the pane's normal.
_GRAZING = 0.08


def unclip(linear: jax.Array, drawn: Drawn, exponent: int) -> jax.Array:
    """The linear light of a scene whose photograph is clipped at white.

    Args:
      linear: [H, W, 3], the photograph in linear light.
      drawn: the pane's values.
      exponent: the higher, the closer to white is what becomes brighter.

    Returns:
      [H, W, 3], up to 1 + expansion.
    """
    return linear * (1 + drawn["expansion"] * linear**exponent)


def sky_light(linear: jax.Array, drawn: Drawn, settings: Settings) -> jax.Array:
    """Linear light [3] of the sky above the photograph `linear` [H, W, 3]."""
    tint = 1 - drawn["blueness"] * jnp.array([1.0, 0.5, 0.0])
    return drawn["sky"] * tint * jnp.max(_coarse(linear, settings), (0, 1))


def drop_light(
    linear: jax.Array,
    water: Water,
    sky: jax.Array,
    drawn: Drawn,
    settings: Settings,
) -> jax.Array:
    """What drops show, as if water were everywhere.

    Args:
      linear: [H, W, 3], the scene in focus, in linear light.
      water: the drops.
      sky: [3], of `sky_light`.
      drawn: the pane's values.
      settings: of the scene that drops look at.

    Returns:
      Linear light [H, W, 3].
    """
    directions, transmittance = refract(
        water.slope,
        jnp.radians(drawn["view"] / 2),
        jnp.radians(drawn["tilt"]),
        jnp.radians(drawn["pan"]),
        settings.index,
    )
    seen = _environment(
        directions,
        # Before it is made small: lamps are small, and lose none of their light.
        _coarse(unclip(linear, drawn, 3), settings),
        (linear.shape[0], linear.shape[1]),
        sky,
        drawn,
    )
    interior = drawn["interior"] * jnp.mean(linear, (0, 1))
    grey = (seen[..., :1] + seen[..., 1:2] + seen[..., 2:]) / 3
    seen = seen + drawn["greyness"] * (grey - seen)
    light = transmittance * seen * water.gain + (1 - transmittance) * interior
    shows_light = drawn["highlight_tilt"] * jnp.array([0.0, 1.0]) + water.towards_light
    away = water.slope - shows_light
    from_light = (away[..., :1] / drawn["highlight_width"]) ** 2 + away[..., 1:] ** 2
    glint = jnp.exp(-from_light / (2 * drawn["highlight_size"] ** 2))
    return light + drawn["highlight"] * water.highlight * glint


def _coarse(linear: jax.Array, settings: Settings) -> jax.Array:
    """The small copy of the photograph that drops look at."""
    return jax.image.resize(linear, (*settings.environment, 3), "linear")


def _environment(
    directions: jax.Array,
    coarse: jax.Array,
    shape: tuple[int, int],
    sky: jax.Array,
    drawn: Drawn,
) -> jax.Array:
    """Light [H, W, 3] that comes from `directions` [H, W, 2] through a drop.

    The scene is `coarse`, a small copy of the photograph of `shape`, continued by
    reflection at its sides and by its lower half below it, in the light of the
    surroundings, and by sky above it. Far beyond its edges it is of one colour: a
    photograph of a narrow view is mirrored many times in what a drop sees.
    """
    height, width = shape
    rows, columns, _ = coarse.shape
    half = jnp.sin(jnp.radians(drawn["view"]) / 2)
    # In halves of the photograph: -1 is its left or upper edge, 1 the other.
    across = directions[..., 0] / half * (max(height, width) / width)
    down = directions[..., 1] / half * (max(height, width) / height)
    # Below the photograph lies more of its ground, never its sky again.
    down_in = jnp.where(down > 1, jnp.maximum(1.5 - down / 2, 0.5), down)
    at = jnp.stack([(down_in + 1) * rows / 2 - 0.5, (across + 1) * columns / 2 - 0.5])
    look = lambda channel: jax.scipy.ndimage.map_coordinates(  # noqa: E731
        channel, list(at), order=1, mode="reflect"
    )
    seen = jax.vmap(look, in_axes=-1, out_axes=-1)(coarse)
    away = jnp.maximum(jnp.abs(across), down)[..., None]
    far = jnp.clip(away / 2 - 0.5, 0, 1)
    seen = seen + far * (jnp.mean(coarse, (0, 1)) - seen)
    beyond = jnp.clip(2 * away - 2, 0, 1)
    seen = seen * (1 + beyond * (drawn["surroundings"] - 1))
    above = jnp.clip(-down - 0.5, 0, 1)[..., None]
    return seen + above * (sky - seen)


def darken(key: jax.Array, photograph: jax.Array, settings: Settings) -> jax.Array:
    """A photograph, or with probability `settings.dark` the scene in another light.

    Late in the day, mostly: the mean L of a pixel's linear channels becomes `darkness`
    * L^`contrast`, in the same colour, so that what is bright keeps more of its light.
    What is white or brightly coloured, as lamps are, may keep all of it. With a gain
    above 1 the scene is overexposed.

    Args:
      key: random key.
      photograph: [H, W, 3] RGB in [0, 1].
      settings: of the scene.

    Returns:
      [H, W, 3] RGB in [0, 1].
    """
    u = jax.random.uniform(key, (4,))
    gain = log_between(settings.darkness, u[0])
    contrast = between(settings.contrast, u[1])
    lit = jnp.maximum(between(settings.lit, u[3]), 0)

    def dark() -> jax.Array:
        linear = to_linear(photograph)
        grey = (linear[..., :1] + linear[..., 1:2] + linear[..., 2:]) / 3
        factor = gain * power(jnp.maximum(grey, 1e-6), contrast - 1)
        # The brightest channel, since most lamps are coloured.
        lamp = jnp.max(linear, -1, keepdims=True)
        return to_encoded(linear * (factor + lit * lamp**7))

    return jax.lax.cond(u[2] < settings.dark, dark, lambda: photograph)


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
    ray_z = jnp.sqrt(jnp.maximum(1 - ray_x**2 - ray_y**2, 0))
    # In the pane's coordinates: y down along it, z away from the camera.
    across_y, across_z = _rotate(ray_y, ray_z, tilt)
    across_x, across_z = _rotate(ray_x, across_z, pan)
    # A ray along the pane, or away from it, never meets it: those of a lower edge.
    across_z = jnp.maximum(across_z, _GRAZING)
    # First surface: glass is plane-parallel, so only air to water counts, and Snell's
    # law keeps the component along the pane.
    length = index * jnp.sqrt(across_x**2 + across_y**2 + across_z**2)
    in_y, in_x = across_y / length, across_x / length
    in_z = jnp.sqrt(1 - in_x**2 - in_y**2)
    # Second surface: the vector form of Snell's law, from water to air.
    normal_x, normal_y = slope[..., 0], slope[..., 1]
    normal_z = jnp.sqrt(jnp.maximum(1 - normal_x**2 - normal_y**2, 0))
    cosine = in_x * normal_x + in_y * normal_y + in_z * normal_z
    squared = 1 - index**2 * (1 - cosine**2)
    passes = (squared > 0) & (cosine > 0)
    out = jnp.sqrt(jnp.maximum(squared, 0))
    bend = out - index * cosine
    out_x, out_y = index * in_x + bend * normal_x, index * in_y + bend * normal_y
    out_x, out_z = _rotate(out_x, index * in_z + bend * normal_z, -pan)
    out_y, _ = _rotate(out_y, out_z, -tilt)
    across = (index * cosine - out) / jnp.maximum(index * cosine + out, 1e-6)
    along = (index * out - cosine) / jnp.maximum(index * out + cosine, 1e-6)
    transmittance = jnp.where(passes, 1 - (across**2 + along**2) / 2, 0)
    return jnp.stack([out_x, out_y], -1), transmittance[..., None]


def _rotate(
    side: jax.Array, ahead: jax.Array, angle: jax.Array | float
) -> tuple[jax.Array, jax.Array]:
    """Two coordinates in axes that are turned, so that `ahead` counts as `side`."""
    sin, cos = jnp.sin(angle), jnp.cos(angle)
    return cos * side + sin * ahead, cos * ahead - sin * side


def to_linear(encoded: jax.Array) -> jax.Array:
    """Encoded (sRGB) values in [0, 1] -> linear light (IEC 61966-2-1)."""
    return jnp.where(
        encoded <= 0.04045,
        encoded / 12.92,
        power((jnp.maximum(encoded, 0.04045) + 0.055) / 1.055, 2.4),
    )


def to_encoded(linear: jax.Array) -> jax.Array:
    """Linear light -> encoded (sRGB) values in [0, 1], clipped."""
    linear = jnp.clip(linear, 0, 1)
    return jnp.where(
        linear <= 0.0031308,
        linear * 12.92,
        1.055 * power(jnp.maximum(linear, 0.0031308), 1 / 2.4) - 0.055,
    )


def power(x: jax.Array, exponent: jax.Array | float) -> jax.Array:
    """Powers of x > 0, and of 0 with exponents above 0, in a fifth of a CPU's time."""
    return jnp.exp(exponent * jnp.log(x))
