"""Pictures cleaned in smaller copies, and what that changes brought back.

A network knows drops as large as it was trained on, in pixels. A photograph of a phone
has the same drops five times as large. So a large picture is cleaned at its own size
and at half of it, and so on (`half`, `blend`, `bring_back`). What is left of drops
close to the lens shows once more at a quarter (`large_regions`). Plain arithmetic on
arrays, by bands of rows, to bound the memory.
"""

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from raindrop.media.pixel_values import from_float, to_float

# The largest difference of a pixel's channels at which the larger picture's detail
# begins to go, and is gone: there is a drop in front of it, and no veil.
_KEPT, _GONE = 0.1, 0.2
_ROWS = 256  # of a band of the larger picture
_AROUND = 4  # rows of the smaller one that interpolation looks at beyond a band
# Of a large region: the side of a square that fits into it, the levels of 255 by which
# each of its pixels changes, and how wide its soft edge is, in pixels.
_SIDE, _CHANGED, EDGE = 17, 10, 4


def half(picture: np.ndarray) -> np.ndarray:
    """A picture of half the size, by the mean of 2 x 2 pixels.

    Args:
      picture: [H, W, 3], uint8, uint16 or float in [0, 1].

    Returns:
      [ceil(H / 2), ceil(W / 2), 3] of the same type.
    """
    height, width = picture.shape[:2]
    result = np.empty((-(-height // 2), -(-width // 2), 3), picture.dtype)
    for top in range(0, height, _ROWS):
        band = to_float(picture[top : top + _ROWS])
        odd = ((0, band.shape[0] % 2), (0, width % 2), (0, 0))
        band = np.pad(band, odd, "edge")
        rows, columns = band.shape[0] // 2, band.shape[1] // 2
        mean = band.reshape(rows, 2, columns, 2, 3).mean((1, 3))
        result[top // 2 : top // 2 + rows] = from_float(mean, picture.dtype)
    return result


def bring_back(picture: np.ndarray, before: np.ndarray, after: np.ndarray) -> None:
    """Changes a picture, in place, as a copy of half the size was changed.

    A small change, such as a veil that is taken off, keeps the larger picture's detail;
    where much was changed there was a drop, and the detail is the drop's own.

    Args:
      picture: [H, W, 3], uint8, uint16 or float.
      before: [ceil(H / 2), ceil(W / 2), 3] of the same type: `half` of it.
      after: the same, changed.
    """
    height = len(picture)
    lost = _lost(before, after)
    for top in range(0, height, _ROWS):
        bottom = min(top + _ROWS, height)
        first = max(top // 2 - _AROUND, 0)
        rows = np.s_[first : -(-bottom // 2) + _AROUND]
        old, new = to_float(before[rows]), to_float(after[rows])
        if np.array_equal(old, new):
            continue
        given = to_float(picture[top:bottom])
        part = top / 2 - first, bottom / 2 - first
        shape = given.shape[:2]
        change = _twice(new - old, part, shape)
        detail = given - _twice(old, part, shape)
        changed = given + change - _twice(lost[rows], part, shape) * detail
        changed = from_float(changed, picture.dtype)
        # As it was, to the last bit, where nothing changed.
        picture[top:bottom] = np.where(change == 0, picture[top:bottom], changed)


def blend(before: np.ndarray, after: np.ndarray, share: np.ndarray) -> np.ndarray:
    """`before` + `share` * (`after` - `before`), as it was where the share is 0.

    Args:
      before: [H, W, 3], uint8, uint16 or float in [0, 1].
      after: [H, W, 3], of any of these types.
      share: float32 [H, W, 1].

    Returns:
      [H, W, 3] of the type of `before`.
    """
    result = np.empty_like(before)
    for top in range(0, len(before), _ROWS):
        rows = np.s_[top : top + _ROWS]
        old, new = to_float(before[rows]), to_float(after[rows])
        mixed = from_float(old + share[rows] * (new - old), before.dtype)
        result[rows] = np.where(share[rows] == 0, before[rows], mixed)
    return result


def changed(before: np.ndarray, after: np.ndarray, around: int = 0) -> np.ndarray:
    """Where pixels change by more than ten levels of 255, bool [H, W].

    Args:
      before: [H, W, 3], uint8, uint16 or float in [0, 1].
      after: the same, changed.
      around: pixels by which such regions are made wider.
    """
    change = Image.fromarray(_largest_change(before, after))
    soft = change.filter(ImageFilter.GaussianBlur(1.5))
    wide = soft.filter(ImageFilter.MaxFilter(2 * around + 1))
    return np.asarray(wide) > _CHANGED


def large_regions(where: np.ndarray) -> np.ndarray:
    """Of regions in a small copy those of large drops, with soft edges.

    Args:
      where: bool [H, W].

    Returns:
      float32 [H, W, 1]: 1 in regions that a square of 17 pixels fits into, 0 elsewhere.
    """
    regions = Image.fromarray(np.uint8(255) * where)
    # An opening: the middles of squares that fit, then all that lies in one of them.
    square = ImageFilter.BoxBlur(_SIDE // 2)
    fits = regions.filter(square).point(lambda level: 255 * (level == 255))
    large = fits.filter(square).point(lambda level: 255 * (level > 0))
    wider = ImageFilter.MaxFilter(2 * EDGE + 1)
    edged = ImageChops.darker(large.filter(wider), regions.filter(wider))
    share = np.asarray(edged.filter(ImageFilter.GaussianBlur(2)), np.float32)
    return share[..., None] / 255


def twice(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Maps of a copy of half the size, float32 [N, h, w, 1], as [N, *size, 1]."""
    part = (0, size[0] / 2)
    return np.stack([_twice(one, part, size) for one in maps])


def _lost(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Share of the detail that is not kept, float32 [h, w, 1]."""
    largest = Image.fromarray(_largest_change(before, after))
    wide = largest.filter(ImageFilter.MaxFilter(3))
    soft = np.asarray(wide.filter(ImageFilter.GaussianBlur(1.5)), np.float32) / 255
    return np.clip((soft - _KEPT) / (_GONE - _KEPT), 0, 1)[..., None]


def _largest_change(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Of a pixel's channels, in levels of 255, uint8 [h, w]."""
    largest = np.empty(before.shape[:2], np.uint8)
    for top in range(0, len(before), _ROWS):
        rows = np.s_[top : top + _ROWS]
        change = np.abs(to_float(after[rows]) - to_float(before[rows])).max(-1)
        largest[rows] = np.clip(255 * change + 0.5, 0, 255)
    return largest


def _twice(
    small: np.ndarray, part: tuple[float, float], shape: tuple[int, int]
) -> np.ndarray:
    """Rows `part` of a float32 [h, w, C] at twice the size, bilinear: [*shape, C]."""
    rows, columns = shape
    box = (0, part[0], columns / 2, part[1])
    return np.stack(
        [
            np.asarray(
                Image.fromarray(np.ascontiguousarray(small[..., channel])).resize(
                    (columns, rows), Image.Resampling.BILINEAR, box=box
                )
            )
            for channel in range(small.shape[-1])
        ],
        axis=-1,
    )
