"""Raindrops on a pane of glass: clean photograph -> rainy photograph and mask.

A water layer of metaballs lies on a tilted pane in front of the camera. Rays are
refracted by Snell's law where they enter the layer and where they leave its curved
surface, so a drop shows a wide, inverted, minified view of the scene; what Fresnel and
total reflection keep back leaves dark rims. The camera focuses on the scene, so the
layer is blurred by the disc of its aperture and blends with the scene by partial
coverage. All light is added in linear space.

After Roser & Geiger (ICCV workshops 2009), Halimeh & Roser (IV 2009) and Hao et al.
(ICCV workshops 2019); metaballs as in Blinn (1982). Pure functions, static shapes.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from raindrop.rendering.optics import (
    disc_transfer,
    gaussian_blur,
    refract,
    to_encoded,
    to_linear,
)

Range = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What may be drawn for a picture. Calibrated values: `configs/rendering.py`.

    A `Range` is (low, high) and one value is drawn uniformly from it per picture unless
    the field says otherwise. Lengths are in pixels of a photograph whose long side is
    `reference` pixels. Fields of "one per kind" hold an entry for each kind of drop
    (beads, drops, blobs: any number of kinds), all in the same order.

    Attributes:
      reference: long side, in pixels, of the photograph that lengths are given for.
      frame: long side, in pixels, of the photograph that the picture is, or is cut
        from. Lengths are multiplied by `frame / reference`.
      dry: probability of a pane without drops, which leaves the photograph as it is.
      cell: one per kind; side of the square that holds at most one drop of the kind.
      radius: one Range per kind; contact radii, drawn per drop, before `closeness`.
      skew: exponent; 1 spreads log-radii evenly, more makes small drops commoner.
      presence: one per kind; probability that a pane carries the kind at all.
      density: one Range per kind; mean probability of a drop in a cell.
      least_defocus: one per kind; a pane with less `defocus` does not carry it. Drops
        above a few millimetres run down: what looks large is close, and out of focus.
      unevenness: how much the density varies over the pane, 0 to 1.
      patch: wavelengths of that variation.
      closeness: log-uniform; nearness of the pane, scales the radii and the defocus.
      elongation: height of a drop over its width, drawn per drop.
      irregularity: displacement of the outline, as a share of the cell.
      trail: length of the trail above a drop as a share of what its cell leaves room
        for, drawn per drop among those that have one.
      trailing: probability that a drop has a trail.
      taper: share by which the trail narrows towards its end.
      support: reach of a metaball over its radius; more merges neighbours earlier.
      contact: contact angle in degrees.
      flatness: share by which a drop is flatter than that, drawn per drop.
      sag: shift of a drop's apex towards its foot, as a share of its normal's tilt.
      tilt: tilt of the pane about the horizontal axis in degrees.
      pan: tilt of the pane about the vertical axis in degrees.
      index: refractive index of water.
      view: field of view of the photograph's long side in degrees.
      environment: rows and columns of the coarse scene that drops look at.
      expansion: linear light of the scene seen in drops is L * (1 + expansion * L),
        since a photograph clips the sky and the lamps that drops gather.
      greyness: share of its colour that light loses in the drops, which gather it from
        far more of the scene than the photograph shows.
      sky: brightness of the sky beyond the photograph's upper edge, over that of the
        brightest part of the scene.
      blueness: tint of the sky; its red is lower by this share.
      interior: light inside the camera's room, seen by total reflection, over the mean
        of the scene.
      highlight: linear brightness of the light's reflection on a drop.
      highlight_size: size of the highlight in units of the normal's slope.
      highlight_tilt: slope of the surface that shows the highlight, downwards.
      defocus: log-uniform; radius of the disc of defocus, before `closeness`.
      softness: standard deviation of the lens's own blur of the water layer over the
        radius of the disc.
      veil: log-uniform; share of the scene's light that the film between the drops
        scatters, times local coverage.
      veil_reach: log-uniform; standard deviation of what counts as local.
      veil_spread: standard deviation of the cone of scattered light: near a light thing
        the film is light, near a dark one dark.
      veil_sky: share of the sky in that light.
      exposure: gain of the whole picture in stops, times mean coverage.
      noise: standard deviation of the sensor's noise, in encoded values.
      mask_rule: 'geometry' (coverage above `mask_coverage`) or 'difference' (largest
        channel of |rainy - clean| above `mask_difference`).
      mask_coverage: least coverage that counts as drop.
      mask_difference: least difference that counts as drop.
    """

    reference: int
    frame: int
    dry: float
    cell: tuple[int, ...]
    radius: tuple[Range, ...]
    skew: float
    presence: tuple[float, ...]
    density: tuple[Range, ...]
    least_defocus: tuple[float, ...]
    unevenness: Range
    patch: tuple[int, ...]
    closeness: Range
    elongation: Range
    irregularity: Range
    trail: Range
    trailing: Range
    taper: float
    support: float
    contact: Range
    flatness: Range
    sag: Range
    tilt: Range
    pan: Range
    index: float
    view: Range
    environment: tuple[int, int]
    expansion: Range
    greyness: Range
    sky: Range
    blueness: Range
    interior: Range
    highlight: Range
    highlight_size: Range
    highlight_tilt: Range
    defocus: Range
    softness: float
    veil: Range
    veil_reach: Range
    veil_spread: Range
    veil_sky: Range
    exposure: Range
    noise: Range
    mask_rule: str
    mask_coverage: float
    mask_difference: float

    def __post_init__(self) -> None:
        kinds = ("cell", "radius", "presence", "density", "least_defocus")
        if len({len(getattr(self, name)) for name in kinds}) > 1:
            raise ValueError(f"data.rendering: {', '.join(kinds)} differ in length")
        for cell, (_, high) in zip(self.cell, self.radius, strict=True):
            reach = high * self.closeness[1] * self.support * self.elongation[1]
            if reach + 2 * self.irregularity[1] * cell > cell:
                raise ValueError(
                    f"data.rendering: drops of radius {high} reach beyond their cell "
                    f"of {cell} pixels"
                )
        if self.mask_rule not in ("geometry", "difference"):
            raise ValueError(
                "data.rendering.mask_rule must be geometry or difference, "
                f"not {self.mask_rule!r}"
            )


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


def _metaballs(
    key: jax.Array,
    shape: tuple[int, int],
    cell: int,
    radius: tuple[jax.Array, jax.Array],
    density: jax.Array,
    drawn: dict[str, jax.Array],
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


def _environment(
    directions: jax.Array,
    coarse: jax.Array,
    shape: tuple[int, int],
    sky: jax.Array,
    drawn: dict[str, jax.Array],
) -> jax.Array:
    """Light [H, W, 3] that comes from `directions` [H, W, 2] through a drop.

    The scene is `coarse`, a small copy of the photograph of `shape`, continued by
    reflection at its sides, by its lower half below it and by sky above it.
    """
    height, width = shape
    rows, columns, _ = coarse.shape
    coarse = coarse * (1 + drawn["expansion"] * coarse)
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
    above = jnp.clip(-down - 0.5, 0, 1)[..., None]
    return seen + above * (jnp.maximum(sky, seen) - seen)


def _draw(key: jax.Array, settings: Settings) -> dict[str, jax.Array]:
    """One value for every range of the pane and the camera."""
    uniform = [
        *("unevenness", "irregularity", "trailing", "contact", "sag", "tilt", "pan"),
        *("view", "expansion", "greyness", "sky", "blueness", "interior", "highlight"),
        *("highlight_size", "highlight_tilt", "veil_sky", "exposure", "noise"),
    ]
    logarithmic = ["closeness", "defocus", "veil", "veil_reach", "veil_spread"]
    names = uniform + logarithmic
    ranges = jnp.array([getattr(settings, name) for name in names], jnp.float32)
    low, high = ranges[:, 0], ranges[:, 1]
    u = jax.random.uniform(key, (len(names),))
    values = low + (high - low) * u
    ratio = jnp.log(jnp.maximum(high, 1e-6) / jnp.maximum(low, 1e-6))
    values = jnp.where(
        jnp.arange(len(names)) < len(uniform), values, low * jnp.exp(ratio * u)
    )
    return dict(zip(names, values, strict=True))


def render(
    key: jax.Array, clean: jax.Array, settings: Settings
) -> tuple[jax.Array, jax.Array]:
    """Puts raindrops before a photograph. To be vmapped over `key` and `clean`.

    Args:
      key: random key; the same key gives the same picture.
      clean: [H, W, 3] RGB in [0, 1], a photograph or a crop of one.
      settings: what may be drawn (static under jit).

    Returns:
      rainy [H, W, 3] RGB in [0, 1], of the dtype of `clean`, and the mask [H, W, 1] in
      {0, 1} of where the drops are, by `settings.mask_rule`.
    """
    dtype, clean = clean.dtype, clean.astype(jnp.float32)
    shape = clean.shape[:2]
    scale = settings.frame / settings.reference
    draw_key, dry_key, kinds_key, patch_key, noise_key, *drop_keys = jax.random.split(
        key, 5 + len(settings.cell)
    )
    drawn = _draw(draw_key, settings)
    wet = jax.random.uniform(dry_key) >= settings.dry
    u = jax.random.uniform(kinds_key, (2, len(settings.cell)))

    # The water layer.
    patches = sum(
        _smooth_noise(
            key, (*shape, len(settings.cell)), max(round(wavelength * scale), 2)
        )
        for key, wavelength in zip(
            jax.random.split(patch_key, len(settings.patch)),
            settings.patch,
            strict=True,
        )
    )
    patches = jnp.clip(1 + 2 * drawn["unevenness"] * patches, 0, 3)
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
    slope = slope - lean * jnp.array([0.0, 1.0])

    # Its colour.
    linear = to_linear(clean)
    tint = 1 - drawn["blueness"] * jnp.array([1.0, 0.5, 0.0])
    coarse = jax.image.resize(linear, (*settings.environment, 3), "linear")
    sky = drawn["sky"] * tint * jnp.max(coarse, (0, 1))
    directions, transmittance = refract(
        slope,
        jnp.radians(drawn["view"] / 2),
        jnp.radians(drawn["tilt"]),
        jnp.radians(drawn["pan"]),
        settings.index,
    )
    seen = _environment(directions, coarse, shape, sky, drawn)
    interior = drawn["interior"] * jnp.mean(linear, (0, 1))
    grey = jnp.mean(seen, -1, keepdims=True)
    seen = seen + drawn["greyness"] * (grey - seen)
    light = transmittance * seen + (1 - transmittance) * interior
    from_light = jnp.sum(
        (slope - drawn["highlight_tilt"] * jnp.array([0.0, 1.0])) ** 2, -1
    )
    glint = jnp.exp(-from_light / (2 * drawn["highlight_size"] ** 2))
    light = light + drawn["highlight"] * glint[..., None]

    # The camera.
    radius = drawn["defocus"] * drawn["closeness"] * scale
    layer = jnp.concatenate([coverage, coverage * light], -1)
    # The convolution is circular: drops at one edge must not glow at the other.
    largest = settings.defocus[1] * settings.closeness[1] * (1 + settings.softness)
    margin = min(math.ceil(largest * scale), *shape)
    layer = jnp.pad(layer, ((margin, margin), (margin, margin), (0, 0)), "symmetric")
    disc = disc_transfer(layer.shape[:2], radius, radius * settings.softness)
    spectrum = jnp.fft.rfft2(layer, axes=(0, 1)) * disc[..., None]
    blurred = jnp.fft.irfft2(spectrum, s=layer.shape[:2], axes=(0, 1))
    blurred = blurred[margin : margin + shape[0], margin : margin + shape[1]]
    # Below this, coverage is rounding error of the transform.
    least = 1e-3
    alpha = jnp.clip(blurred[..., :1], 0, 1)
    touched = alpha > least
    alpha = jnp.where(touched, alpha, 0)
    glow = jnp.where(touched, jnp.maximum(blurred[..., 1:4], 0), 0)
    around = gaussian_blur(coverage, drawn["veil_reach"] * scale)
    veil = jnp.minimum(drawn["veil"] * around, 1)
    scattered = gaussian_blur(linear, drawn["veil_spread"] * scale)
    scattered = scattered + drawn["veil_sky"] * (sky - scattered)
    rainy = linear + veil * (scattered - linear)
    rainy = (1 - alpha) * rainy + glow
    stops = drawn["exposure"] * jnp.mean(coverage)
    rainy = to_encoded(rainy * 2**stops)
    noise = drawn["noise"] * jax.random.normal(noise_key, clean.shape)
    rainy = jnp.clip(rainy + noise, 0, 1)
    # Exactly the photograph, not a round trip through linear light, where nothing
    # changes it.
    changed = touched | (veil > 0) | (stops != 0) | (drawn["noise"] > 0)
    rainy = jnp.where(changed & wet, rainy, clean)

    if settings.mask_rule == "difference":
        difference = jnp.max(jnp.abs(rainy - clean), -1, keepdims=True)
        mask = difference > settings.mask_difference
    else:
        mask = alpha > settings.mask_coverage
    return rainy.astype(dtype), mask.astype(dtype)
