"""PNG of any depth, in and out, by libpng.

Pillow cuts colour of 16 bits to 8 and knows no transparent value below 8 bits; what
goes with the pixels (text, profile, EXIF) it reads and writes.
"""

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image, PngImagePlugin

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
_END = b"\0\0\0\0IEND\xaeB`\x82"
# What the stored values mean as light, where no profile says it.
COLOUR = (b"gAMA", b"cHRM", b"sRGB", b"cICP")


def read(data: bytes) -> np.ndarray:
    """The pixels, uint8 or uint16 [H, W, C]: gray, gray and alpha, RGB or RGBA.

    Raises:
      ValueError: damaged.
    """
    # Not at the top: a machine that trains on JPEGs and writes no picture does without.
    import imagecodecs

    if not data.endswith(_END) and b"IEND" not in data[-64:]:
        data += _END
    try:
        array = imagecodecs.png_decode(data)
    except RuntimeError as error:
        raise ValueError(str(error)) from None
    return array if array.ndim == 3 else array[..., None]


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and whole chunk (with length, type and checksum), one after the other."""
    place = len(_SIGNATURE)
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4])
        yield data[place + 4 : place + 8], data[place : place + 12 + length]
        place += 12 + length


def without_pixels(data: bytes) -> bytes:
    """The same file as a picture of one pixel.

    Pillow reads what goes with the pixels from it without decoding them.
    """
    small = io.BytesIO()
    Image.new("L", (1, 1)).save(small, "PNG")
    one = small.getvalue()
    beside = (c for kind, c in chunks(data) if kind not in (*_PIXELS, *_ANIMATION))
    return b"".join([one[:33], *beside, one[33:]])


def gamma(colour: dict[bytes, bytes]) -> float:
    """The exponent that makes stored values of light, as far as it is not sRGB's.

    1 where a chunk of its own says how the values are meant, or none does.
    """
    if b"gAMA" not in colour or b"sRGB" in colour or b"cICP" in colour:
        return 1.0
    stored = struct.unpack(">I", colour[b"gAMA"][8:12])[0] / 1e5
    # Nearly sRGB's, or nothing that can be meant.
    return 1.0 if abs(stored - 1 / 2.2) < 0.02 or stored < 0.01 else 1 / (2.2 * stored)


def write(
    file: BinaryIO,
    array: np.ndarray,
    info: PngImagePlugin.PngInfo,
    colour: dict[bytes, bytes],
    **options: object,
) -> None:
    """Writes a picture.

    Args:
      file: open for writing.
      array: uint8 or uint16 [H, W] or [H, W, C]; see `read`.
      info: text.
      colour: chunks of `COLOUR`.
      **options: of Pillow's: icc_profile, exif, dpi.
    """
    import imagecodecs

    # Pillow makes all other chunks, for a picture of one pixel.
    small = io.BytesIO()
    Image.new("L", (1, 1)).save(small, "PNG", pnginfo=info, **options)
    more = dict(chunks(small.getvalue()))
    beside = [c for kind, c in chunks(small.getvalue()) if kind not in _PIXELS]
    beside += [chunk for kind, chunk in colour.items() if kind not in more]
    data = imagecodecs.png_encode(np.ascontiguousarray(array))
    file.write(data[:33])  # signature and header
    file.writelines(beside)
    file.write(data[33:])
