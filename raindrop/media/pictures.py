"""Pictures in and out: decode, encode, pad. Arrays are [H, W, 3] RGB throughout.

`decode` and `encode` carry everything a picture file holds (bit depth, alpha, gray,
ICC profile, EXIF); `read_image` and `write_image` are the plain 8-bit RGB road.
Pillow does the work where it can; see `pillow_gaps` for the rest.
"""

import contextlib
import dataclasses
import logging
import os
import struct
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from raindrop.errors import UserError, first_line
from raindrop.media import atomic, pillow_gaps

_LOG = logging.getLogger(__name__)

# Extension -> Pillow's name of the format.
_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
EXTENSIONS = tuple(_FORMATS)

# Larger pictures are refused: a small file can claim a size that no memory holds.
# Pillow's own guard against such files does the refusing; see `limit_megapixels`.
MAX_MEGAPIXELS = 178.9
# Pillow warns from half of the limit on; up to the limit a picture is simply large.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

_ORIENTATION = 0x0112
_PHOTOMETRIC = TiffImagePlugin.PHOTOMETRIC_INTERPRETATION
_EXTRA_SAMPLES = TiffImagePlugin.EXTRASAMPLES
_INTEROPERABILITY = 0xA005  # a place within the old file
# EXIF tags of the first directory that describe the photograph; the others there
# describe how this one file stores it (strips, compression, ...).
_DESCRIPTION = {0x10E, 0x10F, 0x110, 0x131, 0x132, 0x13B, 0x8298, 0x4746, 0x4749}
_DESCRIPTION |= pillow_gaps.WINDOWS_TAGS
# What Pillow and its plugins were seen to raise, or can, on damaged files.
_DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    EOFError,
    ArithmeticError,
    struct.error,
)


@dataclasses.dataclass
class Picture:
    """A decoded picture and what has to go with it into the next file.

    Attributes:
      pixels: RGB [H, W, 3], uint8 or uint16, upright.
      alpha: [H, W] of the same type, or None.
      gray: whether the file has one channel; the three of `pixels` are then equal.
      icc_profile: as in the file, or None.
      exif: of the file, without the orientation, which `pixels` have taken.
      dpi: horizontal and vertical, or None.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    gray: bool = False
    icc_profile: bytes | None = None
    exif: Image.Exif = dataclasses.field(default_factory=Image.Exif)
    dpi: tuple[float, float] | None = None


def limit_megapixels(megapixels: float) -> None:
    """Sets the size above which pictures are refused, for the whole process.

    `MAX_MEGAPIXELS` until then. The limit is Pillow's `Image.MAX_IMAGE_PIXELS` guard.
    """
    Image.MAX_IMAGE_PIXELS = int(megapixels * 1e6 / 2)


def find_images(folder: str | os.PathLike) -> list[Path]:
    """All pictures below `folder`, sorted.

    Raises:
      UserError: no such folder, or no picture in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give one with photographs in it")
    paths = sorted(
        p
        for p in folder.rglob("*")
        if p.suffix.lower() in EXTENSIONS and not p.name.startswith(".")
    )
    if not paths:
        raise UserError(
            f"{folder} holds no pictures ({', '.join(EXTENSIONS)}); "
            "give a folder with photographs in it"
        )
    return paths


def decode(path: str | os.PathLike) -> Picture:
    """Decodes a picture file, turned as its EXIF data says.

    Raises:
      UserError: no such file, no picture, a damaged one, or one that is too large.
    """
    try:
        with _open(path) as image:
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
                _LOG.warning("%s: only the first of its frames is taken", path)
            # First, as to ask a PNG for its EXIF can load it, and forgets its depth.
            deep = _is_deep_colour(image)
            orientation = _orientation(image)
            if deep:
                image.load()  # OpenCV takes half a file for a whole one.
                picture = _from_deep(pillow_gaps.read(path), image)
            else:
                picture = _from_pillow(image)
            if orientation > 1:
                picture.pixels = _turn(picture.pixels, orientation)
                if picture.alpha is not None:
                    picture.alpha = _turn(picture.alpha, orientation)
            return picture
    except _DECODING_ERRORS as error:
        raise UserError(f"{path} cannot be decoded: {first_line(error)}") from None


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Decodes a picture to uint8 RGB [H, W, 3], turned as its EXIF data says.

    Raises:
      UserError: as `decode`.
    """
    return to_uint8(decode(path).pixels)


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """(height, width) after EXIF rotation.

    From the header alone, but for PNG, whose EXIF data may come last.

    Raises:
      UserError: no such file, no picture, or one that is too large.
    """
    try:
        with _open(path) as image:
            width, height = image.size
            turned = _orientation(image) >= 5
            return (width, height) if turned else (height, width)
    except _DECODING_ERRORS as error:
        raise UserError(f"{path} cannot be decoded: {first_line(error)}") from None


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Float [0, 1] or uint16 to uint8, clipped and rounded; uint8 stays as it is."""
    if image.dtype == np.uint8:
        return image
    if image.dtype == np.uint16:
        return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return from_float(image, np.uint8)


def to_float(image: np.ndarray) -> np.ndarray:
    """uint8, uint16 or float to float32 in [0, 1]."""
    if image.dtype in (np.uint8, np.uint16):
        return image.astype(np.float32) / np.iinfo(image.dtype).max
    return image.astype(np.float32)


def from_float(image: np.ndarray, dtype: np.dtype | type) -> np.ndarray:
    """Float in [0, 1], clipped, to uint8 or uint16 (rounded) or a float type."""
    image = np.clip(image, 0, 1)
    if np.dtype(dtype) in (np.uint8, np.uint16):
        image = np.round(image * np.iinfo(dtype).max)
    return image.astype(dtype)


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

    What the format has no room for is dropped: 16 bits and alpha by JPEG and BMP, 16
    bits by WebP.

    Raises:
      UserError: an extension that cannot be written, or a folder that cannot.
    """
    path = Path(path)
    file_format = _FORMATS.get(path.suffix.lower())
    if file_format is None:
        raise UserError(
            f"{path} cannot be written: a picture's name ends in "
            f"{', '.join(EXTENSIONS)}"
        )
    try:
        with atomic.aside(path) as part, open(part, "wb") as file:
            _encode(file, file_format, picture)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be written: {first_line(error)}") from None


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


@contextlib.contextmanager
def _open(path: str | os.PathLike) -> Iterator[Image.Image]:
    try:
        # Given a name, Pillow maps some TIFF into memory, turned ones wrongly.
        with open(path, "rb") as file, Image.open(file) as image:
            yield image
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except UnidentifiedImageError:
        raise UserError(f"{path} is no picture that can be read") from None
    except Image.DecompressionBombError:
        limit = (Image.MAX_IMAGE_PIXELS or 0) * 2 / 1e6
        raise UserError(
            f"{path} claims more than {limit:.1f} megapixels; if that is right, raise "
            "the limit (--max_megapixels)"
        ) from None


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8, that is still to be taken."""
    # Pillow and OpenCV both turn TIFF as they read it, and nothing else.
    if image.format == "TIFF":
        return 1
    orientation = image.getexif().get(_ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1


def _is_deep_colour(image: Image.Image) -> bool:
    """Whether the file has 16 bits and more than one channel (or gray and alpha)."""
    if image.format == "PNG":
        return image.mode in ("RGB", "RGBA", "LA") and ";16" in str(image.tile)
    if image.format == "TIFF":
        bits = image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,))
        return max(bits) == 16 and image.mode in ("RGB", "RGBA", "RGBX")
    return False


def _from_deep(array: np.ndarray, image: Image.Image) -> Picture:
    """OpenCV's gray, BGR or BGRA, uint16, with the metadata that Pillow found."""
    gray = image.mode == "LA"
    alpha = array[..., 3] if array.ndim == 3 and array.shape[-1] == 4 else None
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=-1)
    pixels = np.ascontiguousarray(array[..., 2::-1])
    if image.format == "TIFF" and 1 in image.tag_v2.get(_EXTRA_SAMPLES, ()):
        # Associated alpha: the colours are multiplied by it.
        share = np.maximum(alpha, 1)[..., None] / 65535
        pixels = np.round(np.minimum(pixels / share, 65535)).astype(np.uint16)
    return Picture(pixels, alpha, gray, **_metadata(image))


def _from_pillow(image: Image.Image) -> Picture:
    metadata = _metadata(image)
    mode = image.mode
    if mode.startswith("I;16"):
        gray = np.asarray(image).astype(np.uint16)
        if image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == 0:
            gray = 65535 - gray  # Zero is white, which Pillow heeds for 8 bits alone.
        return Picture(np.repeat(gray[..., None], 3, axis=-1), None, True, **metadata)
    if mode in ("I", "F"):
        raise ValueError("32 bits a channel; convert it to 16 first")
    if mode in ("CMYK", "LAB", "YCbCr", "HSV"):
        # The profile describes that space, and RGB is what comes out.
        metadata["icc_profile"] = None
    transparent = image.has_transparency_data
    gray = mode in ("1", "L", "LA")
    array = np.asarray(image.convert("RGBA" if transparent else "RGB"))
    alpha = np.ascontiguousarray(array[..., 3]) if transparent else None
    return Picture(np.ascontiguousarray(array[..., :3]), alpha, gray, **metadata)


def _metadata(image: Image.Image) -> dict[str, Any]:
    exif, source = Image.Exif(), image.getexif()
    for tag in _DESCRIPTION & set(source):
        exif[tag] = _as_stored(source[tag])
    for tag in pillow_gaps.DIRECTORIES:
        if entries := source.get_ifd(tag):
            entries = {k: v for k, v in entries.items() if k != _INTEROPERABILITY}
            exif.get_ifd(tag).update({k: _as_stored(v) for k, v in entries.items()})
    try:
        exif.tobytes()
    except _DECODING_ERRORS:
        _LOG.warning("a picture's EXIF data are damaged and are not kept")
        exif = Image.Exif()
    dpi = image.info.get("dpi")
    return {
        "icc_profile": image.info.get("icc_profile"),
        "exif": exif,
        # Headers may claim anything.
        "dpi": dpi if dpi and all(0 < d < 1e5 for d in dpi) else None,
    }


def _as_stored(value: Any) -> Any:
    """Text beyond ASCII as the file's own bytes, which Pillow would write as '?'."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("latin-1")
    return value


def _turn(array: np.ndarray, orientation: int) -> np.ndarray:
    """The array upright, for EXIF orientations 2 to 8."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)


def _encode(file: BinaryIO, file_format: str, picture: Picture) -> None:
    deep = picture.pixels.dtype == np.uint16
    icc_profile, dpi = picture.icc_profile, picture.dpi
    if file_format == "TIFF":
        write = pillow_gaps.write_tiff
        return write(file, _channels(picture), icc_profile, picture.exif, dpi)
    if deep and file_format == "PNG":
        write = pillow_gaps.write_png
        return write(file, _channels(picture), icc_profile, picture.exif, dpi)
    options: dict[str, Any] = {"icc_profile": icc_profile}
    if pillow_gaps.has_entries(picture.exif):
        options["exif"] = picture.exif.tobytes()
    if dpi is not None:
        options["dpi"] = dpi
    if file_format in ("JPEG", "WEBP"):
        options["quality"] = 95
    if file_format == "JPEG":
        options["subsampling"] = "4:4:4"
    if file_format == "WEBP":
        options["exact"] = True  # what is transparent keeps its colour
    pixels = to_uint8(picture.pixels)
    image = Image.fromarray(gray_of(pixels) if picture.gray else pixels)
    if picture.alpha is not None and file_format not in ("JPEG", "BMP"):
        image.putalpha(Image.fromarray(to_uint8(picture.alpha)))
    image.save(file, format=file_format, **options)
    return None


def gray_of(pixels: np.ndarray) -> np.ndarray:
    """RGB [H, W, 3], uint8 or uint16, to luma (BT.601) [H, W] of the same type."""
    luma = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.round(luma).astype(pixels.dtype)


def _channels(picture: Picture) -> np.ndarray:
    """Gray or RGB, with alpha if there is any: [H, W], or [H, W, 2 to 4]."""
    if picture.gray and picture.alpha is None:
        return gray_of(picture.pixels)
    colour = picture.pixels
    if picture.gray:
        colour = gray_of(colour)[..., None]
    return colour if picture.alpha is None else np.dstack([colour, picture.alpha])
