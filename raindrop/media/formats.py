"""Which files are pictures, or videos, by their ending.

Pictures by their content too, where the ending says nothing.

A picture's format is a name of Pillow's ("JPEG", "TIFF", ...), or RAW for what a
camera's sensor saw.
"""

import functools
import importlib
import importlib.util
import os
from pathlib import Path

from PIL import Image

RAW = "RAW"
# Ending -> format. The first ending of a format is given to results without one.
_ENDINGS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff", ".btf", ".tf8"),
    "GIF": (".gif",),
    "AVIF": (".avif", ".avifs"),
    "HEIF": (".heic", ".heif", ".hif"),
    "JXL": (".jxl",),
    RAW: (
        *(".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2"),
        *(".raf", ".rw2", ".orf", ".pef", ".srw", ".3fr", ".fff", ".iiq", ".rwl"),
        *(".x3f", ".erf", ".mrw", ".kdc", ".dcr", ".gpr", ".mos"),
    ),
}
FORMATS = {ending: name for name, all_ in _ENDINGS.items() for ending in all_}
# Ending -> container and codec, of videos that are written; and those that are read.
WRITABLE_VIDEOS = {
    ".mp4": ("mp4", "libx264"),
    ".m4v": ("mp4", "libx264"),
    ".mov": ("mov", "libx264"),
    ".mkv": ("matroska", "libx264"),
    ".avi": ("avi", "libx264"),
    ".webm": ("webm", "libvpx-vp9"),
}
VIDEOS = (
    *WRITABLE_VIDEOS,
    *(".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp", ".ogv"),
)
# What cannot hold a result, or not with its profile: the result gets another ending.
_WRITTEN_INSTEAD = {"GIF": ".png", "JXL": ".png", RAW: ".tif"}
# What reads a format that Pillow does not, and whether each installation has it.
_PLUGINS = {"HEIF": "pillow_heif", "JXL": "pillow_jxl", RAW: "rawpy"}
_PACKAGES = {"HEIF": "pillow-heif", "JXL": "pillow-jxl-plugin", RAW: "rawpy"}
_NAMES = {"HEIF": "HEIC", "JXL": "JPEG XL", RAW: "camera RAW"}
# The first bytes of a file, and what it then is.
_STARTS = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II\x2a\0", "TIFF"),
    (b"MM\0\x2a", "TIFF"),
    (b"II\x2b\0", "TIFF"),
    (b"MM\0\x2b", "TIFF"),
    (b"\xff\x0a", "JXL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JXL"),
)
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis"), "HEIF"),
}


def of_name(path: str | os.PathLike) -> str | None:
    """The format that the ending of a name stands for; None for unknown endings."""
    return FORMATS.get(Path(path).suffix.lower())


def of_content(path: str | os.PathLike) -> str | None:
    """The format by a file's first bytes; None where it is no picture.

    A camera's RAW file is a TIFF or an MP4 by its first bytes, so that for those the
    ending decides.

    Raises:
      OSError: it cannot be read.
    """
    if of_name(path) == RAW:
        return RAW
    with open(path, "rb") as file:
        start = file.read(64)
    for begin, name in _STARTS:
        if start.startswith(begin):
            return name
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WEBP"
    # Two letters are no proof: the size of the second header is.
    if start[:2] == b"BM" and start[14:18] in _BMP_HEADERS:
        return "BMP"
    if start[4:8] == b"ftyp":
        brands = [start[i : i + 4] for i in (8, *range(16, 64, 4))]
        return next((_BRANDS[b] for b in brands if b in _BRANDS), None)
    return None


_BMP_HEADERS = {size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124)}


def written_ending(picture_format: str) -> str:
    """The ending of a result whose source is of that format."""
    if picture_format in _WRITTEN_INSTEAD:
        return _WRITTEN_INSTEAD[picture_format]
    return _ENDINGS[picture_format][0] if is_writable(picture_format) else ".png"


def is_readable(picture_format: str) -> bool:
    """Whether what reads it is installed."""
    plugin = _PLUGINS.get(picture_format)
    return plugin is None or importlib.util.find_spec(plugin) is not None


def is_writable(picture_format: str) -> bool:
    """Whether results can be of that format."""
    return picture_format not in _WRITTEN_INSTEAD and is_readable(picture_format)


def writable_endings() -> tuple[str, ...]:
    """All endings that a result can have."""
    return tuple(ending for ending, name in FORMATS.items() if is_writable(name))


def wanted(picture_format: str) -> str:
    """What has to be installed to read that format, in a few words."""
    name = _NAMES[picture_format]
    return f"{name} needs `pip install {_PACKAGES[picture_format]}`"


@functools.cache
def enable_plugins(picture_format: str | None = None) -> None:
    """Makes Pillow know a format, or all, and what is installed beside it."""
    if picture_format in ("BMP", "GIF", "JPEG", "PNG"):
        Image.preinit()  # a fraction of the time
        return
    Image.init()
    if is_readable("HEIF"):
        importlib.import_module("pillow_heif").register_heif_opener()
    if is_readable("JXL"):
        importlib.import_module("pillow_jxl")
