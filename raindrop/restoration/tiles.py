"""How pictures are cut and grouped: tiles and their seams, and a few shapes for many.

Sizes are (height, width) in pixels, padded to multiples of what the network steps by:
four, or four times its patches.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

Size = tuple[int, int]


def positions(length: int, tile: int, overlap: int, multiple: int = 4) -> list[int]:
    """Where tiles start along a side: evenly spread, and multiples of `multiple`.

    Args:
      length: of the side; a multiple of `multiple`, as all here.
      tile: side of a tile.
      overlap: the least that neighbours share; less than half a tile.
      multiple: what the network steps by.
    """
    if length <= tile:
        return [0]
    count = -(-(length - overlap) // (tile - overlap))
    last = length - tile
    steps = last // multiple
    return [steps * i // (count - 1) * multiple for i in range(count)]


def tile_shape(size: Size, tile: int, overlap: int, multiple: int = 4) -> Size:
    """The tiles for a picture with the least to compute, for their overlaps.

    Args:
      size: of the picture.
      tile: tiles hold at most `tile` squared pixels.
      overlap: the least that neighbours share.
      multiple: what the network steps by.
    """

    def sides(length: int) -> dict[int, int]:
        """Number of tiles along a side -> their side."""
        result = {1: length}
        while (last := result[len(result)]) > 2 * overlap:
            count = len(result) + 1
            exact = (length + (count - 1) * overlap) / count
            result[count] = min(last, math.ceil(exact / multiple) * multiple)
            if len(result) * overlap > 2 * length:
                break
        return {n: side for n, side in result.items() if n == 1 or side > 2 * overlap}

    choices = [
        (rows * height * columns * width, (height, width))
        for rows, height in sides(size[0]).items()
        for columns, width in sides(size[1]).items()
        if height * width <= tile**2
    ]
    square = (min(size[0], tile), min(size[1], tile))
    return min(choices)[1] if choices else square


def weights(starts: Sequence[int], tile: int, overlap: int) -> np.ndarray:
    """How much each tile counts at each of its pixels along a side; [tiles, tile].

    The sum over the tiles is one everywhere. Between neighbours the weight moves over a
    quarter of `overlap`, in the middle of what they share: the pixels nearest to a cut
    (three eighths of `overlap`), which lack their surroundings, count nothing.
    """
    result = np.ones((len(starts), tile), np.float32)
    for i, (left, right) in enumerate(itertools.pairwise(starts)):
        middle = (right + left + tile) / 2
        here = np.arange(tile) + 0.5
        for row, start, sign in ((i, left, -1), (i + 1, right, 1)):
            moved = sign * (here + start - middle) / (overlap / 4) + 0.5
            result[row] *= np.clip(moved, 0, 1)
    return result


def blend(
    tiles: Iterable[np.ndarray],
    rows: Sequence[int],
    columns: Sequence[int],
    overlap: int,
) -> Iterator[tuple[int, np.ndarray]]:
    """Joins tiles to bands of the whole, as they come; never holds the whole.

    Args:
      tiles: float32 [h, w, C], row by row.
      rows: where the rows of tiles start, from `positions`.
      columns: where the columns start.
      overlap: as given to `positions`.

    Yields:
      Where a band starts, and the band, float32 [any, width, C]; from top to bottom.
    """
    tiles = iter(tiles)
    rest = None
    across = down = None
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            tile = next(tiles)
            if across is None:
                height, width, channels = tile.shape
                across = weights(columns, width, overlap)
                down = weights(rows, height, overlap)
            if j == 0:
                strip = np.zeros((height, columns[-1] + width, channels), np.float32)
            strip[:, column : column + width] += tile * across[j][:, None]
        strip *= down[i][:, None, None]
        if rest is not None:
            strip[: len(rest)] += rest
        done = height if i == len(rows) - 1 else rows[i + 1] - row
        yield row, strip[:done]
        rest = strip[done:]


def cover(sizes: Iterable[Size], limit: int) -> dict[Size, Size]:
    """A shape for every size, at most `limit` shapes, with little to compute in vain.

    Every size keeps its own shape as long as there are few; then the two shapes are
    merged that cost the fewest pixels, until there are few enough.

    Args:
      sizes: one for each picture; what occurs often counts more.
      limit: at least 1.
    """
    counts = Counter(sizes)
    shapes = {size: size for size in counts}
    step = 4
    while len(set(shapes.values())) > 8 * limit:
        # Coarser first: looking at all pairs of hundreds of shapes takes long.
        step *= 2
        shapes = {
            size: (-(-size[0] // step) * step, -(-size[1] // step) * step)
            for size in counts
        }
    groups = Counter()
    for size, shape in shapes.items():
        groups[shape] += counts[size]
    while len(groups) > limit:
        (a, b), union = min(
            (
                ((a, b), (max(a[0], b[0]), max(a[1], b[1])))
                for a, b in itertools.combinations(groups, 2)
            ),
            key=lambda merge: sum(
                groups[shape] * (merge[1][0] * merge[1][1] - shape[0] * shape[1])
                for shape in merge[0]
            ),
        )
        groups[union] = groups.pop(a) + groups.pop(b) + groups.pop(union, 0)
        shapes = {s: union if shape in (a, b) else shape for s, shape in shapes.items()}
    return shapes
