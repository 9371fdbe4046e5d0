"""Clean photographs: where they are, and which are held out."""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

from raindrop.errors import UserError
from raindrop.media import pictures

_LOG = logging.getLogger(__name__)
BUNDLED = "bundled"
# Colour photographs inside scikit-image's wheel (public domain, CC0 and CC BY); the cat
# is held out.
_BUNDLED_TRAIN = ("astronaut.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
_BUNDLED_HELD_OUT = ("chelsea.png",)


def split(photos: str, num_held_out: int) -> tuple[list[Path], list[Path]]:
    """Photographs for training and photographs held out for evaluation.

    Args:
      photos: `BUNDLED`, or a folder, searched through and through.
      num_held_out: how many to hold out, at least one; see `hold_out`.

    Returns:
      (training, held out), each sorted.

    Raises:
      UserError: no folder, or fewer than two photographs in it.
    """
    if photos == BUNDLED:
        import skimage

        folder = Path(skimage.__file__).parent / "data"
        return (
            [folder / name for name in _BUNDLED_TRAIN],
            [folder / name for name in _BUNDLED_HELD_OUT],
        )
    paths = pictures.find_images(photos)
    if len(paths) < 2:
        raise UserError(
            f"{photos} holds one photograph; at least two are needed, "
            "since one is held out for evaluation"
        )
    names = [path.relative_to(photos).as_posix() for path in paths]
    held_out = set(hold_out(names, max(num_held_out, 1)))
    return (
        [p for i, p in enumerate(paths) if i not in held_out],
        [p for i, p in enumerate(paths) if i in held_out],
    )


def hold_out(names: Sequence[str], count: int) -> list[int]:
    """Positions of the pictures to hold out: `count`, at most a tenth, at least one.

    Which ones follows from their names alone, so that adding pictures moves few. None
    where `count` is 0.
    """
    if count <= 0:
        return []

    def draw(position: int) -> bytes:
        return hashlib.sha256(names[position].encode()).digest()

    count = max(1, min(count, len(names) // 10))
    return sorted(sorted(range(len(names)), key=draw)[:count])


def at_least(paths: Sequence[Path], size: int, skip: bool = False) -> list[int]:
    """Positions of those that a crop of `size` fits into.

    The others are named in a warning.

    Args:
      paths: of pictures.
      size: side of the crop.
      skip: leave files out that are no pictures.

    Raises:
      UserError: it fits into none, or a file is no picture.
    """
    sides = []
    for path in paths:
        try:
            sides.append(min(pictures.image_size(path)))
        except UserError as error:
            if not skip:
                raise
            _LOG.warning("%s; left out", error)
            sides.append(0)
    if max(sides) < size:
        raise UserError(
            f"data.crop_size is {size}, but no picture is larger than "
            f"{max(sides)} on its short side; take a smaller crop"
        )
    small = [path.name for path, side in zip(paths, sides, strict=True) if side < size]
    if small:
        _LOG.warning(
            "%d of %d pictures are smaller than the crop of %d and left out (%s)",
            len(small),
            len(paths),
            size,
            ", ".join(small[:5]) + ("..." if small[5:] else ""),
        )
    return [i for i, side in enumerate(sides) if side >= size]
