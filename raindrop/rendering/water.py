"""The water on the pane: where it is, and how its surface is tilted."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from raindrop.rendering.settings import Drawn, Settings, between

# What is drawn for each drop beside its shape, in the order of the field's channels.
_OF_A_DROP = ("flatness", "gain", "highlight", "light to the right", "light below")

# Least height over width of a round drop, however much the pane is tilted.
_SHORTEST = 0.15


class Water(NamedTuple):
    """The layer of water, sharp."""

    coverage: jax.Array  # [H, W, 1], 1 where there is water; soft at its edges
    slope: jax.Array  # [H, W, 2], x and y of the outward unit normal of its surface
    gain: jax.Array  # [H, W, 1], factor on the light of the drop that is there
    highlight: jax.Array  # [H, W, 1], factor on its highlight
    towards_light: jax.Array  # [H, W, 2], slope that shows it, less the pane's


def water(
    kinds_key: jax.Array,
    patch_key: jax.Array,
    drop_keys: list[jax.Array],
    shape: tuple[int, int],
    drawn: Drawn,
    settings: Settings,
) -> Water:
    """Drops of all kinds on one pane.

    Args:
      kinds_key: of which kinds there are, and how many of each.
      patch_key: of how the density varies over the pane.
      drop_keys: of the drops, one for each kind.
      shape: rows and columns of the picture.
      drawn: the pane's values.
      settings: what is drawn for each kind and drop.
    """
    scale = settings.frame / settings.reference
    u = jax.random.uniform(kinds_key, (3, len(settings.cell)))
    crowded = drawn["crowded"]
    patches = _patches(patch_key, shape, drawn, settings)
    field = jnp.zeros((*shape, 3 + len(_OF_A_DROP)))
    # From the last kind on: a drop has swallowed those whose middle lay under it.
    for kind in reversed(range(len(settings.cell))):
        smallest, largest = settings.radius[kind]
        density = jnp.where(
            crowded,
            between(settings.crowd[kind], u[0, kind]),
            between(settings.density[kind], u[0, kind]),
        )
        carried = crowded | (u[1, kind] < settings.presence[kind])
        free = field[..., 0] == 0
        metaballs = functools.partial(
            _metaballs,
            drop_keys[kind],
            shape,
            max(round(settings.cell[kind] * scale), 2),
            (
                smallest * scale * drawn["closeness"],
                largest * scale * drawn["closeness"],
            ),
            jnp.where(free, density * patches[..., kind], 0),
            between(settings.trails[kind], u[2, kind]),
            drawn,
            settings,
        )
        field += jax.lax.cond(
            carried, metaballs, functools.partial(jnp.zeros, field.shape)
        )
    if settings.enlarged:
        field = _enlarge(field, drawn["enlargement"])
    return _surface(field, drawn, settings)


def _enlarge(field: jax.Array, factor: jax.Array) -> jax.Array:
    """The middle of a field of `_metaballs`, [H, W, C], `factor` times as large."""
    size = jnp.array(field.shape[:2])
    large = jax.image.scale_and_translate(
        field,
        field.shape,
        (0, 1),
        jnp.stack([factor, factor]),
        (1 - factor) * size / 2,
        # A cubic undershoots, and what each drop counts is a share of the sum.
        "linear",
        antialias=False,
    )
    # A gradient by pixels.
    return large.at[..., 1:3].divide(factor)


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
    value, fall = field[..., :1], field[..., 1:3]
    # Where drops merge, each counts by its share of the field.
    of_drop = jnp.split(field[..., 3:] / jnp.maximum(value, 1e-6), len(_OF_A_DROP), -1)
    flatness, gain, highlight, right, down = of_drop
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
    return Water(
        coverage,
        slope - lean * jnp.array([0.0, 1.0]),
        gain,
        jnp.exp(settings.highlight_spread * highlight),
        settings.highlight_jitter * jnp.concatenate([right, down], -1),
    )


def _metaballs(
    key: jax.Array,
    shape: tuple[int, int],
    cell: int,
    radius: tuple[jax.Array, jax.Array],
    density: jax.Array,
    trailing: jax.Array,
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
      trailing: probability that a drop has a trail.
      drawn: the picture's values.
      settings: what is drawn per drop.

    Returns:
      [H, W, 3 + A]: sum of w^2 with w = max(0, 1 - (distance / reach)^2), minus a
      quarter of its gradient by x and y, and the sums of w^2 times each value of
      `_OF_A_DROP`.
    """
    table_key, normal_key, warp_key = jax.random.split(key, 3)
    drops = _drops(
        *(table_key, normal_key, shape, cell, radius, density, trailing),
        *(drawn, settings),
    )
    height, width = shape
    # Whole cells may reach far beyond the picture; rows are computed by parts of one.
    parts = math.gcd(cell, 8)
    part = cell // parts
    rows = math.ceil(height / part)
    down, across = (math.ceil(side / cell) * cell for side in shape)
    warp = _warp(warp_key, (down, across), cell, (rows * part, width), drawn, settings)
    warp = warp.reshape(rows, part, width, 2)
    row, first = jnp.divmod(jnp.arange(rows), parts)
    y = (first * part)[:, None, None] + jnp.arange(part)[:, None] + 0.5 + warp[..., 0]
    column, within = jnp.divmod(jnp.arange(width), cell)
    x = within + 0.5 + warp[..., 1]
    # Of every column of pixels the drops in its cells and those beside them.
    wide = jnp.stack([drops[:, :, column + j] for j in range(3)])

    # No more than keeps a drop within the cells around its own.
    slope = drawn["slant"] * (1 - jnp.cos(jnp.radians(drawn["tilt"])))

    def add(near: int, sums: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        """Adds the drops of one of the nine cells around each pixel's."""
        i, j = near // 3, near % 3
        one = wide[j][:, row + i, None]
        (at_y, at_x, length, taper, stretch, inverse), of_one = one[:6], one[6:]
        right = x - (j - 1) * cell - at_x
        down = (y - (i - 1) * cell - at_y - slope * right) / stretch
        along = jnp.clip(down, -length, 0)
        down = down - along
        narrowed = 1 + taper * along / length
        inverse = inverse / narrowed**2
        w = jnp.maximum(1 - (down**2 + right**2) * inverse, 0)
        value, fall_x, fall_y, of_drops = sums
        return (
            value + w**2,
            fall_x + w * right * inverse,
            fall_y + w * down * inverse,
            of_drops + w**2 * of_one,
        )

    zeros = jnp.zeros((rows, part, width))
    # A loop rather than nine copies: it compiles in a fraction of the time.
    start = (zeros, zeros, zeros, jnp.zeros((len(_OF_A_DROP), *zeros.shape)))
    *sums, of_drops = jax.lax.fori_loop(0, 9, add, start)
    field = jnp.concatenate([jnp.stack(sums), of_drops])
    return jnp.moveaxis(field, 0, -1).reshape(rows * part, width, -1)[:height]


def _warp(
    key: jax.Array,
    shape: tuple[int, int],
    cell: int,
    shown: tuple[int, int],
    drawn: Drawn,
    settings: Settings,
) -> jax.Array:
    """Displacement of outlines, [*shown, 2] pixels; of `shape` its upper left part."""
    warp = _smooth_noise(key, (*shape, 2), max(cell // 3, 2), shown)
    if cell >= settings.zigzag * settings.frame / settings.reference:
        finer = jax.random.fold_in(key, 1)
        warp += _smooth_noise(finer, (*shape, 2), max(cell // 12, 2), shown) / 6
    return warp * drawn["irregularity"] * cell


def _drops(
    table_key: jax.Array,
    normal_key: jax.Array,
    shape: tuple[int, int],
    cell: int,
    radius: tuple[jax.Array, jax.Array],
    density: jax.Array,
    trailing: jax.Array,
    drawn: Drawn,
    settings: Settings,
) -> jax.Array:
    """The drops of one kind, one for each cell and for those around the picture.

    Args:
      table_key: of what is drawn evenly.
      normal_key: of what is drawn from a normal distribution.
      shape: of `_metaballs`, as all that follow.
      cell: likewise.
      radius: likewise.
      density: likewise.
      trailing: likewise.
      drawn: likewise.
      settings: likewise.

    Returns:
      [6 + A, rows + 2, columns + 2]: offset down and to the right, length of the trail
      and its taper, height over width, 1 / reach^2, and the values of `_OF_A_DROP`.
    """
    rows, columns = math.ceil(shape[0] / cell), math.ceil(shape[1] / cell)
    table = jax.random.uniform(table_key, (9, rows + 2, columns + 2))
    at_y = ((jnp.arange(-1, rows + 1)[:, None] + table[5]) * cell).astype(jnp.int32)
    at_x = ((jnp.arange(-1, columns + 1) + table[6]) * cell).astype(jnp.int32)
    at = at_y.clip(0, shape[0] - 1), at_x.clip(0, shape[1] - 1)
    present = table[0] < density[at]
    ratio = radius[1] / radius[0]
    reach = radius[0] * ratio ** (table[1] ** settings.skew) * settings.support
    # The camera sees a tilted pane, such as a windscreen, shortened, and most so where
    # it looks along it.
    from_middle = (2 * at_y + 1 - shape[0]).clip(-max(shape), max(shape)) / max(shape)
    ray = jnp.arcsin(from_middle * jnp.sin(jnp.radians(drawn["view"] / 2)))
    shortened = jnp.cos(jnp.radians(drawn["tilt"]) + ray) / jnp.cos(ray)
    shortened = shortened.clip(_SHORTEST, 1)
    stretch = shortened * between(settings.elongation, table[2])
    has_trail = present & (table[3] < trailing)
    trail = jnp.where(has_trail, between(settings.trail, table[4]), 0)
    trail = shortened * trail
    trail = jnp.maximum(trail * (cell * (1 - 2 * drawn["irregularity"]) - reach), 1e-3)
    # A drop without a trail has nothing to narrow.
    taper = settings.taper * jnp.minimum(trail / reach, 1)
    # An absent drop reaches nowhere.
    inverse = jnp.where(present, reach**-2, 1e12)
    offset_y, offset_x = table[5] * cell, table[6] * cell
    flatness = between(settings.flatness, table[7])
    gain = between(settings.gain, table[8])
    # At most three standard deviations: a highlight is an exponential of this.
    normal = jax.random.normal(normal_key, (3, rows + 2, columns + 2)).clip(-3, 3)
    of_drop = jnp.concatenate([jnp.stack([flatness, gain]), normal])

    return jnp.concatenate(
        [jnp.stack([offset_y, offset_x, trail, taper, stretch, inverse]), of_drop]
    )


def _smooth_noise(
    key: jax.Array,
    shape: tuple[int, int, int],
    wavelength: int,
    shown: tuple[int, int] | None = None,
) -> jax.Array:
    """Smooth noise in [-1, 1] of `shape` [H, W, C], varying over `wavelength`.

    Of its upper left part alone where a size is to be `shown`.
    """
    height, width, channels = shape
    knots = (math.ceil(height / wavelength) + 3, math.ceil(width / wavelength) + 3)
    coarse = jax.random.uniform(key, (*knots, channels), minval=-1, maxval=1)
    return jax.image.scale_and_translate(
        coarse,
        (*(shown or (height, width)), channels),
        (0, 1),
        jnp.full(2, wavelength, jnp.float32),
        # From the second knot on: a cubic asks one more on every side.
        jnp.full(2, -wavelength, jnp.float32),
        "cubic",
    )
