"""Ranges of the raindrop renderer, in pixels of a 720 x 480 photograph.

The fields are explained by `raindrop.data.rendering.Settings`.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """Returns the keyword arguments of `raindrop.data.rendering.Settings`."""
    config = ml_collections.ConfigDict()
    config.reference = 720
    config.frame = 720
    config.dry = 0.1
    # Beads, drops, blobs.
    config.cell = (12, 30, 96)
    config.radius = ((2.5, 7.0), (6.0, 17.0), (16.0, 56.0))
    config.skew = 0.7
    config.presence = (0.6, 0.85, 0.9)
    config.density = ((0.1, 1.0), (0.1, 0.9), (0.3, 1.0))
    config.unevenness = (0.2, 1.0)
    config.patch = 240
    config.closeness = (0.7, 1.0)
    config.elongation = (0.9, 1.2)
    config.irregularity = (0.01, 0.06)
    config.trail = (0.1, 0.8)
    config.trailing = (0.0, 0.3)
    config.taper = 0.6
    config.support = 1.25
    config.contact = (30.0, 75.0)
    config.sag = (0.0, 0.2)
    config.tilt = (-5.0, 35.0)
    config.pan = (-15.0, 15.0)
    config.index = 1.333
    config.view = (40.0, 70.0)
    config.environment = (24, 36)
    config.expansion = (0.0, 1.0)
    config.sky = (0.4, 1.1)
    config.blueness = (0.0, 0.2)
    config.interior = (0.1, 0.6)
    config.highlight = (0.0, 2.0)
    config.highlight_size = (0.05, 0.12)
    config.highlight_tilt = (-0.5, 0.6)
    config.defocus = (2.0, 26.0)
    config.softness = 0.25
    config.veil = (0.0, 0.08)
    config.veil_reach = 50.0
    config.exposure = (-0.4, 0.0)
    config.noise = (0.0, 0.01)
    config.mask_rule = "geometry"
    config.mask_coverage = 0.15
    config.mask_difference = 30 / 255
    return config
