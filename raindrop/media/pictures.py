"""Pictures in and out: decode, encode, pad. Arrays are [H, W, 3] RGB throughout.

`decode` and `encode` carry everything a picture file holds (bit depth, alpha, gray,
ICC profile, EXIF, XMP, ...) and say what the next file has no room for; `read_image`
and `write_image` are the plain 8-bit RGB road. Pillow reads headers and metadata;
libjpeg-turbo, libpng and tifffile the pixels of JPEG, PNG and TIFF, as they tell what
is damaged and cut nothing to 8 bits.
"""

import contextlib
import dataclasses
import io
import logging
import os
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from raindrop.errors import UserError, first_line
from raindrop.media import atomic, folders, formats, jpeg, metadata, png, raw, tiff

_LOG = logging.getLogger(__name__)

EXTENSIONS = tuple(formats.FORMATS)

# Larger pictures are refused: a small file can claim a size that no memory holds.
# Pillow's own guard against such files does the refusing; see `limit_megapixels`.
MAX_MEGAPIXELS = 178.9
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
    with _telling(path):
        array, orientation, fields, notes = _read(path)
        array = _turn(array, orientation)
        if fields.pop("cmyk", False):
            array, more = _from_cmyk(array, fields["icc_profile"])
            # The profile describes those inks, and sRGB is what comes out.
            fields["icc_profile"] = None
            notes += more
        fields, more = metadata.cleaned(fields, array.shape[:2])
        notes += more
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
    with _telling(path):
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
        with atomic.aside(path) as part, open(part, "wb") as file:
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


@contextlib.contextmanager
def _telling(path: str | os.PathLike) -> Iterator[None]:
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
    formats.enable_plugins()
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
    formats.enable_plugins()
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


def gray_of(pixels: np.ndarray) -> np.ndarray:
    """RGB [H, W, 3], uint8, uint16 or float, to luma (BT.601) [H, W] of its type."""
    luma = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    return (luma if pixels.dtype.kind == "f" else np.round(luma)).astype(pixels.dtype)


def _channels(picture: Picture) -> np.ndarray:
    """Gray or RGB, with alpha if there is any: [H, W], or [H, W, 2 to 4]."""
    if picture.gray and picture.alpha is None:
        return gray_of(picture.pixels)
    colour = picture.pixels
    if picture.gray:
        colour = gray_of(colour)[..., None]
    return colour if picture.alpha is None else np.dstack([colour, picture.alpha])
