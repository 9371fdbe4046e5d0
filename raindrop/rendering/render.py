"""Raindrops on a pane of glass: clean photograph -> rainy photograph and mask.

A water layer of metaballs lies on a tilted pane in front of the camera. Rays are
refracted by Snell's law where they enter the layer and where they leave its curved
surface, so a drop shows a wide, inverted, minified view of the scene; what Fresnel and
total reflection keep back leaves dark rims. The camera focuses on the scene, or near
the pane: the layer is blurred by the shape of its aperture and blends with the scene by
partial coverage. Where it focuses on the pane, the scene itself is out of focus, in the
ground truth too. All light is added in linear space, and clipped after the blur: the
image of a lamp in a drop is many times brighter than white, and shows the shape of the
aperture.

After Roser & Geiger (ICCV workshops 2009), Halimeh & Roser (IV 2009) and Hao et al.
(ICCV workshops 2019); metaballs as in Blinn (1982). Pure functions, static shapes.

Read on in the order of the light: `settings` (what may be drawn), `water` (the drops'
shapes), `light` (what they show), `camera` (focus, veil, exposure, noise, sharpening),
`compression` (what a file keeps).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from raindrop.rendering.camera import expose, grade, sharpen, unfocus
from raindrop.rendering.compression import compress
from raindrop.rendering.light import darken, drop_light, sky_light, to_linear, unclip
from raindrop.rendering.settings import Drawn, Settings, draw_pane
from raindrop.rendering.water import water

# Folded into a key: for what a file does to the picture, and the camera before that.
_FILE = 0x4A50
_SHARPENED = 0x5348
_GRADED = 0x4752


class Example(NamedTuple):
    """A rendered pair. Pictures are RGB in [0, 1]."""

    rainy: jax.Array  # [H, W, 3]
    # [H, W, 3], the scene: the photograph, darker or out of focus; in other colours,
    # sharpened and out of a file as `rainy` is.
    clean: jax.Array
    mask: jax.Array  # [H, W, 1], in {0, 1}, of where the drops are


def example(key: jax.Array, photograph: jax.Array, settings: Settings) -> Example:
    """A pair for training or evaluation. To be vmapped over `key` and `photograph`.

    Args:
      key: random key; the same key gives the same pair.
      photograph: [H, W, 3] RGB in [0, 1], or a crop of one.
      settings: what may be drawn (static under jit).
    """
    pane_key, drops_key, scene_key = jax.random.split(key, 3)
    drawn = draw_pane(pane_key, settings)
    dtype = photograph.dtype
    scene = darken(scene_key, photograph.astype(jnp.float32), settings)
    clean = unfocus(scene, drawn, settings)
    rainy, mask = _with_drops(drops_key, clean, scene, drawn, settings)
    # Keys that are not split off: the others stay what they are without them.
    pair: tuple[jax.Array, ...] = rainy, clean
    for step, number in ((grade, _GRADED), (sharpen, _SHARPENED), (compress, _FILE)):
        pair = step(jax.random.fold_in(key, number), pair, settings)
    rainy, clean = (x.astype(dtype) for x in pair)
    return Example(rainy, clean, mask.astype(dtype))


def render(
    key: jax.Array, clean: jax.Array, settings: Settings
) -> tuple[jax.Array, jax.Array]:
    """Puts raindrops before a photograph, which stays as it is.

    The scene is in focus and in its own light and colours, whatever `settings` say of
    that, and nothing is sharpened or compressed; see `example`. To be vmapped over
    `key` and `clean`.

    Args:
      key: random key; the same key gives the same picture.
      clean: [H, W, 3] RGB in [0, 1], a photograph or a crop of one.
      settings: what may be drawn (static under jit).

    Returns:
      rainy [H, W, 3] RGB in [0, 1], of the dtype of `clean`, and the mask [H, W, 1] in
      {0, 1} of where the drops are, by `settings.mask_rule`.
    """
    pane_key, drops_key, _ = jax.random.split(key, 3)
    scene = clean.astype(jnp.float32)
    drawn = draw_pane(pane_key, settings)
    rainy, mask = _with_drops(drops_key, scene, scene, drawn, settings)
    return rainy.astype(clean.dtype), mask.astype(clean.dtype)


def _with_drops(
    key: jax.Array,
    clean: jax.Array,
    scene: jax.Array,
    drawn: Drawn,
    settings: Settings,
) -> tuple[jax.Array, jax.Array]:
    """What `render` returns, of a pane that is drawn already.

    Args:
      key: random key of the drops.
      clean: [H, W, 3], what the camera shows without drops.
      scene: [H, W, 3], the same in focus, which is what drops show.
      drawn: the pane's values.
      settings: what may be drawn for each drop.
    """
    dry_key, kinds_key, patch_key, noise_key, *drop_keys = jax.random.split(
        key, 4 + len(settings.cell)
    )
    height, width, _ = clean.shape

    def wet() -> tuple[jax.Array, jax.Array]:
        layer = water(kinds_key, patch_key, drop_keys, (height, width), drawn, settings)
        linear = to_linear(scene)
        sky = sky_light(linear, drawn, settings)
        light = drop_light(linear, layer, sky, drawn, settings)
        # A clipped sky stays white behind a veil and in a shorter exposure.
        behind = unclip(to_linear(clean), drawn, 64)
        exposed = expose(noise_key, behind, layer.coverage, light, sky, drawn, settings)
        # Where nothing changes it, exactly what is there without drops: no round trip
        # through linear light.
        rainy = jnp.where(exposed.changed, exposed.picture, clean)
        if settings.mask_rule == "difference":
            difference = jnp.max(jnp.abs(rainy - clean), -1, keepdims=True)
            return rainy, difference > settings.mask_difference
        return rainy, exposed.alpha > settings.mask_coverage

    def dry() -> tuple[jax.Array, jax.Array]:
        return clean, jnp.zeros((height, width, 1), bool)

    return jax.lax.cond(jax.random.uniform(dry_key) >= settings.dry, wet, dry)
