"""What is in a picture file: its pixels, upright, its metadata, or its size alone.

Pillow reads headers and metadata; libjpeg-turbo, libpng and tifffile the pixels of
JPEG, PNG and TIFF, as they tell what is damaged and cut nothing to 8 bits.
"""

import contextlib
import io
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from raindrop.errors import UserError, first_line
from raindrop.media import formats, jpeg, metadata, png, raw, tiff
from raindrop.media.pixel_values import to_uint8

# Pillow warns from half of the limit on; up to the limit a picture is simply large.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Of what else it warns, the picture is whole, or an error follows.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

_ORIENTATION = 0x0112
# What the libraries were seen to raise, or can, on damaged files.
_DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    EOFError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    ImageCms.PyCMSError,
)


def read(path: str | os.PathLike) -> tuple[np.ndarray, dict[str, Any], list[str]]:
    """Reads a picture file, inside `telling`.

    Returns:
      Pixels [H, W, 1 to 4], gray or RGB, the last of 2 or 4 being alpha, upright; its
      metadata, as the fields of `pictures.Picture`; what is to be said of it.
    """
    array, orientation, fields, notes = _read(path)
    array = _turn(array, orientation)
    if fields.pop("cmyk", False):
        array, more = _from_cmyk(array, fields["icc_profile"])
        # The profile describes those inks, and sRGB is what comes out.
        fields["icc_profile"] = None
        notes += more
    fields, more = metadata.cleaned(fields, array.shape[:2])
    return array, fields, notes + more


def size(path: str | os.PathLike) -> tuple[int, int]:
    """(height, width) of a picture file, upright, inside `telling`; of its header."""
    kind = formats.of_content(path)
    if kind == formats.RAW:
        return raw.size(path)
    with open(path, "rb") as file:
        if kind == "TIFF":
            with tiff.first_page(file) as (page, _):
                height, width = tiff.size(page)
                turned = tiff.orientation(page) >= 5
                _check_size(height, width)
        else:
            with _open(file, kind) as image:
                width, height = image.size
                if kind != "PNG":
                    turned = _orientation(image) >= 5
        if kind == "PNG":  # EXIF may come last, and Pillow decodes all before it
            file.seek(0)
            small = io.BytesIO(png.without_pixels(file.read()))
            with _open(small, kind) as image:
                turned = _orientation(image) >= 5
    return (width, height) if turned else (height, width)


@contextlib.contextmanager
def telling(path: str | os.PathLike) -> Iterator[None]:
    """What a library says of a file becomes one line that names it."""
    try:
        yield
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
    except _DECODING_ERRORS as error:
        raise UserError(f"{path} cannot be decoded: {first_line(error)}") from None


def _check_size(height: int, width: int) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and height * width > 2 * limit:
        raise Image.DecompressionBombError
    if height * width == 0:
        raise ValueError("it has no pixels")


@contextlib.contextmanager
def _open(file: BinaryIO, kind: str | None) -> Iterator[Image.Image]:
    """The file as Pillow sees it, if it is of a format that is meant."""
    if kind is None:
        raise UnidentifiedImageError
    if not formats.is_readable(kind):
        raise ValueError(formats.wanted(kind))
    formats.enable_plugins(kind)
    # No other reader of Pillow's is asked, whatever the file claims to be.
    with Image.open(file, formats=[kind]) as image:
        yield image


_Read = tuple[np.ndarray, int, dict[str, Any], list[str]]


def _read(path: str | os.PathLike) -> _Read:
    """Pixels [H, W, C] as stored, EXIF orientation, metadata, what is to be said."""
    kind = formats.of_content(path)
    if kind == formats.RAW:
        return _read_raw(path)
    with open(path, "rb") as file:
        if kind == "TIFF":
            return _read_tiff(file)
        data = file.read()
    # Given a name, Pillow maps some files into memory, turned ones wrongly.
    with _open(io.BytesIO(data), kind) as image:
        notes = []
        if getattr(image, "n_frames", 1) > 1:
            notes.append(f"only the first of its {image.n_frames} pictures is taken")
        if image.format in ("JPEG", "MPO"):
            array, more = jpeg.read(data, image.mode)
        elif image.format == "PNG":
            array, more = png.read(data), []
            with _open(io.BytesIO(png.without_pixels(data)), kind) as small:
                fields = metadata.of_pillow(small, data)
                return array, _orientation(small), fields, notes
        else:
            array, more = _from_pillow(image)
            more += _of_jxl(data) if kind == "JXL" else []
        fields = metadata.of_pillow(image, data)
        if image.mode == "CMYK":
            array = 255 - array  # as Adobe has it, and all others after it
            fields["cmyk"] = True
        return array, _orientation(image), fields, notes + more


def _read_tiff(file: BinaryIO) -> _Read:
    with tiff.first_page(file) as (page, count):
        height, width = tiff.size(page)
        # Channels that nobody looks at take memory too.
        _check_size(height, width * -(-page.samplesperpixel // 5))
        notes = []
        if count > 1:
            notes.append(f"only the first of its {count} pictures is taken")
        fields = tiff.metadata(page, file)
        if tiff.is_for_pillow(page):
            tiff.check_for_pillow(page)
            file.seek(0)
            with _open(file, "TIFF") as image:
                array, more = _from_pillow(image)
            fields["icc_profile"] = None
            orientation = 1  # It turns TIFF as it reads it, and nothing else.
        else:
            array, more = tiff.read(page)
            orientation = tiff.orientation(page)
            fields["cmyk"] = tiff.is_cmyk(page)
        # They are read on access, from a file that is closed then.
        size = array.shape[:2] if orientation < 5 else array.shape[1::-1]
        fields, damage = metadata.cleaned(fields, size)
        notes += more + damage + tiff.lost_from_big(page)
        return array, orientation, fields, notes


def _read_raw(path: str | os.PathLike) -> _Read:
    if not formats.is_readable(formats.RAW):
        raise ValueError(formats.wanted(formats.RAW))
    _check_size(*raw.size(path))
    fields = {"icc_profile": None, "exif": Image.Exif(), "dpi": None}
    with open(path, "rb") as file, contextlib.suppress(*_DECODING_ERRORS):
        fields["exif"].load_from_fp(file)
        fields, _ = metadata.cleaned(fields, raw.size(path))
    notes = ["developed by LibRaw: the camera's white balance, sRGB, 16 bits"]
    return raw.read(path), 1, fields, notes


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8, that is still to be taken."""
    if image.format == "JXL":
        return 1  # taken by its decoder, from the file's own header
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except _DECODING_ERRORS:  # damaged, of which `metadata.cleaned` tells
        return 1
    return orientation if orientation in range(1, 9) else 1


def _from_pillow(image: Image.Image) -> tuple[np.ndarray, list[str]]:
    """[H, W, 1 to 4], uint8."""
    mode, notes = image.mode, []
    if mode == "LAB":
        lab, srgb = (ImageCms.createProfile(name) for name in ("LAB", "sRGB"))
        image = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    elif mode.startswith(("I", "F")):
        raise ValueError("more than 8 bits in this format are not read")
    depth = max(image.info.get("bit_depth") or 8, _avif_depth(image))
    if depth > 8:
        notes.append(f"its {depth} bits are read as 8")
    transparent = image.has_transparency_data
    gray = mode in ("1", "L", "LA")
    array = np.asarray(image.convert("RGBA" if transparent else "RGB"))
    if gray:
        array = array[..., [0, 3]] if transparent else array[..., :1]
    return array, notes


def _avif_depth(image: Image.Image) -> int:
    """Bits of an AVIF, of which Pillow does not tell: from its codec's description."""
    if image.format != "AVIF":
        return 8
    image.fp.seek(0)
    _, found, after = image.fp.read(65536).partition(b"av1C")
    flags = after[2] if found and len(after) > 2 else 0
    return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10


def _of_jxl(data: bytes) -> list[str]:
    """What its plugin for Pillow leaves out without a word."""
    import imagecodecs

    stored = imagecodecs.jpegxl_decode(data, numthreads=1)
    notes = []
    if stored.dtype != np.uint8:
        notes.append(f"its {stored.dtype} are read as 8 bits")
    if stored.ndim == 4:
        notes.append(f"only the first of its {len(stored)} pictures is taken")
    return notes


def _from_cmyk(
    array: np.ndarray, profile: bytes | None
) -> tuple[np.ndarray, list[str]]:
    """CMYK [H, W, 4] to sRGB, uint8, by the file's profile if it has one."""
    image = Image.fromarray(to_uint8(array), "CMYK")
    bits = "" if array.dtype == np.uint8 else " of 8 bits"
    if profile:
        with contextlib.suppress(ImageCms.PyCMSError, OSError):
            inks = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            srgb = ImageCms.createProfile("sRGB")
            image = ImageCms.profileToProfile(image, inks, srgb, outputMode="RGB")
            return np.asarray(image), [f"CMYK became sRGB{bits} by its profile"]
    return np.asarray(image.convert("RGB")), [
        f"CMYK became RGB{bits} without a profile"
    ]


def _turn(array: np.ndarray, orientation: int) -> np.ndarray:
    """The array upright, for EXIF orientations 1 to 8."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)
