"""Crops of pictures, and photographs made harder before drops are rendered on them.

NumPy, SciPy and Pillow alone, for `data.reader=numpy`, which runs where little else is.
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageFilter
from scipy.ndimage import uniform_filter
from scipy.signal import fftconvolve

from raindrop.data import clutter


class Draws(NamedTuple):
    """What decides an example: numbers in [0, 1).

    Attributes:
      row: of the crop.
      column: of the crop.
      flip: whether left and right change places.
      scale: by how much the picture grows.
      cluttered: whether things that look like drops are added.
      clutter: which.
      blurred: whether the scene is out of focus.
      blur: by how much; below a half by a Gaussian, from there on in discs.
      hazy: whether it is in haze, or glows.
      transmission: of the haze; from a half on the scene glows instead.
      airlight: of the haze.
      direction: of the contour of a subject in focus before a blurred scene.
      subject: below a third there is none; from there on the more, the less is left of
        it, and from two thirds on it goes over into the blurred scene.
    """

    row: float
    column: float
    flip: float
    scale: float
    cluttered: float
    clutter: float
    blurred: float
    blur: float
    hazy: float
    transmission: float
    airlight: float
    direction: float
    subject: float


NUM_DRAWS = len(Draws._fields)


def augment(
    images: np.ndarray, draws: Iterable[float], data: Any, scene: bool
) -> np.ndarray:
    """A random crop as a config's `data` group describes it.

    Args:
      images: uint8 [H, W, C], three channels for each picture.
      draws: the `NUM_DRAWS` numbers of `Draws`, in its order.
      data: with `crop_size`, `scale` and `flip`, and of photographs `cluttered`,
        `blurred`, `blur`, `hazy` and `haze`.
      scene: a photograph, yet without drops, and not a finished pair.

    Returns:
      uint8 [crop, crop, C].

    Raises:
      ValueError: a picture smaller than the crop.
    """
    draws = Draws(*draws)
    crop = cut(images, draws, data.crop_size, data.scale, data.flip)
    if scene and draws.cluttered < data.cluttered:
        crop = clutter.add(crop, draws.clutter)
    if scene and draws.blurred < data.blurred:
        discs, much = divmod(2 * draws.blur, 1)
        behind = (unfocus if discs else blur)(crop, much, data.blur)
        # Two of three keep something sharp: pale patches beside fur or leaves are not
        # drops, either.
        which, place = divmod(3 * draws.subject, 1)
        if which == 1:
            crop = stand_before(crop, behind, draws.direction, place)
        elif which == 2:
            crop = recede(crop, behind, draws.direction, place)
        else:
            crop = behind
    if scene and draws.hazy < data.hazy:
        glows, much = divmod(2 * draws.transmission, 1)
        if glows:
            crop = glow(crop, much, draws.airlight)
        else:
            crop = haze(crop, much, draws.airlight, data.haze)
    return crop


def cut(
    images: np.ndarray,
    draws: Draws,
    size: int,
    scale: tuple[float, float],
    flip: bool,
) -> np.ndarray:
    """A random square of `images`, the same for all channels.

    Args:
      images: uint8 [H, W, C].
      draws: of which `row`, `column`, `flip` and `scale` decide.
      size: side of the result.
      scale: range of the factor by which the picture grows (both ways alike). A square
        that would then not fit is taken as large as the picture.
      flip: left and right, every other time.

    Returns:
      uint8 [size, size, C].

    Raises:
      ValueError: a picture smaller than `size`.
    """
    height, width = images.shape[:2]
    if min(height, width) < size:
        raise ValueError(f"{width} x {height} is smaller than a crop of {size}")
    low, high = scale
    window = round(size / (low + (high - low) * draws.scale))
    window = min(window, height, width)
    top = math.floor(draws.row * (height - window + 1))
    left = math.floor(draws.column * (width - window + 1))
    crop = images[top : top + window, left : left + window]
    if window != size:
        crop = _each(crop, lambda x: x.resize((size, size), Image.Resampling.BICUBIC))
    if flip and draws.flip < 0.5:
        crop = crop[:, ::-1]
    return np.ascontiguousarray(crop)


def blur(image: np.ndarray, u: float, sigma: tuple[float, float]) -> np.ndarray:
    """A soft scene, as motion or a poor lens makes it.

    Args:
      image: uint8 [H, W, C].
      u: a number in [0, 1) that decides how much.
      sigma: range of the standard deviation, in pixels; even on a logarithmic scale.
    """
    gaussian = ImageFilter.GaussianBlur(_between(sigma, u))
    return _each(image, lambda x: x.filter(gaussian))


def unfocus(image: np.ndarray, u: float, sigma: tuple[float, float]) -> np.ndarray:
    """A scene out of focus: each light is the disc of the aperture.

    `rendering.camera.unfocus` does this in JAX to all of a scene behind wet glass; this
    one is for a part of a scene, before anything is rendered.

    Args:
      image: uint8 [H, W, C].
      u: a number in [0, 1) that decides how much.
      sigma: range of the standard deviation (half of the disc's radius), in pixels;
        even on a logarithmic scale.
    """
    radius = 2 * _between(sigma, u)
    reach = math.ceil(radius)
    at = np.arange(-reach, reach + 1, dtype=np.float32)
    disc = np.clip(radius + 0.5 - np.hypot(at[:, None], at), 0, 1)[..., None]
    padded = np.pad(_light(image), ((reach, reach), (reach, reach), (0, 0)), "reflect")
    return _picture(fftconvolve(padded, disc / disc.sum(), "valid", axes=(0, 1)))


def stand_before(
    subject: np.ndarray, behind: np.ndarray, u: float, v: float
) -> np.ndarray:
    """A subject in focus that hides one side of what is behind, as in a portrait.

    It ends along a line that is bent by its own light and dark, so that its contour is
    that of a thing.

    Args:
      subject: uint8 [H, H, C].
      behind: uint8 [H, H, C]; seen mirrored, so that the two do not fit together.
      u: a number in [0, 1) that decides the line's direction.
      v: one that decides its place: with more of it, less of the subject is left.

    Returns:
      uint8 [H, H, C].
    """
    size = len(subject)
    position = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    angle = 2 * math.pi * u
    line = math.cos(angle) * position[:, None] + math.sin(angle) * position + v - 0.5
    light = blur(subject, 0.0, (2.0, 2.0)).mean(-1, dtype=np.float32) / 255
    line += 0.7 * (light - light.mean())
    # Within two pixels.
    seen = np.clip(line * size / 2 + 0.5, 0, 1)[..., None]
    mixed = subject + seen * (np.float32(behind[:, ::-1]) - subject)
    return np.rint(mixed).astype(np.uint8)


def recede(sharp: np.ndarray, soft: np.ndarray, u: float, v: float) -> np.ndarray:
    """A thing that goes out of focus towards one side, as an animal's body does.

    Args:
      sharp: uint8 [H, H, C].
      soft: uint8 [H, H, C], the same out of focus.
      u: a number in [0, 1) that decides towards which side.
      v: one that decides where; with more of it, less is sharp.

    Returns:
      uint8 [H, H, C].
    """
    position = (np.arange(len(sharp), dtype=np.float32) + 0.5) / len(sharp) - 0.5
    angle = 2 * math.pi * u
    line = math.cos(angle) * position[:, None] + math.sin(angle) * position
    share = np.clip(2.5 * (line + v - 0.5) + 0.5, 0, 1)[..., None]
    return np.rint(sharp + share * (np.float32(soft) - sharp)).astype(np.uint8)


def haze(
    image: np.ndarray, u: float, v: float, transmission: tuple[float, float]
) -> np.ndarray:
    """A scene in even haze: transmission times the picture, and airlight for the rest.

    Args:
      image: uint8 [H, W, C].
      u: a number in [0, 1) that decides the transmission.
      v: one that decides the airlight, a grey from 0.5 to 1.
      transmission: its range.
    """
    low, high = transmission
    through = low + (high - low) * u
    hazy = through * image + (1 - through) * 255 * (0.5 + 0.5 * v)
    return np.rint(hazy).astype(np.uint8)


def glow(image: np.ndarray, u: float, v: float) -> np.ndarray:
    """A scene through a soft-focus filter or mist: what is bright shines around.

    Args:
      image: uint8 [H, W, C].
      u: a number in [0, 1) that decides how far.
      v: one that decides how much.
    """
    light = _light(image)
    around = light
    width = round(2 * _between((4.0, 40.0), u))
    for _ in range(3):  # nearly a Gaussian whose standard deviation is half the width
        around = uniform_filter(around, (width, width, 1))
    share = 0.1 + 0.4 * v
    return _picture((1 - share) * np.minimum(light, 1) + share * around)


def _between(ends: tuple[float, float], u: float) -> float:
    """Even on a logarithmic scale for u in [0, 1)."""
    low, high = ends
    return float(low * (high / low) ** u)


def _light(image: np.ndarray) -> np.ndarray:
    """Linear light; what is nearly white is up to five times as bright."""
    linear = (np.asarray(image, np.float32) / 255) ** 2.2
    return linear * (1 + 4 * linear**8)


def _picture(light: np.ndarray) -> np.ndarray:
    """The uint8 picture of linear light."""
    return np.rint(255 * np.clip(light, 0, 1) ** (1 / 2.2)).astype(np.uint8)


def _each(images: np.ndarray, change: Any) -> np.ndarray:
    """`change` of every picture in `images`, three channels each."""
    pictures = np.split(images, images.shape[-1] // 3, axis=-1)
    changed = [np.asarray(change(Image.fromarray(x))) for x in pictures]
    return np.concatenate(changed, axis=-1)
