"""Pictures in and out: decode, encode, pad. Arrays are [H, W, 3] RGB throughout.

`decode` and `encode` carry everything a picture file holds (bit depth, alpha, gray,
ICC profile, EXIF, XMP, ...) and say what the next file has no room for; `read_image`
and `write_image` are the plain 8-bit RGB road.
"""

import dataclasses
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from raindrop.errors import UserError, first_line
from raindrop.media import (
    atomic,
    folders,
    formats,
    metadata,
    picture_reading,
    png,
    tiff,
)
from raindrop.media.pixel_values import from_float, gray_of, to_float, to_uint8

_LOG = logging.getLogger(__name__)

EXTENSIONS = tuple(formats.FORMATS)

# Larger pictures are refused: a small file can claim a size that no memory holds.
# Pillow's own guard against such files does the refusing; see `limit_megapixels`.
MAX_MEGAPIXELS = 178.9


@dataclasses.dataclass
class Picture:
    """A decoded picture and what has to go with it into the next file.

    Attributes:
      pixels: RGB [H, W, 3], uint8, uint16, or float32 in [0, 1]; upright.
      alpha: [H, W] of the same type, or None.
      gray: whether the file has one channel; the three of `pixels` are then equal.
      icc_profile: as in the file, or None.
      exif: of the file, without the orientation, which `pixels` have taken.
      dpi: horizontal and vertical, or None.
      xmp: as in the file, or None.
      iptc: the IPTC record, or None.
      comment: of a JPEG or GIF, or None.
      text: of a PNG, by key.
      colour: the PNG chunks that say what the values mean, whole, by type.
      notes: what was lost or changed as the file was read, or written again.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    gray: bool = False
    icc_profile: bytes | None = None
    exif: Image.Exif = dataclasses.field(default_factory=Image.Exif)
    dpi: tuple[float, float] | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    comment: bytes | None = None
    text: dict[str, str] = dataclasses.field(default_factory=dict)
    colour: dict[bytes, bytes] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)


def limit_megapixels(megapixels: float) -> None:
    """Sets the size above which pictures are refused, for the whole process.

    `MAX_MEGAPIXELS` until then. The limit is Pillow's `Image.MAX_IMAGE_PIXELS` guard.
    """
    Image.MAX_IMAGE_PIXELS = int(megapixels * 1e6 / 2)


def find_images(folder: str | os.PathLike) -> list[Path]:
    """All pictures below `folder`, sorted: by their endings, or their content.

    Links are followed; those that lead nowhere or back are named in a warning.

    Raises:
      UserError: no such folder, or no picture in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give one with photographs in it")
    paths = []
    for path, problem in folders.below(folder):
        if path.name.startswith("."):
            continue
        if problem:
            _LOG.warning("%s: %s; left out", path, problem)
        elif _is_picture(path):
            paths.append(path)
    paths.sort()
    if not paths:
        raise UserError(
            f"{folder} holds no pictures ({', '.join(EXTENSIONS)}); "
            "give a folder with photographs in it"
        )
    return paths


def _is_picture(path: Path) -> bool:
    if path.suffix:
        return formats.of_name(path) is not None
    try:
        return formats.of_content(path) is not None
    except OSError:
        return False


def decode(path: str | os.PathLike) -> Picture:
    """Decodes a picture file, turned as its EXIF data says.

    What it is is found by its content, whatever the name.

    Raises:
      UserError: no such file, no picture, a damaged one, one that is too large, or one
        whose colours cannot be told.
    """
    with picture_reading.telling(path):
        array, fields, notes = picture_reading.read(path)
        alpha = None
        if array.shape[-1] in (2, 4):
            alpha = np.ascontiguousarray(array[..., -1])
            array = array[..., :-1]
        gray = array.shape[-1] == 1
        pixels = np.repeat(array, 3, axis=-1) if gray else array
        pixels = np.ascontiguousarray(pixels)
    for note in notes:
        _LOG.warning("%s: %s", path, note)
    return Picture(pixels, alpha, gray, **fields, notes=notes)


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Decodes a picture to uint8 RGB [H, W, 3], turned as its EXIF data says.

    Raises:
      UserError: as `decode`.
    """
    return to_uint8(decode(path).pixels)


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """(height, width) after EXIF rotation.

    Without decoding the pixels.

    Raises:
      UserError: no such file, no picture, or one that is too large.
    """
    with picture_reading.telling(path):
        return picture_reading.size(path)


def write_image(path: str | os.PathLike, image: np.ndarray) -> None:
    """Encodes `image` ([H, W, 3] or [H, W], see `to_uint8`) by `path`'s extension.

    Written aside and renamed: `path` is whole at every moment.

    Raises:
      UserError: an extension that cannot be written, or a folder that cannot.
    """
    image = to_uint8(image)
    gray = image.ndim == 2
    pixels = np.repeat(image[..., None], 3, axis=-1) if gray else image
    encode(path, Picture(pixels, gray=gray))


def encode(path: str | os.PathLike, picture: Picture) -> None:
    """Encodes `picture` by `path`'s extension; aside first, then renamed.

    What the format has no room for is logged and added to the picture's `notes`.

    Raises:
      UserError: an extension that cannot be written, or a folder that cannot.
      atomic.InUseError: another process writes `path` now.
    """
    path = Path(path)
    file_format = formats.of_name(path)
    if file_format is None or not formats.is_writable(file_format):
        raise UserError(
            f"{path} cannot be written: a picture's name ends in "
            f"{', '.join(formats.writable_endings())}"
        )
    try:
        with atomic.replacing(path) as part, open(part, "wb") as file:
            notes = _encode(file, file_format, picture)
    except atomic.InUseError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be written: {first_line(error)}") from None
    for note in notes:
        _LOG.warning("%s: %s", path, note)
    picture.notes.extend(notes)


def pad_to_multiple(image: np.ndarray, multiple: int = 4) -> np.ndarray:
    """Pads bottom and right by reflection, [..., H, W, C], to a multiple of `multiple`.

    A side of one pixel has nothing to reflect and is repeated. Sides that fit are left
    as they are. Crop back with `padded[..., :H, :W, :]`.
    """
    for axis in (-3, -2):
        size = image.shape[axis]
        pads = [(0, 0)] * image.ndim
        pads[axis] = (0, -size % multiple)
        # 'edge' would do for all, but repeats one pixel where there are more to show.
        mode = "reflect" if size > 1 else "edge"
        image = np.pad(image, pads, mode=mode) if size % multiple else image
    return image


def side_by_side(images: Iterable[np.ndarray], gap: int = 4) -> np.ndarray:
    """Pictures of one height in a row, [H, W, 3], uint8, on white."""
    columns = []
    for image in images:
        image = to_uint8(image)
        if image.shape[-1] == 1:
            image = np.repeat(image, 3, axis=-1)
        columns += [image, np.full((image.shape[0], gap, 3), 255, np.uint8)]
    return np.concatenate(columns[:-1], axis=1)


def overlay(image: np.ndarray, attention: np.ndarray) -> np.ndarray:
    """An attention map [H, W, 1] in red over its picture [H, W, 3]; uint8."""
    share = 0.7 * np.clip(attention, 0, 1)
    red = np.array([255, 0, 0], np.float32)
    mixed = (1 - share) * to_uint8(image) + share * red
    return np.round(mixed).astype(np.uint8)


def _encode(file: BinaryIO, file_format: str, picture: Picture) -> list[str]:
    fields = {
        field.name: getattr(picture, field.name)
        for field in dataclasses.fields(picture)
    }
    fields, notes = metadata.fitting(fields, file_format)
    array = _channels(picture)
    if file_format == "TIFF":
        array, more = _as_srgb(array, picture)
        tiff.write(file, array, fields)
        return notes + more
    if file_format == "PNG":
        if array.dtype == np.float32:
            array = from_float(array, np.uint16)
            notes.append("floats are lost: PNG has integers of 16 bits")
        info, options = metadata.png_options(fields)
        png.write(file, array, info, picture.colour, **options)
        return notes
    array, more = _as_srgb(array, picture)
    notes += more
    if array.dtype != np.uint8:
        notes.append(f"{array.dtype} is lost: {file_format} is written with 8 bits")
    if array.ndim == 3 and array.shape[-1] in (2, 4) and file_format in _OPAQUE:
        array = array[..., :-1].squeeze(-1) if picture.gray else array[..., :-1]
        notes.append(f"alpha is lost: {file_format} has no room for it")
    image = Image.fromarray(np.ascontiguousarray(to_uint8(array)))
    options = metadata.pillow_options(fields, file_format)
    formats.enable_plugins(file_format)
    image.save(file, format=file_format, **options, **_QUALITY.get(file_format, {}))
    return notes


_OPAQUE = ("JPEG", "BMP")
_QUALITY: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "WEBP": {"quality": 95, "exact": True},  # what is transparent keeps its colour
    "AVIF": {"quality": 90, "subsampling": "4:4:4"},
    "HEIF": {"quality": 90, "chroma": 444},
}


def _as_srgb(array: np.ndarray, picture: Picture) -> tuple[np.ndarray, list[str]]:
    """The values as formats take them that know no gamma; alpha as it is."""
    gamma = 1.0 if picture.icc_profile else png.gamma(picture.colour)
    notes = []
    if b"cICP" in picture.colour or (b"cHRM" in picture.colour and gamma != 1):
        notes.append("the colour space that the PNG names is lost")
    if gamma == 1:
        return array, notes
    colour = array if array.ndim == 2 else array[..., : 3 if array.shape[-1] > 2 else 1]
    changed = from_float(to_float(colour) ** gamma, array.dtype)
    if changed.shape != array.shape:
        changed = np.concatenate([changed, array[..., -1:]], axis=-1)
    return changed, [*notes, "the PNG's gamma is worked into the values"]


def _channels(picture: Picture) -> np.ndarray:
    """Gray or RGB, with alpha if there is any: [H, W], or [H, W, 2 to 4]."""
    if picture.gray and picture.alpha is None:
        return gray_of(picture.pixels)
    colour = picture.pixels
    if picture.gray:
        colour = gray_of(colour)[..., None]
    return colour if picture.alpha is None else np.dstack([colour, picture.alpha])
