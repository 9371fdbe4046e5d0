"""Ranges of the raindrop renderer, in pixels of a 720 x 480 photograph.

The fields are explained by `raindrop.rendering.settings.Settings`.

How they were found: by looking at real panes beside rendered ones, and by
what `benchmarks/calibrate_rendering.py` counts beside four real pairs of the Raindrop
data set. They are to cover what people photograph, so only a part of the panes is like
those four.

- Drops show a sky brighter than the photograph's brightest part (`sky`), since that is
  clipped, even those before the ground, as they look far around (`contact`, `view`);
  neither grey (`greyness`) nor as steep as each other (`flatness`).
- Most of what water does to real pictures is a translucent veil in the colours of the
  scene, close to the drops (`veil`, `veil_reach`); much of the pane stays clear
  (`unevenness`).
- `veil` and `exposure` are nothing without drops: a network cannot tell them from the
  scene, and learns to shift the brightness of every picture instead.
- A camera that is focused on the pane shows the scene out of focus
  (`scene_defocus`), but for small apertures (`deep`).
- Pictures that were made smaller, or sharpened by the camera, show beads to the pixel
  (`lens`, `sharpened`). A network that had seen softer ones removed such beads only
  once the picture was blurred by 0.7 pixels.
- Photographs come in JPEG files. A network that had seen none found half as much
  behind quality 75 as behind uncompressed panes (`compressed`, `quality`).
- A window is upright (`upright`): dark rims all around, and light in the middle. A
  windscreen is tilted up to 75 degrees (`tilt`): its drops are flat and dark.
- A photograph of a narrow `view` shows little of what its drops look at. Before a lit
  door or a light wall in dark `surroundings` each is dark, with a small light middle.
- Condensation and hours of rain cover a pane with drops of all sizes, down to one
  pixel (`crowded`); the larger ones have swallowed what lay under them.
- At night lamps stay white, or are far brighter than that (`lit`), and a small drop out
  of focus shows them as a disc, with a bright rim or rings (`rim`, `rings`, `within`).
- Near the corners of a picture discs are narrow (`squeeze`), with coloured edges
  (`fringe`); on a dash cam's pane drops lie aslant (`slant`).
- Pictures are in black and white, in a cold or warm light, flat, noisy (`graded`), or
  overexposed (`darkness` above 1). A network that had seen none took parts of dry ones
  for drops.
- What a photograph clips is brighter than white, by a factor that it does not tell
  (`expansion`): a sky, a lit door or a pillar stays white behind a veil and in the
  shorter exposure of a wet picture. A network that had always seen it dimmed took what
  was white for lit drops.
- `dry` panes teach it to leave a clean picture alone.

The rest is physics or habit.
To see where they stand:

    python benchmarks/calibrate_rendering.py --photos=PHOTOS --pairs=PAIRS
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """Returns the keyword arguments of `raindrop.rendering.settings.Settings`."""
    config = ml_collections.ConfigDict()
    config.reference = 720
    config.frame = 720
    config.dry = 0.2
    # Spray, beads, drops, blobs, drops close to a lens, and what runs down, a little
    # and far.
    config.cell = (6, 14, 42, 104, 208, 208, 416)
    config.radius = (
        *((0.6, 1.7), (1.4, 4.0), (3.6, 12.0), (11.0, 30.0), (28.0, 60.0)),
        *((2.5, 8.0), (2.5, 10.0)),
    )
    config.skew = 0.8
    config.presence = (0.5, 0.7, 1.0, 0.75, 0.35, 0.25, 0.2)
    config.density = (
        *((0.1, 0.9), (0.1, 0.9), (0.15, 0.9), (0.1, 0.9), (0.1, 0.8)),
        *((0.1, 0.8), (0.4, 1.0)),
    )
    config.crowded = 0.2
    config.crowd = (
        *((0.6, 1.0), (0.6, 1.0), (0.2, 0.8), (0.0, 0.4), (0.0, 0.2)),
        *((0.0, 0.4), (0.2, 1.0)),
    )
    config.unevenness = (0.1, 1.8)
    config.patch = (320, 120)
    config.closeness = (0.55, 1.5)
    config.enlarged = 0.3
    config.enlargement = (1.0, 4.0)
    config.elongation = (0.75, 1.4)
    config.irregularity = (0.03, 0.12)
    config.zigzag = 100
    config.trail = (0.1, 0.8)
    config.trails = (*((0.0, 0.2),) * 5, (1.0, 1.0), (1.0, 1.0))
    config.taper = 0.6
    config.support = 1.25
    config.contact = (30.0, 88.0)
    config.flatness = (0.0, 0.5)
    config.sag = (0.0, 0.2)
    config.upright = (-10.0, 15.0)
    config.tilted = 0.5
    config.tilt = (10.0, 75.0)
    config.pan = (-15.0, 15.0)
    config.slant = (-0.6, 0.6)
    config.index = 1.333
    config.view = (8.0, 90.0)
    config.environment = (48, 72)
    config.expansion = (0.05, 8.0)
    config.gain = (0.5, 1.4)
    config.greyness = (0.0, 0.3)
    config.sky = (0.03, 4.0)
    config.surroundings = (0.03, 1.5)
    config.blueness = (0.0, 0.35)
    config.interior = (0.02, 0.9)
    config.shining = 0.6
    config.sharp_highlight = (0.03, 30.0)
    config.highlight = (0.03, 300.0)
    config.highlight_spread = 1.2
    config.highlight_size = (0.04, 0.12)
    config.highlight_width = (0.7, 5.0)
    config.highlight_tilt = (-0.5, 0.6)
    config.highlight_jitter = 0.15
    config.sharp = 0.4
    config.sharp_defocus = (0.2, 2.5)
    config.scene_defocus = (1.0, 24.0)
    config.deep = 0.3
    config.defocus = (2.5, 28.0)
    config.polygon = 0.5
    config.blades = (5, 9)
    config.squeeze = (0.6, 1.0)
    config.fringe = (0.0, 0.12)
    config.rim = (0.1, 12.0)
    config.rings = (0.5, 6.0)
    config.within = (0.0, 1.0)
    config.softness = (0.03, 0.6)
    config.lens = (0.35, 0.75)
    config.sharp_veil = (0.02, 0.4)
    config.veil = (0.15, 2.8)
    config.veil_reach = (10.0, 250.0)
    config.veil_spread = (8.0, 80.0)
    config.veil_sky = (0.0, 0.4)
    config.dark = 0.45
    config.darkness = (0.05, 4.0)
    config.contrast = (1.0, 2.0)
    config.lit = (-1.0, 3.0)
    config.exposure = (-1.8, -0.2)
    config.noise = (0.0, 0.006)
    config.graded = 0.4
    config.saturation = (-0.4, 1.6)
    config.warmth = (-0.7, 0.7)
    config.tone = (0.4, 1.5)
    config.pivot = (0.2, 0.8)
    config.grain = (-0.1, 0.05)
    config.sharpened = 0.5
    config.sharpness = (0.2, 2.0)
    config.sharpening = (0.5, 1.2)
    config.compressed = 0.7
    config.quality = (30.0, 98.0)
    config.mask_rule = "geometry"
    config.mask_coverage = 0.25
    config.mask_difference = 30 / 255
    return config
