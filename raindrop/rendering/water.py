"""The water on the pane: where it is, and how its surface is tilted."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from raindrop.rendering.settings import Drawn, Settings


class Water(NamedTuple):
    """The layer of water, sharp."""

    coverage: jax.Array  # [H, W, 1], 1 where there is water; soft at its edges
    slope: jax.Array  # [H, W, 2], x and y of the outward unit normal of its surface


def water(
    kinds_key: jax.Array,
    patch_key: jax.Array,
    drop_keys: list[jax.Array],
    shape: tuple[int, int],
    wet: jax.Array,
    drawn: Drawn,
    settings: Settings,
) -> Water:
    """Drops of all kinds on one pane.

    Args:
      kinds_key: of which kinds there are, and how many of each.
      patch_key: of how the density varies over the pane.
      drop_keys: of the drops, one for each kind.
      shape: rows and columns of the picture.
      wet: bool []; False leaves the pane dry.
      drawn: the pane's values.
      settings: what is drawn for each kind and drop.
    """
    scale = settings.frame / settings.reference
    u = jax.random.uniform(kinds_key, (2, len(settings.cell)))
    patches = _patches(patch_key, shape, drawn, settings)
    field = jnp.zeros((*shape, 4))
    for kind, kind_key in enumerate(drop_keys):
        low, high = settings.density[kind]
        density = low + (high - low) * u[0, kind]
        carried = wet & (u[1, kind] < settings.presence[kind])
        carried &= drawn["defocus"] >= settings.least_defocus[kind]
        field += _metaballs(
            kind_key,
            shape,
            max(round(settings.cell[kind] * scale), 2),
            tuple(r * scale * drawn["closeness"] for r in settings.radius[kind]),
            jnp.where(carried, density, 0) * patches[..., kind],
            drawn,
            settings,
        )
    return _surface(field, drawn, settings)


def _patches(
    key: jax.Array, shape: tuple[int, int], drawn: Drawn, settings: Settings
) -> jax.Array:
    """Factor [H, W, kinds] of the density, about 1, that varies over the pane."""
    scale = settings.frame / settings.reference
    patches = sum(
        _smooth_noise(
            one, (*shape, len(settings.cell)), max(round(wavelength * scale), 2)
        )
        for one, wavelength in zip(
            jax.random.split(key, len(settings.patch)), settings.patch, strict=True
        )
    )
    return jnp.clip(1 + 2 * drawn["unevenness"] * patches, 0, 3)


def _surface(field: jax.Array, drawn: Drawn, settings: Settings) -> Water:
    """From the field of all drops to what it covers and how it is tilted."""
    value, fall, flatness = field[..., :1], field[..., 1:3], field[..., 3:]
    flatness = flatness / jnp.maximum(value, 1e-6)
    rim = (1 - settings.support**-2) ** 2
    steepness = jnp.sqrt(jnp.sum(fall**2, -1, keepdims=True) + 1e-12)
    coverage = jnp.clip((value - rim) / (4 * steepness) + 0.5, 0, 1)
    coverage = jnp.where(value > 0, coverage, 0)
    # Distance from the apex over the contact radius; a spherical cap's normal tilts by
    # phi with sin(phi) = that distance * sin(contact angle).
    away = settings.support * jnp.sqrt(
        jnp.maximum(1 - jnp.sqrt(jnp.clip(value, 1e-8, 1)), 1e-8)
    )
    away = jnp.clip(away, 0, 1)
    contact = jnp.sin(jnp.radians(drawn["contact"])) * (1 - flatness)
    slope = away * contact * fall / steepness
    lean = drawn["sag"] * (1 - away**2)
    return Water(coverage, slope - lean * jnp.array([0.0, 1.0]))


def _metaballs(
    key: jax.Array,
    shape: tuple[int, int],
    cell: int,
    radius: tuple[jax.Array, jax.Array],
    density: jax.Array,
    drawn: Drawn,
    settings: Settings,
) -> jax.Array:
    """Field of one kind of drop: its value and its falling direction.

    One drop at most lies in each square cell and reaches no further than the cells
    around it, so a pixel asks nine cells and nothing is scattered or gathered.

    Args:
      key: random key.
      shape: rows and columns of the picture.
      cell: side of a cell in pixels.
      radius: least and largest contact radius in pixels.
      density: [rows, columns] probability of a drop, per pixel.
      drawn: the picture's values.
      settings: what is drawn per drop.

    Returns:
      [H, W, 4]: sum of w^2 with w = max(0, 1 - (distance / reach)^2), minus a quarter
      of its gradient by x and y, and the sum of w^2 times the drops' flatness.
    """
    rows, columns = math.ceil(shape[0] / cell), math.ceil(shape[1] / cell)
    table_key, warp_key = jax.random.split(key)
    table = jax.random.uniform(table_key, (8, rows + 2, columns + 2))
    at_rows = jnp.clip(jnp.arange(-1, rows + 1) * cell + cell // 2, 0, shape[0] - 1)
    at_columns = jnp.clip(
        jnp.arange(-1, columns + 1) * cell + cell // 2, 0, shape[1] - 1
    )
    present = table[0] < density[at_rows][:, at_columns]
    ratio = radius[1] / radius[0]
    reach = radius[0] * ratio ** (table[1] ** settings.skew) * settings.support
    low, high = settings.elongation
    stretch = low + (high - low) * table[2]
    low, high = settings.trail
    trail = jnp.where(table[3] < drawn["trailing"], low + (high - low) * table[4], 0)
    trail = jnp.maximum(trail * (cell * (1 - 2 * drawn["irregularity"]) - reach), 1e-3)
    # A drop without a trail has nothing to narrow.
    taper = settings.taper * jnp.minimum(trail / reach, 1)
    # An absent drop reaches nowhere.
    inverse = jnp.where(present, reach**-2, 1e12)
    offset_y, offset_x = table[5] * cell, table[6] * cell
    low, high = settings.flatness
    flatness = low + (high - low) * table[7]

    warp = _smooth_noise(warp_key, (rows * cell, columns * cell, 2), max(cell // 3, 2))
    warp = (warp * drawn["irregularity"] * cell).reshape(rows, cell, columns, cell, 2)
    within = jnp.arange(cell) + 0.5
    y = within[None, :, None, None] + warp[..., 0]
    x = within[None, None, None, :] + warp[..., 1]

    drops = jnp.stack([offset_y, offset_x, trail, taper, stretch, inverse, flatness])

    def add(near: int, sums: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        """Adds the drops of one of the nine cells around each pixel's."""
        i, j = near // 3, near % 3
        one = jax.lax.dynamic_slice(drops, (0, i, j), (drops.shape[0], rows, columns))
        at_y, at_x, length, taper, stretch, inverse, flat = one[:, :, None, :, None]
        down = (y - (i - 1) * cell - at_y) / stretch
        right = x - (j - 1) * cell - at_x
        along = jnp.clip(down, -length, 0)
        down = down - along
        narrowed = 1 + taper * along / length
        inverse = inverse / narrowed**2
        w = jnp.maximum(1 - (down**2 + right**2) * inverse, 0)
        value, fall_x, fall_y, flatness = sums
        return (
            value + w**2,
            fall_x + w * right * inverse,
            fall_y + w * down * inverse,
            flatness + w**2 * flat,
        )

    zeros = jnp.zeros((rows, cell, columns, cell))
    # A loop rather than nine copies: it compiles in a fraction of the time.
    sums = jax.lax.fori_loop(0, 9, add, (zeros,) * 4)
    field = jnp.stack(sums, -1).reshape(rows * cell, columns * cell, len(sums))
    return field[: shape[0], : shape[1]]


def _smooth_noise(
    key: jax.Array, shape: tuple[int, int, int], wavelength: int
) -> jax.Array:
    """Smooth noise in [-1, 1] of `shape` [H, W, C], varying over `wavelength`."""
    height, width, channels = shape
    knots = (math.ceil(height / wavelength) + 3, math.ceil(width / wavelength) + 3)
    coarse = jax.random.uniform(key, (*knots, channels), minval=-1, maxval=1)
    full = (knots[0] * wavelength, knots[1] * wavelength, channels)
    fine = jax.image.resize(coarse, full, "cubic")
    return fine[wavelength : wavelength + height, wavelength : wavelength + width]
