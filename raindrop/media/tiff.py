"""TIFF of any layout, in and out, by tifffile.

Planes or pixels, strips or tiles, any compression, 1 to 64 bits, integers or floats:
what comes out is gray or RGB, with alpha or without. What cannot be told for sure is
refused with the reason.
"""

import contextlib
import io
import itertools
import logging
import math
import re
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import tifffile
from PIL import Image, TiffImagePlugin
from tifffile import PHOTOMETRIC

from raindrop.media import jpeg

# It tells of everything that is odd about a file, on stderr.
tifffile.logger().setLevel(logging.CRITICAL + 1)

# EXIF and GPS, the directories of their own within EXIF data.
DIRECTORIES = (0x8769, 0x8825)
# Title, comment and so on in UTF-16, as bytes.
WINDOWS_TAGS = frozenset(range(0x9C9B, 0x9CA0))
_ORIENTATION, _DNG, _INK_SET = 0x112, 0xC612, 0x14C
_XMP, _IPTC, _PHOTOSHOP, _ICC = 0x2BC, 0x83BB, 0x8649, 0x8773
_JPEG = (6, 7)
_INCH = {2: 1.0, 3: 2.54}  # of a resolution unit
# Descriptions that programs write for themselves, of how the file is laid out.
_LAYOUT = re.compile(r'\s*(ImageJ=|\{"shape"|<\?xml|<OME|SCIFIO=|Leica|Aperio|\{)')


@contextlib.contextmanager
def first_page(file: BinaryIO) -> Iterator[tuple[Any, int]]:
    """The page that is read, and how many there are.

    Raises:
      ValueError: no page, or a camera's raw data.
    """
    with tifffile.TiffFile(file) as tiff:
        pages = list(itertools.islice(tiff.pages, 1000))
        page = pages[0].aspage()
        photometric = page.photometric
        raw = photometric in (PHOTOMETRIC.CFA, PHOTOMETRIC.LINEAR_RAW)
        if raw or _DNG in page.tags:
            raise ValueError("a camera's raw data; give its name the ending .dng")
        yield page, len(pages)


def size(page: Any) -> tuple[int, int]:
    """(height, width) as stored."""
    return page.imagelength, page.imagewidth


def orientation(page: Any) -> int:
    """EXIF orientation, 1 to 8, that is still to be taken."""
    value = page.tags.valueof(_ORIENTATION, 1)
    return value if value in range(1, 9) else 1


def is_cmyk(page: Any) -> bool:
    """Whether `read` gives inks."""
    return page.photometric == PHOTOMETRIC.SEPARATED


def is_for_pillow(page: Any) -> bool:
    """Whether its colours are of a kind that libtiff knows to turn into RGB."""
    brightness_apart = page.photometric in (PHOTOMETRIC.YCBCR, PHOTOMETRIC.CIELAB)
    return brightness_apart and page.compression not in _JPEG


def read(page: Any) -> tuple[np.ndarray, list[str]]:
    """The pixels of a page.

    Returns:
      [H, W, C], gray, gray and alpha, RGB, RGBA or CMYK; uint8, uint16, or float32 in
      [0, 1]; and what is to be said of it.

    Raises:
      ValueError: damaged, or not a picture whose colours can be told.
    """
    _check_layout(page)
    photometric = PHOTOMETRIC(page.photometric)
    array = page.asarray(squeeze=False, maxworkers=1)  # planes, 1, H, W, samples
    array = np.moveaxis(array[:, 0], 0, -2)
    array = array.reshape(*array.shape[:2], -1)
    if photometric == PHOTOMETRIC.PALETTE:
        return _through_palette(array, page), []
    array = _scaled(array, page.bitspersample)
    if photometric == PHOTOMETRIC.MINISWHITE:
        top = 1 if array.dtype == np.float32 else np.iinfo(array.dtype).max
        array[..., :1] = top - array[..., :1]
    array, notes = _colour_and_alpha(array, page, photometric)
    kept = array.dtype.itemsize * 8
    if page.bitspersample > kept:
        notes.append(f"its {page.bitspersample} bits are read as {kept}")
    return array, notes


def _check_layout(page: Any) -> None:
    photometric = page.photometric
    known = {
        *(PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB),
        *(PHOTOMETRIC.PALETTE, PHOTOMETRIC.SEPARATED),
    }
    as_rgb = photometric == PHOTOMETRIC.YCBCR and page.compression in _JPEG
    if photometric not in known and not as_rgb:
        name = getattr(photometric, "name", photometric)
        raise ValueError(f"its colours are {name}; convert it to RGB first")
    if photometric == PHOTOMETRIC.SEPARATED and page.tags.valueof(_INK_SET, 1) != 1:
        raise ValueError("its inks are not those of CMYK; convert it to RGB first")
    if page.dtype is None or not isinstance(page.bitspersample, int):
        raise ValueError("its channels have different depths, or none that is known")
    if page.imagedepth > 1:
        raise ValueError("a volume, not a picture")
    _check_whole(page)
    if page.compression == 7:
        _check_jpegs(page)


def check_for_pillow(page: Any) -> None:
    """Raises ValueError where libtiff would make a picture of damaged data."""
    _check_whole(page)
    if page.compression != 1:
        decompress = tifffile.TIFF.DECOMPRESSORS[page.compression]
        for data, *_ in _segments(page):
            decompress(data)


def _check_whole(page: Any) -> None:
    # tifffile fills what is missing with zeros.
    offsets, counts = page.dataoffsets, page.databytecounts
    there = page.parent.filehandle.size
    segments = list(zip(offsets, counts, strict=True))
    if len(segments) < math.prod(page.chunked) or any(
        offset == 0 or count == 0 or offset + count > there
        for offset, count in segments
    ):
        raise ValueError("damaged: a part of its pixels is missing")


def _segments(page: Any) -> Iterator[Any]:
    handle = page.parent.filehandle
    return handle.read_segments(page.dataoffsets, page.databytecounts)


def _check_jpegs(page: Any) -> None:
    """Raises ValueError where a JPEG inside is damaged."""
    tables = page.jpegtables
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    mode = {1: "L", 3: "RGB", 4: "CMYK"}.get(samples)
    for data, *_ in _segments(page) if mode else ():
        jpeg.read(tables[:-2] + data[2:] if tables else data, mode)


def _scaled(array: np.ndarray, bits: int) -> np.ndarray:
    """The values over the full range of uint8 or uint16, or float32 in [0, 1]."""
    kind = array.dtype.kind
    if kind == "b":
        return array.astype(np.uint8) * 255
    if kind == "f":
        return _checked_floats(array)
    if kind != "u":
        kinds = {"i": f"signed integers of {bits} bits", "c": "complex numbers"}
        raise ValueError(
            f"its values are {kinds.get(kind, array.dtype)}, from {array.min()} to "
            f"{array.max()}, and the file does not say which of them is white; convert "
            "it to unsigned 16 bits first"
        )
    if bits > 16:
        if array.max() < 2 ** (bits - 8):
            raise ValueError(
                f"its values are integers of {bits} bits but reach only {array.max()}, "
                "so that white cannot be told; convert it to 16 bits first"
            )
        return (array >> (bits - 16)).astype(np.uint16)
    dtype = np.uint8 if bits <= 8 else np.uint16
    top, white = 2**bits - 1, np.iinfo(dtype).max
    if top == white:
        return array.astype(dtype)
    return ((array.astype(np.uint32) * white + top // 2) // top).astype(dtype)


def _checked_floats(array: np.ndarray) -> np.ndarray:
    if not np.isfinite(array).all():
        raise ValueError("its values are floats, and some are no numbers (NaN or Inf)")
    low, high = float(array.min()), float(array.max())
    if low < -1e-3 or high > 1 + 1e-3:
        raise ValueError(
            f"its values are floats from {low:g} to {high:g}, not in [0, 1], so that "
            "black and white cannot be told; scale them first"
        )
    return array.astype(np.float32).clip(0, 1)


def _through_palette(array: np.ndarray, page: Any) -> np.ndarray:
    palette = page.colormap
    if palette is None or array.shape[-1] != 1 or array.max() >= palette.shape[1]:
        raise ValueError("damaged: its palette lacks colours that it uses")
    if palette.max() > 255:  # else written by a program that took it for 8 bits
        palette = palette >> 8
    return palette.T[array[..., 0]].astype(np.uint8)


def _colour_and_alpha(
    array: np.ndarray, page: Any, photometric: PHOTOMETRIC
) -> tuple[np.ndarray, list[str]]:
    colours = {PHOTOMETRIC.MINISWHITE: 1, PHOTOMETRIC.MINISBLACK: 1}.get(photometric, 3)
    colours = 4 if photometric == PHOTOMETRIC.SEPARATED else colours
    more = array.shape[-1] - colours
    if more < 0:
        raise ValueError("damaged: channels are missing")
    extra = [int(sample) for sample in page.extrasamples][:more]
    extra += [0] * (more - len(extra))
    colour = array[..., :colours]
    if colours == 1 and more >= 2 and not any(extra):
        raise ValueError(
            f"it has {array.shape[-1]} channels and does not say that they are colours"
        )
    alphas = [k for k, kind in enumerate(extra) if kind in (1, 2)][:1]
    notes = []
    if more > len(alphas):
        notes.append("channels beside colour and alpha are not kept")
    if colours == 4 and alphas:
        notes.append("the alpha of CMYK is not kept")
    if not alphas or colours == 4:
        return np.ascontiguousarray(colour), notes
    alpha = array[..., colours + alphas[0]][..., None]
    if extra[alphas[0]] == 1:  # the colours are multiplied by it
        colour = _divided(colour, alpha)
    return np.concatenate([colour, alpha], axis=-1), notes


def _divided(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    if colour.dtype == np.float32:
        return np.where(alpha > 0, colour / np.maximum(alpha, 1e-6), colour).clip(0, 1)
    top = np.iinfo(colour.dtype).max
    share = np.maximum(alpha, 1) / top
    return np.round(np.minimum(colour / share, top)).astype(colour.dtype)


def metadata(page: Any, file: BinaryIO) -> dict[str, Any]:
    """ICC profile, EXIF, XMP, IPTC and resolution, as fields of a `Picture`.

    The EXIF data are all tags of the page, and read from `file` as they are asked for.
    """
    exif = Image.Exif()
    value = page.tags.valueof
    if page.parent.is_bigtiff:  # which Pillow reads no EXIF data from
        texts = {tag.code: tag.value for tag in page.tags if tag.dtype == 2}
        exif.update({k: v for k, v in texts.items() if isinstance(v, str)})
    else:
        file.seek(0)
        exif.load_from_fp(file)
    description = value(0x10E, "")
    if isinstance(description, str) and _LAYOUT.match(description):
        exif.pop(0x10E, None)
    dpi = None
    inch = _INCH.get(int(value(0x128, 2)))
    across, down = value(0x11A), value(0x11B)
    if inch and across and down and across[1] and down[1]:
        dpi = tuple(n / d * inch for n, d in (across, down))
    return {
        "icc_profile": _bytes(value(_ICC)),
        "exif": exif,
        "xmp": _bytes(value(_XMP)),
        "iptc": _bytes(value(_IPTC)) or _iptc_of(_bytes(value(_PHOTOSHOP))),
        "dpi": dpi,
    }


def _bytes(value: Any) -> bytes | None:
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, tuple):  # IPTC is often declared as 32-bit integers
        value = struct.pack(f"<{len(value)}I", *value)
    return bytes(value) if value else None


def _iptc_of(resources: bytes | None) -> bytes | None:
    """The IPTC record among Photoshop's resources."""
    place = 0
    while resources and resources[place : place + 4] == b"8BIM":
        kind, name = struct.unpack(">HB", resources[place + 4 : place + 7])
        place += 6 + (name + 2) // 2 * 2
        (length,) = struct.unpack(">I", resources[place : place + 4])
        if kind == 0x404:
            return resources[place + 4 : place + 4 + length]
        place += 4 + (length + 1) // 2 * 2
    return None


def lost_from_big(page: Any) -> list[str]:
    """What `metadata` leaves behind."""
    directories = any(tag in page.tags for tag in DIRECTORIES)
    lost = page.parent.is_bigtiff and directories
    return ["EXIF is lost: it is not read from BigTIFF"] if lost else []


def write(file: BinaryIO, array: np.ndarray, metadata: dict[str, Any]) -> None:
    """Writes uint8, uint16 or float32: [H, W], or [H, W, 2 to 4]; see `read`.

    Args:
      file: open for writing.
      array: the pixels.
      metadata: as `metadata` gives it.
    """
    channels = array.shape[2] if array.ndim == 3 else 1
    exif, dpi = metadata["exif"], metadata["dpi"]
    directories = {tag: exif.get_ifd(tag) for tag in DIRECTORIES if exif.get_ifd(tag)}
    # tifffile writes neither of these two tags; the numbers before them hold the place.
    tags = [(tag - 1, "I", 1, 0, True) for tag in directories]
    for tag, value in exif.items():
        if tag in WINDOWS_TAGS and isinstance(value, bytes):
            tags.append((tag, "B", len(value), value, True))
        elif isinstance(value, str | bytes):
            tags.append((tag, "s", 0, value, True))
    if metadata["xmp"]:
        tags.append((_XMP, "B", len(metadata["xmp"]), metadata["xmp"], True))
    if metadata["iptc"]:
        tags.append((_IPTC, "B", len(metadata["iptc"]), metadata["iptc"], True))
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        array,
        photometric="minisblack" if channels < 3 else "rgb",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="zlib",
        byteorder="<",
        iccprofile=metadata["icc_profile"],
        metadata=None,
        software=False,
        extratags=tags,
        resolution=dpi,
        resolutionunit="INCH" if dpi else None,
    )
    # EXIF and GPS are directories of their own, to which the tags above have to point.
    for tag, entries in directories.items():
        directory = TiffImagePlugin.ImageFileDirectory_v2(ifh=b"II\x2a\0\0\0\0\0")
        for key, value in entries.items():
            directory[key] = value
        # tifffile's own directory is at the start of the file, before the pixels.
        entry = buffer.getvalue().index(struct.pack("<HHII", tag - 1, 4, 1, 0))
        end = buffer.seek(0, io.SEEK_END)
        buffer.write(b"\0" * (end % 2))
        offset = buffer.tell()
        buffer.write(directory.tobytes(offset))
        buffer.seek(entry)
        buffer.write(struct.pack("<HHII", tag, 4, 1, offset))
    file.write(buffer.getbuffer())
