"""Things that look like drops and are none, drawn into photographs.

An eye, a button, a badge, a spoon, a ring, a letter or a lamp is round or shiny, too.
A network that has seen few takes each for a drop. These belong to the scene: the ground
truth shows them, and drops lie before them.

NumPy, SciPy and Pillow alone, as `augmentation`, which calls this.
"""

import functools
import string
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont
from scipy.signal import fftconvolve

# Drawn so many times larger, since Pillow's shapes have no soft edges.
_SCALE = 2
_LETTERS = string.ascii_uppercase * 2 + string.ascii_lowercase + string.digits + ".:-&"
_Colour = tuple[int, int, int]
_Thing = Callable[[Image.Image, Image.Image, np.random.Generator], None]
# Of lamps: white, warm, sodium, cold, green, red.
_LIGHTS: tuple[_Colour, ...] = (
    (255, 250, 240),
    (255, 214, 150),
    (255, 170, 70),
    (200, 225, 255),
    (120, 255, 170),
    (255, 80, 60),
)


def add(image: np.ndarray, u: float) -> np.ndarray:
    """One or two groups of things on a crop.

    Args:
      image: uint8 RGB [H, W, 3].
      u: a number in [0, 1) that decides all of it.

    Returns:
      uint8 [H, W, 3].
    """
    rng = np.random.default_rng(int(u * 2**53))
    scene = Image.fromarray(image)
    painted = (_text, _discs, _discs, _rings, _dots, _mirror, *(_openings,) * 3)
    kinds = [functools.partial(_paint, thing) for thing in painted] + [_lamps] * 4
    for _ in range(rng.integers(1, 3)):
        scene = kinds[rng.integers(len(kinds))](scene, rng)
    return np.asarray(scene)


def _paint(thing: _Thing, scene: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The scene with a group of things that hide what is behind them."""
    layer = Image.new("RGBA", (scene.width * _SCALE, scene.height * _SCALE))
    thing(layer, scene, rng)
    layer = _turned(layer, rng).resize(scene.size, Image.Resampling.BOX)
    if rng.random() < 0.5:
        sigma = float(rng.uniform(0.3, 1.2))
        layer = layer.filter(ImageFilter.GaussianBlur(sigma))
    # Less would be a drop out of focus. Half hide all: what is white is clipped.
    opacity = min(rng.uniform(0.8, 1.2), 1.0)
    alpha = layer.getchannel("A").point(lambda a, by=opacity: round(a * by))
    scene.paste(layer.convert("RGB"), mask=alpha)
    return scene


def _turned(layer: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A layer that is often a little aslant."""
    return layer.rotate(float(rng.normal(0, 12))) if rng.random() < 0.6 else layer


def _text(layer: Image.Image, scene: Image.Image, rng: np.random.Generator) -> None:
    """Lines of letters, on a plate or on the scene itself."""
    draw = ImageDraw.Draw(layer)
    size = _between(rng, 7, 70) * _SCALE
    font = _font(round(size))
    x, y = rng.uniform(0, layer.width * 0.8), rng.uniform(0, layer.height * 0.9)
    lines = [
        "".join(rng.choice(list(_LETTERS), rng.integers(2, 14)))
        for _ in range(rng.integers(1, 5))
    ]
    text = "\n".join(lines)
    ink, plate = _colour(scene, rng), _colour(scene, rng)
    if abs(sum(ink) - sum(plate)) < 200:
        ink = (20, 20, 20) if sum(plate) > 380 else (235, 235, 235)
    box = draw.multiline_textbbox((x, y), text, font)
    if rng.random() < 0.6:
        margin = size * rng.uniform(0.1, 0.8)
        around = (
            box[0] - margin,
            box[1] - margin,
            box[2] + margin,
            box[3] + margin,
        )
        draw.rounded_rectangle(around, size * rng.uniform(0, 0.5), plate)
    draw.multiline_text((x, y), text, ink, font, stroke_width=int(rng.integers(3)))


def _discs(layer: Image.Image, scene: Image.Image, rng: np.random.Generator) -> None:
    """Eyes, buttons, badges, balls, wheels: one, a pair, or a row of one kind."""
    count = int(rng.choice([1, 1, 2, 2, 4, 7]))
    radius = _between(rng, 3, 50) * _SCALE
    aspect = rng.uniform(0.6, 1.0)
    colours = [_colour(scene, rng) for _ in range(4)]
    dark = (int(rng.integers(40)),) * 3
    shade, light = rng.uniform(0, 0.8), rng.uniform(-0.5, 0.5, 2)
    rim, pupil, highlight = rng.random(3)
    rim_width = radius * rng.uniform(0.05, 0.3)
    inner, glint = radius * rng.uniform(0.2, 0.7), radius * rng.uniform(0.05, 0.3)
    letters = "".join(rng.choice(list(_LETTERS), 3))
    step = rng.uniform(2.1, 5.0, 2) * radius * (1, rng.normal(0, 0.2))
    at = rng.uniform(0, 1, 2) * layer.size
    for _ in range(count):
        place = functools.partial(_ellipse, at, aspect)
        draw = ImageDraw.Draw(layer)
        if rim < 0.6:
            draw.ellipse(place(radius + rim_width), dark if rim < 0.3 else colours[0])
        layers = max(int(radius // 3), 1) if shade > 0.3 else 1
        for i in range(layers):
            left = 1 - i / layers
            middle = at + light * radius * (1 - left) * 0.8
            tone = 1 - shade * left
            fill = tuple(round(c * tone) for c in colours[1])
            draw.ellipse(_ellipse(middle, aspect, radius * left), fill)
        if pupil < 0.5:
            draw.ellipse(place(inner), dark if pupil < 0.3 else colours[2])
        elif pupil < 0.7 and radius > 10:
            font = _font(round(radius * 0.8))
            draw.text(tuple(at), letters, colours[3], font, anchor="mm")
        if highlight < 0.7:
            spot = at + light * radius
            draw.ellipse(_ellipse(spot, 1.0, glint), (255, 255, 255))
        at = at + step


def _rings(layer: Image.Image, scene: Image.Image, rng: np.random.Generator) -> None:
    """Rings and arcs, thin and thick."""
    draw = ImageDraw.Draw(layer)
    width = round(_between(rng, 1, 8) * _SCALE)
    colour, aspect = _colour(scene, rng), rng.uniform(0.4, 1.0)
    for _ in range(rng.integers(1, 6)):
        radius = _between(rng, 5, 60) * _SCALE
        start = rng.uniform(0, 360)
        end = start + (360 if rng.random() < 0.6 else rng.uniform(60, 300))
        box = _ellipse(rng.uniform(0, 1, 2) * layer.size, aspect, radius)
        draw.arc(box, start, end, colour, width)


def _dots(layer: Image.Image, scene: Image.Image, rng: np.random.Generator) -> None:
    """Rivets, holes, lamps in a row, pebbles: small spots in a grid or not."""
    draw = ImageDraw.Draw(layer)
    radius = _between(rng, 1, 7) * _SCALE
    gap = radius * rng.uniform(2.5, 8)
    extent = rng.uniform(0.2, 0.8, 2) * layer.size
    start = rng.uniform(0, 0.8, 2) * layer.size
    rows, columns = (max(1, min(int(side // gap), 12)) for side in extent[::-1])
    jitter = rng.choice([0.0, 0.0, 0.5]) * gap
    colour, rim = _colour(scene, rng), _colour(scene, rng)
    for row in range(rows):
        for column in range(columns):
            at = start + (column * gap, row * gap) + rng.uniform(-1, 1, 2) * jitter
            draw.ellipse(_ellipse(at, 1.0, radius * 1.3), rim)
            draw.ellipse(_ellipse(at, 1.0, radius), colour)


def _lamps(scene: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The scene, dark in most cases, with street lamps, headlights or lit windows.

    They are brighter than white, and the lens and the air scatter a part of their light
    far around: the glare falls with a power of the distance, and may have rays.
    """
    radius = _between(rng, 1.5, 30) * _SCALE
    aspect = rng.uniform(0.5, 2.0)
    windows = rng.random() < 0.4
    lamps = Image.new("L", (scene.width * _SCALE, scene.height * _SCALE))
    draw = ImageDraw.Draw(lamps)
    rows, columns = rng.integers(1, 7, 2) if windows else (1, rng.integers(1, 8))
    gap = radius * rng.uniform(2.3, 7, 2) * (max(aspect, 1), 1)
    start = rng.uniform(0, 0.9, 2) * lamps.size
    for row in range(rows):
        for column in range(columns):
            if rng.random() < 0.2:
                continue
            at = start + (column, row) * gap
            if not windows:
                at = at + rng.normal(0, 0.5, 2) * gap
            shape = draw.rectangle if windows else draw.ellipse
            shape(_ellipse(at, aspect, radius), fill=255)
    lamps = _turned(lamps, rng).resize(scene.size, Image.Resampling.BOX)
    lamps = lamps.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 1.5))))
    core = np.asarray(lamps, np.float32) / 255
    glare = fftconvolve(core, _glare(scene.size, radius / _SCALE, rng), "same")
    glare *= _between(rng, 0.05, 5) / max(float(glare.max()), 1e-6)
    colour = np.array(_LIGHTS[rng.integers(len(_LIGHTS))], np.float32)
    lit = (_between(rng, 1, 20) * core + glare)[..., None] * (colour / 255) ** 2.2
    dark = _between(rng, 0.02, 0.5) if rng.random() < 0.7 else 1.0
    light = dark * (np.asarray(scene, np.float32) / 255) ** 2.2 + np.maximum(lit, 0)
    return Image.fromarray(np.uint8(255 * np.minimum(light, 1) ** (1 / 2.2) + 0.5))


def _glare(
    size: tuple[int, int], radius: float, rng: np.random.Generator
) -> np.ndarray:
    """What becomes of a point of light, [2 H - 1, 2 W - 1]."""
    width, height = size
    x, y = np.arange(1 - width, width), np.arange(1 - height, height)[:, None]
    away = np.hypot(x, y).astype(np.float32) / (radius * rng.uniform(0.2, 1.5))
    light = 1 / (1 + away ** rng.uniform(1.5, 5))
    if rng.random() < 0.3:
        angle = np.arctan2(y, x) * rng.integers(1, 5) + rng.uniform(0, np.pi)
        light *= 1 + rng.uniform(1, 20) * np.cos(angle) ** (2 * rng.integers(4, 30))
    return light


def _openings(layer: Image.Image, scene: Image.Image, rng: np.random.Generator) -> None:
    """Doors, windows, pillars, gaps of sky: large, without detail, white or nearly."""
    draw = ImageDraw.Draw(layer)
    width, height = _between(rng, 8, 120) * _SCALE, _between(rng, 30, 600) * _SCALE
    if rng.random() < 0.3:
        width, height = height, width
    least = rng.choice([255, 255, 220])
    colour = tuple(int(rng.integers(least, 256)) for _ in range(3))
    gap = width * rng.uniform(1.2, 4)
    left, top = rng.uniform(-0.2, 0.9, 2) * layer.size
    for i in range(rng.integers(1, 5)):
        x, y = left + i * gap, top + rng.normal(0, 0.05) * height
        draw.rectangle((x, y, x + width, y + height), colour)


def _mirror(layer: Image.Image, scene: Image.Image, rng: np.random.Generator) -> None:
    """A spoon, a hub cap, a glass: the scene small, upright and in contrast."""
    radius = _between(rng, 8, 50) * _SCALE
    aspect = rng.uniform(0.5, 1.0)
    at = rng.uniform(0.1, 0.9, 2) * layer.size
    left, top, right, bottom = (round(x) for x in _ellipse(at, aspect, radius))
    size = (right - left, bottom - top)
    small = scene.resize(size, Image.Resampling.BILINEAR)
    tint = Image.new("RGB", size, _colour(scene, rng))
    small = Image.blend(small, tint, rng.uniform(0.0, 0.5))
    gain = rng.uniform(1.0, 2.5)
    small = small.point(lambda v: round(min(max((v - 128) * gain + 128, 0), 255)))
    inside = Image.new("L", size)
    ImageDraw.Draw(inside).ellipse((0, 0, size[0] - 1, size[1] - 1), 255)
    glint = Image.new("L", size)
    spot = rng.uniform(0.2, 0.8, 2) * size
    ImageDraw.Draw(glint).ellipse(_ellipse(spot, 1.0, radius * 0.15), 255)
    small.paste((255, 255, 255), mask=ImageChops.multiply(inside, glint))
    layer.paste(small, (left, top), inside)
    rim, width = _colour(scene, rng), int(rng.integers(1, 8))
    draw = ImageDraw.Draw(layer)
    draw.ellipse((left, top, right, bottom), outline=rim, width=width)


def _ellipse(
    at: np.ndarray, aspect: float, radius: float
) -> tuple[float, float, float, float]:
    """The box of an ellipse about a point (x, y), `aspect` times as wide as high."""
    x, y = at
    return (x - aspect * radius, y - radius, x + aspect * radius, y + radius)


def _colour(scene: Image.Image, rng: np.random.Generator) -> _Colour:
    """Of the scene, black or white, or any."""
    kind = rng.random()
    if kind < 0.35:
        x, y = int(rng.integers(scene.width)), int(rng.integers(scene.height))
        values = np.asarray(scene.crop((x, y, x + 1, y + 1)))[0, 0]
    elif kind < 0.7:
        values = np.repeat(rng.choice([rng.integers(40), 255 - rng.integers(40)]), 3)
    else:
        values = rng.integers(0, 256, 3)
    red, green, blue = (int(value) for value in values)
    return red, green, blue


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """A number in between, even on a logarithmic scale."""
    return float(low * (high / low) ** rng.random())


@functools.lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
