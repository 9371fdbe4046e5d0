"""Clean photographs: where they are, which are held out, decoding with a cache."""

import hashlib
import logging
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from raindrop import image_io
from raindrop.errors import UserError

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
      num_held_out: how many to hold out, at most a tenth but at least one. Which ones
        follows from their names alone, so that adding photographs moves few.

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
    paths = image_io.find_images(photos)
    if len(paths) < 2:
        raise UserError(
            f"{photos} holds one photograph; at least two are needed, "
            "since one is held out for evaluation"
        )

    def draw(path: Path) -> bytes:
        name = path.relative_to(photos).as_posix()
        return hashlib.sha256(name.encode()).digest()

    count = max(1, min(num_held_out, len(paths) // 10))
    held_out = set(sorted(paths, key=draw)[:count])
    return [p for p in paths if p not in held_out], sorted(held_out)


def at_least(paths: Sequence[Path], size: int) -> list[Path]:
    """Those that a crop of `size` fits into; the others are named in a warning.

    Raises:
      UserError: it fits into none, or a file is no picture.
    """
    sizes = {path: min(image_io.image_size(path)) for path in paths}
    small = [path for path in paths if sizes[path] < size]
    if len(small) == len(paths):
        raise UserError(
            f"data.crop_size is {size}, but no photograph is larger than "
            f"{max(sizes.values())} on its short side; take a smaller crop"
        )
    if small:
        _LOG.warning(
            "%d of %d photographs are smaller than the crop of %d and left out (%s)",
            len(small),
            len(paths),
            size,
            ", ".join(p.name for p in small[:5]) + ("..." if small[5:] else ""),
        )
    return [path for path in paths if sizes[path] >= size]


class Decoder:
    """Decodes pictures by position, and keeps as many as fit into memory.

    What it keeps changes the time only, never a value. Safe to call from threads.

    Args:
      paths: of the pictures.
      cache_bytes: to keep at most.
    """

    def __init__(self, paths: Sequence[Path], cache_bytes: int) -> None:
        self._paths = list(paths)
        self._left = cache_bytes
        self._kept: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._paths)

    def __call__(self, position: int) -> np.ndarray:
        """Picture at `position`, uint8 RGB [H, W, 3]."""
        position = int(position)
        image = self._kept.get(position)
        if image is None:
            image = image_io.read_image(self._paths[position])
            with self._lock:
                if position not in self._kept and image.nbytes <= self._left:
                    self._kept[position] = image
                    self._left -= image.nbytes
        return image
