"""The pixels of a JPEG file, and whether they are all there.

Pillow takes a file with a damaged middle for a whole one. libjpeg-turbo knows better:
simplejpeg passes on what it says.
"""

import numpy as np
import simplejpeg

_END = b"\xff\xd9"
# What libjpeg says of files whose pixels are right. The first is also what a damage
# that hardly shows looks like.
_HARMLESS = ("extraneous bytes before marker", "Adobe color", "JFIF", "SOS parameters")


def read(data: bytes, mode: str) -> tuple[np.ndarray, list[str]]:
    """Decodes a JPEG file.

    Args:
      data: the file.
      mode: Pillow's: "L", "RGB" or "CMYK".

    Returns:
      uint8 [H, W, C] (CMYK as stored, not turned over as Adobe's are), and what is to
      be said of it.

    Raises:
      ValueError: damaged; the message says how.
    """
    space = "GRAY" if mode == "L" else mode
    try:
        return simplejpeg.decode_jpeg(data, space, strict=True), []
    except ValueError as error:
        problem = str(error)
    if any(words in problem for words in _HARMLESS):
        pixels = simplejpeg.decode_jpeg(data, space, strict=False)
        return pixels, [f"its JPEG data may be damaged ({problem})"]
    if "Premature end of JPEG file" not in problem:
        raise ValueError(problem)
    # The end marker is missing. If no more than that is, nothing is wrong with it.
    try:
        pixels = simplejpeg.decode_jpeg(data + _END, space, strict=True)
    except ValueError:
        pixels = None
    if pixels is None or not _holds_all_scans(data):
        raise ValueError("it ends too early")
    return pixels, ["its end marker is missing, and nothing else"]


def _holds_all_scans(data: bytes) -> bool:
    """Whether there is every bit of every coefficient of every component.

    A progressive file that was cut between two scans decodes without a complaint, but
    less sharp.
    """
    components: list[int] = []
    missing: dict[tuple[int, int], int] = {}  # bits of (component, coefficient)
    place = 2
    while (place := data.find(b"\xff", place)) >= 0 and place + 4 <= len(data):
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4])
        if marker in (0x00, 0xFF, *range(0xD0, 0xD9)):  # data, padding, no length
            place += 1 if marker == 0xFF else 2
            continue
        body = data[place + 4 : place + 2 + length]
        if marker in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA):  # the frame
            components = list(body[6 : 6 + 3 * body[5] : 3])
            missing = {(c, k): 16 for c in components for k in range(64)}
        elif marker == 0xDA:  # a scan
            first, last, bits = body[-3:]
            for component in body[1 : 1 + 2 * body[0] : 2]:
                for k in range(first, last + 1):
                    missing[component, k] = bits & 15
        place += 2 + length
    return bool(missing) and not any(missing.values())
