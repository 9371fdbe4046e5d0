"""What Pillow cannot do: colour of 16 bits, and EXIF in a compressed TIFF.

OpenCV reads PNG and TIFF of 16 bits and writes such PNG; tifffile writes TIFF, as
OpenCV puts neither an ICC profile nor EXIF into one.
"""

import io
import os
import struct
import zlib
from typing import BinaryIO

import numpy as np
from PIL import Image, TiffImagePlugin

# EXIF and GPS, the directories of their own within EXIF data.
DIRECTORIES = (0x8769, 0x8825)
# Title, comment and so on in UTF-16, as bytes.
WINDOWS_TAGS = frozenset(range(0x9C9B, 0x9CA0))


def has_entries(exif: Image.Exif) -> bool:
    """Whether there is anything in it."""
    return bool(len(exif)) or any(exif.get_ifd(tag) for tag in DIRECTORIES)


def read(path: str | os.PathLike) -> np.ndarray:
    """The pixels as they are stored: uint16, gray [H, W], BGR or BGRA [H, W, C].

    Raises:
      ValueError: damaged, or stored in a way that OpenCV does not know.
    """
    import cv2

    # UNCHANGED cuts nothing to 8 bits. It turns TIFF as the file says, and PNG not.
    try:
        array = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        array = None
    if array is None or array.dtype != np.uint16:
        raise ValueError("damaged, or 16 bits in a form that is not known")
    return array


def write_png(
    file: BinaryIO,
    array: np.ndarray,
    icc_profile: bytes | None,
    exif: Image.Exif,
    dpi: tuple[float, float] | None,
) -> None:
    """Writes uint16: gray [H, W]; gray and alpha, RGB or RGBA [H, W, 2 to 4]."""
    import cv2

    if array.ndim == 3 and array.shape[-1] == 2:
        # OpenCV has no gray with alpha: the gray goes as three equal channels.
        array = array[..., [0, 0, 0, 1]]
    elif array.ndim == 3:
        array = array[..., [2, 1, 0, 3][: array.shape[-1]]]
    kinds, entries = [], []
    if has_entries(exif):
        kinds.append(cv2.IMAGE_METADATA_EXIF)
        tiff = exif.tobytes().removeprefix(b"Exif\0\0")
        entries.append(np.frombuffer(tiff, np.uint8))
    if icc_profile:
        kinds.append(cv2.IMAGE_METADATA_ICCP)
        entries.append(np.frombuffer(icc_profile, np.uint8))
    array = np.ascontiguousarray(array)
    done, buffer = cv2.imencodeWithMetadata(".png", array, kinds, entries)
    if not done:
        raise ValueError("OpenCV could not encode it")
    data = buffer.tobytes()
    if dpi is not None:
        # OpenCV knows no such chunk; its place is after the header, which has 33 bytes.
        chunk = struct.pack(">4sIIB", b"pHYs", *(round(d / 0.0254) for d in dpi), 1)
        chunk = struct.pack(">I", 9) + chunk + struct.pack(">I", zlib.crc32(chunk))
        data = data[:33] + chunk + data[33:]
    file.write(data)


def write_tiff(
    file: BinaryIO,
    array: np.ndarray,
    icc_profile: bytes | None,
    exif: Image.Exif,
    dpi: tuple[float, float] | None,
) -> None:
    """Writes uint8 or uint16; shapes as of `write_png`."""
    import tifffile

    channels = array.shape[2] if array.ndim == 3 else 1
    directories = {tag: exif.get_ifd(tag) for tag in DIRECTORIES if exif.get_ifd(tag)}
    # tifffile writes neither of these two tags; the numbers before them hold the place.
    tags = [(tag - 1, "I", 1, 0, True) for tag in directories]
    for tag, value in exif.items():
        if tag in WINDOWS_TAGS and isinstance(value, bytes):
            tags.append((tag, "B", len(value), value, True))
        elif isinstance(value, str | bytes):
            tags.append((tag, "s", 0, value, True))
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        array,
        photometric="minisblack" if channels < 3 else "rgb",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="zlib",
        byteorder="<",
        iccprofile=icc_profile,
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
