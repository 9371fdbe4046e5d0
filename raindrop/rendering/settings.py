"""What may be drawn for a picture, and what is drawn for one."""

import dataclasses

import jax
import jax.numpy as jnp

from raindrop.errors import UserError

Range = tuple[float, float]
# The values of one pane, by the names of the fields of `Settings` they are drawn from.
Drawn = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What may be drawn for a picture. Calibrated values: `configs/rendering.py`.

    A `Range` is (low, high) and one value is drawn uniformly from it per picture unless
    the field says otherwise. Lengths are in pixels of a photograph whose long side is
    `reference` pixels. Fields of "one per kind" hold an entry for each kind of drop
    (beads, drops, blobs: any number of kinds), all in the same order: a drop swallows
    those of the kinds before its own whose middle would lie under it.

    Attributes:
      reference: long side, in pixels, of the photograph that lengths are given for.
      frame: long side, in pixels, of the photograph that the picture is, or is cut
        from. Lengths are multiplied by `frame / reference`.
      dry: probability of a pane without drops, which leaves the scene as it is.
      cell: one per kind; side of the square that holds at most one drop of the kind.
      radius: one Range per kind; contact radii, drawn per drop, before `closeness`.
      skew: exponent; 1 spreads log-radii evenly, more makes small drops commoner.
      presence: one per kind; probability that a pane carries the kind at all.
      density: one Range per kind; mean probability of a drop in a cell.
      crowded: probability of a pane that carries drops of many kinds at once, as after
        condensation or hours of rain; it draws from `crowd`.
      crowd: one Range per kind; as `density`, of such a pane, which carries each kind.
      unevenness: how much the density varies over the pane; from 1 on parts of it are
        bare.
      patch: wavelengths of that variation.
      closeness: log-uniform; nearness of the pane, scales the radii and the defocus.
      enlarged: probability of a picture that is taken from a larger one, or through
        drops on the lens itself: everything on the pane grows.
      enlargement: log-uniform; by which factor (at least 1), and the defocus of panes
        in focus too.
      elongation: height of a drop over its width on the pane, drawn per drop; on a
        tilted pane the camera sees less of it.
      irregularity: displacement of the outline, as a share of the cell.
      zigzag: side of a cell from which outlines have a second, finer displacement of a
        sixth of that: what runs down does so in zigzags.
      trail: length of the trail above a drop as a share of what its cell leaves room
        for, drawn per drop among those that have one.
      trails: one Range per kind; probability that a drop has a trail.
      taper: share by which the trail narrows towards its end.
      support: reach of a metaball over its radius; more merges neighbours earlier.
      contact: contact angle in degrees.
      flatness: share by which a drop is flatter than that, drawn per drop.
      sag: shift of a drop's apex towards its foot, as a share of its normal's tilt.
      upright: tilt of the pane about the horizontal axis in degrees.
      tilted: probability of a pane that is tilted more, as a windscreen is.
      tilt: as `upright`, of such a pane.
      pan: tilt of the pane about the vertical axis in degrees.
      slant: slope of drops on a pane that is tilted to the full, less on others: a wide
        camera sees them lie aslant.
      index: refractive index of water.
      view: log-uniform; field of view of the photograph's long side in degrees.
      environment: rows and columns of the coarse scene that drops look at.
      expansion: log-uniform; linear light of the scene seen in drops is
        L * (1 + expansion * L^3), since a photograph clips the sky and the lamps that
        drops gather. A scene out of focus is L * (1 + expansion * L^8): its lamps
        become discs, and what is merely light keeps its light. Behind drops and veil
        it is L * (1 + expansion * L^64): what is clipped stays white, nothing else.
      gain: factor on the light of a drop, drawn per drop: no two look alike.
      greyness: share of its colour that light loses in the drops, which gather it from
        far more of the scene than the photograph shows.
      sky: log-uniform; brightness of the sky beyond the photograph's upper edge, over
        that of the brightest part of the scene.
      surroundings: log-uniform; factor on the light from beyond its other edges: a
        photograph shows what is bright, and drops look round it.
      blueness: tint of the sky; its red is lower by this share.
      interior: light inside the camera's room, seen by total reflection, over the mean
        of the scene.
      shining: probability of a light, such as a lamp or the sun, that drops show.
      sharp_highlight: log-uniform; linear brightness of its image in a drop, on panes
        that are in focus.
      highlight: log-uniform; the same on the others. Many times white: it is much
        smaller than the disc that it becomes there, with sharp edges, still white.
      highlight_spread: standard deviation of its logarithm over the drops of a pane.
      highlight_size: height of the highlight in units of the normal's slope.
      highlight_width: log-uniform; its width over its height.
      highlight_tilt: slope of the surface that shows the highlight, downwards.
      highlight_jitter: standard deviation of that slope over the drops of a pane.
      sharp: probability that the pane is in focus.
      sharp_defocus: log-uniform; as `defocus`, of panes that are in focus.
      scene_defocus: log-uniform; radius of the aperture's image of the scene where the
        pane is in focus. Elsewhere the scene is as sharp as its photograph.
      deep: probability that the scene is sharp there, too.
      defocus: log-uniform; radius of the aperture's image on the pane, before
        `closeness`.
      polygon: probability that the aperture is a polygon of blades, not a disc.
      blades: least and largest number of them.
      squeeze: width over height of the aperture's image, along any direction: a lens
        cuts it near the corners of a picture.
      fringe: shift of the aperture's image in red light, over its radius, and the other
        way in blue.
      rim: log-uniform; light at the rim of the aperture's image, at its corners, over
        the least in it, less one; few lenses spread it evenly.
      rings: how many maxima there are from the middle to the rim; 0.5 is a bowl.
      within: light of the inner ones over that of the rim: nothing is a thin rim alone.
      softness: log-uniform; standard deviation of the lens's own blur of what is out of
        focus over the radius of the aperture's image.
      lens: standard deviation, in pixels of the picture, by which lens and sensor blur
        the drops even in focus. The photograph has been through a camera already.
      sharp_veil: log-uniform; as `veil`, of panes that are in focus, where what is a
        film out of focus is seen as beads.
      veil: log-uniform; share of the scene's light that the film between the drops
        scatters, times local coverage.
      veil_reach: log-uniform; standard deviation of what counts as local.
      veil_spread: standard deviation of the cone of scattered light: near a light thing
        the film is light, near a dark one dark.
      veil_sky: share of the sky in that light.
      dark: probability of a scene of another light than its photograph; see
        `light.darken`.
      darkness: log-uniform; gain of such a scene, above 1 where it is overexposed.
      contrast: exponent of its linear light.
      lit: what is added there to the gain of what is white or brightly coloured, as
        lamps and lit windows are; nothing where it is drawn below 0. Above 1 they are
        overexposed.
      exposure: gain of the whole picture in stops, times mean coverage.
      noise: standard deviation of the sensor's noise, in encoded values.
      graded: probability of a pair in other colours than its photograph's, as by
        another white balance, in black and white, or of a sensor that is noisy itself.
      saturation: of such a pair, as a factor; below 0 it is grey.
      warmth: logarithm of its gain of red over that of blue.
      tone: log-uniform; its contrast, as a factor on the distance to `pivot`.
      pivot: the encoded value that stays.
      grain: standard deviation of noise that belongs to the picture, rainy and clean;
        nothing where it is drawn below 0.
      sharpened: probability of a pair from a camera that sharpens its pictures.
      sharpness: log-uniform; by how much, as a factor on what a blur takes away.
      sharpening: standard deviation of that blur, in pixels of the picture.
      compressed: probability of a pair that comes out of JPEG files, both of one
        quality: a network is to remove drops, and to leave their artifacts alone.
      quality: of those files, libjpeg's 1 to 100.
      mask_rule: 'geometry' (coverage above `mask_coverage`) or 'difference' (largest
        channel of |rainy - clean| above `mask_difference`, before both are graded,
        sharpened and compressed).
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
    crowded: float
    crowd: tuple[Range, ...]
    unevenness: Range
    patch: tuple[int, ...]
    closeness: Range
    enlarged: float
    enlargement: Range
    elongation: Range
    irregularity: Range
    zigzag: int
    trail: Range
    trails: tuple[Range, ...]
    taper: float
    support: float
    contact: Range
    flatness: Range
    sag: Range
    upright: Range
    tilted: float
    tilt: Range
    pan: Range
    slant: Range
    index: float
    view: Range
    environment: tuple[int, int]
    expansion: Range
    gain: Range
    greyness: Range
    sky: Range
    surroundings: Range
    blueness: Range
    interior: Range
    shining: float
    sharp_highlight: Range
    highlight: Range
    highlight_spread: float
    highlight_size: Range
    highlight_width: Range
    highlight_tilt: Range
    highlight_jitter: float
    sharp: float
    sharp_defocus: Range
    scene_defocus: Range
    deep: float
    defocus: Range
    polygon: float
    blades: tuple[int, int]
    squeeze: Range
    fringe: Range
    rim: Range
    rings: Range
    within: Range
    softness: Range
    lens: Range
    sharp_veil: Range
    veil: Range
    veil_reach: Range
    veil_spread: Range
    veil_sky: Range
    dark: float
    darkness: Range
    contrast: Range
    lit: Range
    exposure: Range
    noise: Range
    graded: float
    saturation: Range
    warmth: Range
    tone: Range
    pivot: Range
    grain: Range
    sharpened: float
    sharpness: Range
    sharpening: Range
    compressed: float
    quality: Range
    mask_rule: str
    mask_coverage: float
    mask_difference: float

    def __post_init__(self) -> None:
        kinds = ("cell", "radius", "presence", "density", "crowd", "trails")
        if len({len(getattr(self, name)) for name in kinds}) > 1:
            raise UserError(f"data.rendering: {', '.join(kinds)} differ in length")
        for cell, (_, high) in zip(self.cell, self.radius, strict=True):
            reach = high * self.closeness[1] * self.support * self.elongation[1]
            if reach + 2 * self.irregularity[1] * cell > cell:
                raise UserError(
                    f"data.rendering: drops of radius {high} reach beyond their cell "
                    f"of {cell} pixels; take a larger cell, or less of closeness, "
                    "elongation or irregularity"
                )
        if self.mask_rule not in ("geometry", "difference"):
            raise UserError(
                "data.rendering.mask_rule must be geometry or difference, "
                f"not {self.mask_rule!r}"
            )


def between(bounds: Range, u: jax.Array) -> jax.Array:
    """The value at a share `u` of the way from the lower bound to the upper one."""
    low, high = bounds
    return low + (high - low) * u


def log_between(bounds: Range, u: jax.Array) -> jax.Array:
    """The same on a logarithmic scale; both bounds are above 0."""
    low, high = bounds
    return low * (high / low) ** u


def draw_pane(key: jax.Array, settings: Settings) -> Drawn:
    """One value for every `Range` of the pane, its light and the camera, by name."""
    uniform = [
        *("unevenness", "irregularity", "contact", "sag", "tilt", "upright", "pan"),
        *("slant", "squeeze", "fringe"),
        *("lens", "rings", "greyness", "blueness", "interior", "highlight_size"),
        *("highlight_tilt", "veil_sky", "exposure", "noise"),
    ]
    logarithmic = [
        *("closeness", "defocus", "sharp_defocus", "scene_defocus", "softness", "rim"),
        *("veil", "sharp_veil", "veil_reach", "veil_spread", "view"),
        *("expansion", "sky", "surroundings", "enlargement"),
        *("highlight", "sharp_highlight", "highlight_width"),
    ]
    names = uniform + logarithmic
    ranges = jnp.array([getattr(settings, name) for name in names], jnp.float32)
    low, high = ranges[:, 0], ranges[:, 1]
    u, more = jnp.split(jax.random.uniform(key, (len(names) + 9,)), [len(names)])
    sharp, deep, polygon, turn, count, enlarged, crowded, tilted, shining = more
    values = low + (high - low) * u
    ratio = jnp.log(jnp.maximum(high, 1e-6) / jnp.maximum(low, 1e-6))
    values = jnp.where(
        jnp.arange(len(names)) < len(uniform), values, low * jnp.exp(ratio * u)
    )
    drawn = dict(zip(names, values, strict=True))
    drawn["enlargement"] = jnp.where(
        enlarged < settings.enlarged, drawn["enlargement"], 1
    )
    drawn["sharp_defocus"] *= drawn["enlargement"]
    focused = sharp < settings.sharp
    for name in ("defocus", "veil", "highlight"):
        in_focus = drawn.pop(f"sharp_{name}")
        drawn[name] = jnp.where(focused, in_focus, drawn[name])
    upright = drawn.pop("upright")
    drawn["tilt"] = jnp.where(tilted < settings.tilted, drawn["tilt"], upright)
    drawn["highlight"] = jnp.where(shining < settings.shining, drawn["highlight"], 0)
    shallow = focused & (deep >= settings.deep)
    drawn["scene_defocus"] = jnp.where(shallow, drawn["scene_defocus"], 0)
    least, most = settings.blades
    blades = least + jnp.floor(count * (most - least + 1))
    # A disc is a polygon of very many blades.
    drawn["blades"] = jnp.where(polygon < settings.polygon, blades, 1e3)
    # By a key of its own: the other values of a seed stay what they were without it.
    share = jax.random.uniform(jax.random.fold_in(key, 0x5249))
    drawn["within"] = between(settings.within, share)
    drawn["turn"] = 2 * jnp.pi * turn
    drawn["crowded"] = crowded < settings.crowded
    return drawn
