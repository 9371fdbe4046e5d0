"""Pairs of a rainy picture and its clean ground truth, and what a pair must be."""

import dataclasses
import io
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from raindrop.errors import UserError
from raindrop.media import formats, pictures

_LOG = logging.getLogger(__name__)
_NAMED = 20  # files that a warning names before it says how many more there are


@dataclasses.dataclass(frozen=True)
class Pair:
    """One picture twice.

    Attributes:
      name: says which one, in tables and file names.
      rainy: uint8 RGB [H, W, 3].
      clean: likewise, the same size.
    """

    name: str
    rainy: np.ndarray
    clean: np.ndarray


@dataclasses.dataclass(frozen=True)
class PairFiles:
    """Where the two pictures of a pair are.

    Attributes:
      name: as in `Pair`.
      rainy: file of the rainy picture.
      clean: file of the ground truth; many pairs may share one.
      scene: the folder of the scene, where the files are sorted by scene, else ''.
      rainy_half: 'left' or 'right' where one file holds both pictures side by side
        (`rainy` and `clean` are then the same file), else ''.
    """

    name: str
    rainy: Path
    clean: Path
    scene: str = ""
    rainy_half: str = ""

    def read(self) -> Pair:
        """Decodes both.

        Raises:
          UserError: a damaged picture.
        """
        rainy = pictures.read_image(self.rainy)
        if not self.rainy_half:
            return Pair(self.name, rainy, pictures.read_image(self.clean))
        halves = list(np.split(rainy[:, : rainy.shape[1] // 2 * 2], 2, axis=1))
        if self.rainy_half == "right":
            halves.reverse()
        return Pair(self.name, *map(np.ascontiguousarray, halves))

    def read_clean(self) -> np.ndarray:
        """The ground truth alone.

        Raises:
          UserError: a damaged picture.
        """
        return self.read().clean if self.rainy_half else pictures.read_image(self.clean)

    def inspect(self) -> tuple[int, int]:
        """(height, width) of the pair, from the headers of its files.

        8-bit RGB, gray, palette and opaque RGBA are fine, and so is EXIF rotation,
        which decoding undoes. 16 bits and CMYK would change in a conversion that is a
        matter of choice, and what transparency shows is not in the file.

        Raises:
          UserError: what keeps the pair from being used.
        """
        height, width = inspect(self.rainy)
        if self.rainy_half:
            if width % 2:
                raise UserError(
                    f"{self.rainy} is {width} pixels wide, and so not two pictures of "
                    "the same width side by side"
                )
            return height, width // 2
        other_height, other_width = inspect(self.clean)
        if (height, width) != (other_height, other_width):
            raise UserError(
                f"{self.rainy} is {width} x {height}, but {self.clean} is "
                f"{other_width} x {other_height}; crop or remove them"
            )
        return height, width


@dataclasses.dataclass(frozen=True)
class PairSet:
    """Pairs by position.

    Attributes:
      names: of the pairs.
      read: position to pair. Safe to call from threads.
      sizes: (height, width) of each, where they are known before decoding.
      scenes: gives a label for each pair; those of equal labels show the same scene.
        Called only where it matters, as it may look at all pictures. None: every pair
        is a scene of its own.
      failed: a line for every pair that is not in the set because it cannot be used.
    """

    names: Sequence[str]
    read: Callable[[int], Pair]
    sizes: Sequence[tuple[int, int]] = ()
    scenes: Callable[[], Sequence[Any]] | None = None
    failed: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Pair]:
        return map(self.read, range(len(self)))

    def subset(self, positions: Iterable[int]) -> "PairSet":
        """The pairs at `positions`."""
        positions = list(positions)
        return dataclasses.replace(
            self,
            names=[self.names[i] for i in positions],
            read=lambda i: self.read(positions[i]),
            sizes=[self.sizes[i] for i in positions] if self.sizes else (),
            scenes=lambda: [labels[i] for labels in [self.labels()] for i in positions],
        )

    @classmethod
    def joined(cls, sets: Mapping[str, "PairSet"]) -> "PairSet":
        """All pairs of several sets, named NAME_OF_THE_SET/NAME."""
        places = [(name, i) for name, pairs in sets.items() for i in range(len(pairs))]

        def read(position: int) -> Pair:
            name, inside = places[position]
            pair = sets[name].read(inside)
            return dataclasses.replace(pair, name=f"{name}/{pair.name}")

        return cls(
            [f"{name}/{sets[name].names[i]}" for name, i in places],
            read,
            scenes=lambda: [
                (name, label)
                for name, pairs in sets.items()
                for label in pairs.labels()
            ],
            failed=[line for pairs in sets.values() for line in pairs.failed],
        )

    def labels(self) -> Sequence[Any]:
        """The scene of each pair; see `scenes`."""
        return self.scenes() if self.scenes else range(len(self))


class Readable:
    """The pairs of a set one after the other, of which some may be damaged.

    Attributes:
      failed: a line for every pair that is left out; complete once all are read.
    """

    def __init__(self, pairs: PairSet, skip: bool) -> None:
        """Takes a set.

        Args:
          pairs: the set.
          skip: name and leave out what cannot be read, instead of raising.
        """
        self._pairs, self._skip = pairs, skip
        self.failed = list(pairs.failed)

    def __iter__(self) -> Iterator[Pair]:
        self.failed = list(self._pairs.failed)
        for position in range(len(self._pairs)):
            try:
                pair = self._pairs.read(position)
            except UserError as error:
                self.leave_out(error)
            else:
                yield pair

    def leave_out(self, error: UserError) -> None:
        """Names a pair that cannot be used, or ends what goes through the pairs.

        Raises:
          UserError: that, where such pairs are not to be left out.
        """
        if not self._skip:
            hint = "data.on_error=skip leaves it out and goes on"
            raise UserError(f"{error} ({hint})") from None
        _LOG.warning("%s; left out", error)
        self.failed.append(str(error))


def natural(name: str) -> list[Any]:
    """Key that sorts 2 before 10."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if part.isdecimal() else part for part in parts]


def inspect(source: Path | bytes, name: str = "") -> tuple[int, int]:
    """(height, width), turned as EXIF says, of a picture that can be used in a pair.

    Args:
      source: a file, or the bytes of one.
      name: for messages, where `source` is bytes.

    Raises:
      UserError: no picture, 16 bits, CMYK or transparent.
    """
    name = name or str(source)
    formats.enable_plugins()
    try:
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        with Image.open(file) as image:
            # Pillow calls PNGs of 16 bits a channel RGB, and halves them silently.
            raw = image.tile[0].args if image.tile else ""
            if image.mode.startswith(("I", "F")) or ";16" in str(raw):
                raise UserError(
                    f"{name} has 16 bits or more a channel; convert it to 8"
                )
            if image.mode in ("CMYK", "YCCK", "LAB", "HSV"):
                raise UserError(f"{name} is {image.mode}; convert it to RGB")
            width, height = image.size
            if image.getexif().get(0x0112, 1) >= 5:
                width, height = height, width
            opaque = width * height
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                opaque = image.convert("RGBA").getchannel("A").histogram()[255]
            if opaque < width * height:
                raise UserError(
                    f"{name} is transparent in places; save it without alpha"
                )
            return height, width
    except UnidentifiedImageError:
        raise UserError(f"{name} is no picture that can be read") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{name} cannot be decoded: {error}") from None


def shorten(names: Sequence[Any]) -> str:
    """The first of many names, and how many more there are."""
    text = ", ".join(map(str, names[:_NAMED]))
    return text + (f" and {len(names) - _NAMED} more" if names[_NAMED:] else "")
