"""Raindrops on a pane of glass: clean photograph -> rainy photograph and mask.

A water layer of metaballs lies on a tilted pane in front of the camera. Rays are
refracted by Snell's law where they enter the layer and where they leave its curved
surface, so a drop shows a wide, inverted, minified view of the scene; what Fresnel and
total reflection keep back leaves dark rims. The camera focuses on the scene, or near
the pane: the layer is blurred by the shape of its aperture and blends with the scene by
partial coverage. All light is added in linear space, and clipped after the blur: the
image of a lamp in a drop is many times brighter than white, and shows the shape of the
aperture.

After Roser & Geiger (ICCV workshops 2009), Halimeh & Roser (IV 2009) and Hao et al.
(ICCV workshops 2019); metaballs as in Blinn (1982). Pure functions, static shapes.

Read on in the order of the light: `settings` (what may be drawn), `water` (the drops'
shapes), `light` (what they show), `camera` (focus, veil, exposure, noise).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from raindrop.rendering.camera import expose
from raindrop.rendering.light import darken, drop_light, sky_light, to_linear
from raindrop.rendering.settings import Settings, draw_pane
from raindrop.rendering.water import water


class Example(NamedTuple):
    """A rendered pair. Pictures are RGB in [0, 1]."""

    rainy: jax.Array  # [H, W, 3]
    clean: jax.Array  # [H, W, 3], the scene: the photograph, or darker
    mask: jax.Array  # [H, W, 1], in {0, 1}, of where the drops are


def example(key: jax.Array, photograph: jax.Array, settings: Settings) -> Example:
    """A pair for training or evaluation. To be vmapped over `key` and `photograph`.

    Args:
      key: random key; the same key gives the same pair.
      photograph: [H, W, 3] RGB in [0, 1], or a crop of one.
      settings: what may be drawn (static under jit).
    """
    clean = darken(jax.random.fold_in(key, 1), photograph, settings)
    rainy, mask = render(key, clean, settings)
    return Example(rainy, clean, mask)


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
    draw_key, dry_key, kinds_key, patch_key, noise_key, *drop_keys = jax.random.split(
        key, 5 + len(settings.cell)
    )
    drawn = draw_pane(draw_key, settings)
    wet = jax.random.uniform(dry_key) >= settings.dry
    height, width, _ = clean.shape
    layer = water(
        kinds_key, patch_key, drop_keys, (height, width), wet, drawn, settings
    )
    linear = to_linear(clean)
    sky = sky_light(linear, drawn, settings)
    light = drop_light(linear, layer, sky, drawn, settings)
    exposed = expose(noise_key, linear, layer.coverage, light, sky, drawn, settings)
    # Exactly the photograph, not a round trip through linear light, where nothing
    # changes it.
    rainy = jnp.where(exposed.changed & wet, exposed.picture, clean)
    if settings.mask_rule == "difference":
        difference = jnp.max(jnp.abs(rainy - clean), -1, keepdims=True)
        mask = difference > settings.mask_difference
    else:
        mask = exposed.alpha > settings.mask_coverage
    return rainy.astype(dtype), mask.astype(dtype)
