"""Pairs of a rainy picture and its clean twin: any folder of them."""

import dataclasses
import io
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from raindrop.errors import UserError
from raindrop.media import pictures

_LOG = logging.getLogger(__name__)
_AnyPath = TypeVar("_AnyPath", bound=PurePath)

# Names of the two folders, rainy first: Qian et al.'s, RainDS's, and a common one.
LAYOUTS = (("data", "gt"), ("rain_image", "clean_image"), ("input", "target"))
_SUFFIX = re.compile(
    r"(?<=.)[_-](rainy|rain|raindrop|input|clean|clear|target|gt)$", re.IGNORECASE
)
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
    """Where the two pictures of a pair are; `name` as in `Pair`."""

    name: str
    rainy: Path
    clean: Path

    def read(self) -> Pair:
        """Decodes both.

        Raises:
          UserError: a damaged picture.
        """
        rainy, clean = pictures.read_image(self.rainy), pictures.read_image(self.clean)
        return Pair(self.name, rainy, clean)


@dataclasses.dataclass(frozen=True)
class PairSet:
    """Pairs by position.

    Attributes:
      names: of the pairs.
      read: position to pair. Safe to call from threads.
      files: the rainy pictures' files, where each pair has its own.
    """

    names: Sequence[str]
    read: Callable[[int], Pair]
    files: Sequence[Path] = ()

    @classmethod
    def of(cls, files: Sequence[PairFiles]) -> "PairSet":
        """The pairs of `files`."""
        return cls(
            [f.name for f in files], lambda i: files[i].read(), [f.rainy for f in files]
        )

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Pair]:
        return map(self.read, range(len(self)))

    def subset(self, positions: Iterable[int]) -> "PairSet":
        """The pairs at `positions`."""
        positions = list(positions)
        return PairSet(
            [self.names[i] for i in positions],
            lambda i: self.read(positions[i]),
            [self.files[i] for i in positions] if self.files else (),
        )


def stem(path: PurePath) -> str:
    """The file's name without extension and without `_rain`, `_clean`, `_gt`..."""
    return _SUFFIX.sub("", path.stem)


def natural(name: str) -> list[Any]:
    """Key that sorts 2 before 10."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if part.isdigit() else part for part in parts]


def match(
    rainy: Mapping[str, Iterable[_AnyPath]], clean: Mapping[str, Iterable[_AnyPath]]
) -> tuple[list[tuple[str, _AnyPath, _AnyPath]], list[_AnyPath]]:
    """Puts together what has the same name.

    Args:
      rainy: files by name (see `by_name`).
      clean: likewise.

    Returns:
      (name, rainy, clean) in natural order, and the files without a twin.

    Raises:
      UserError: two files of one side have the same name.
    """
    for side in (rainy, clean):
        for name, files in side.items():
            if len(files) > 1:
                first, second = sorted(map(str, files))[:2]
                raise UserError(
                    f"{first} and {second} both go by the name {name!r}; remove one"
                )
    names = sorted(rainy.keys() & clean.keys(), key=natural)
    alone = [
        side[name][0]
        for side, other in ((rainy, clean), (clean, rainy))
        for name in sorted(side.keys() - other.keys(), key=natural)
    ]
    return [(name, rainy[name][0], clean[name][0]) for name in names], alone


def by_name(
    paths: Iterable[_AnyPath], root: PurePath | None = None
) -> dict[str, list[_AnyPath]]:
    """Files by `stem`, with the folders between `root` and the file before it."""
    named: dict[str, list[_AnyPath]] = {}
    for path in paths:
        parent = path.parent.relative_to(root) if root else PurePath()
        named.setdefault((parent / stem(path)).as_posix(), []).append(path)
    return named


def find(
    folder: str | os.PathLike = "",
    rainy: str | os.PathLike = "",
    clean: str | os.PathLike = "",
) -> tuple[list[PairFiles], list[Path]]:
    """The pairs of a folder with one of `LAYOUTS`, or of two folders.

    Args:
      folder: holds the two folders; not needed where they are given.
      rainy: folder of rainy pictures.
      clean: folder of their twins.

    Returns:
      The pairs, in natural order, and the pictures without a twin.

    Raises:
      UserError: no such folders, no pictures, no pairs.
    """
    if bool(rainy) != bool(clean):
        raise UserError("give both data.rainy and data.clean, or data.dir alone")
    if not rainy:
        rainy, clean = _layout(folder)
    rainy, clean = Path(rainy), Path(clean)
    matched, alone = match(
        by_name(pictures.find_images(rainy), rainy),
        by_name(pictures.find_images(clean), clean),
    )
    if not matched:
        raise UserError(
            f"no picture in {rainy} has the name of one in {clean} "
            f"({alone[0].name}, {alone[-1].name}...); pairs are told by equal names, "
            "up to an ending such as _rain, _clean or _gt"
        )
    return [PairFiles(*m) for m in matched], alone


def _layout(folder: str | os.PathLike) -> tuple[Path, Path]:
    words = ", ".join(f"{rainy}/ and {clean}/" for rainy, clean in LAYOUTS)
    if not str(folder):
        raise UserError(
            f"data.dir is not set; give a folder that holds {words}, or give "
            "data.rainy and data.clean"
        )
    if not Path(folder).is_dir():
        raise UserError(f"{folder} is not a folder; give one that holds {words}")
    for rainy, clean in LAYOUTS:
        if Path(folder, rainy).is_dir() and Path(folder, clean).is_dir():
            return Path(folder, rainy), Path(folder, clean)
    raise UserError(
        f"{folder} holds none of {words}; give data.rainy and data.clean for folders "
        "with other names"
    )


def problem(pair: PairFiles) -> str | None:
    """What keeps a pair from being used, in a line; from the files' headers.

    8-bit RGB, gray, palette and opaque RGBA are fine, and so is EXIF rotation, which
    decoding undoes. 16 bits and CMYK would change in a conversion that is a matter of
    choice, and what transparency shows is not in the file.
    """
    try:
        sizes = [inspect(path) for path in (pair.rainy, pair.clean)]
    except UserError as error:
        return str(error)
    if sizes[0] != sizes[1]:
        height, width = sizes[0]
        other_height, other_width = sizes[1]
        return (
            f"{pair.rainy} is {width} x {height}, but {pair.clean} is "
            f"{other_width} x {other_height}; crop or remove them"
        )
    return None


def inspect(source: Path | bytes, name: str = "") -> tuple[int, int]:
    """(height, width), turned as EXIF says, of a picture that can be used in a pair.

    Args:
      source: a file, or the bytes of one.
      name: for messages, where `source` is bytes.

    Raises:
      UserError: no picture, 16 bits, CMYK or transparent.
    """
    name = name or str(source)
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
            if (
                image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
            ) and (image.convert("RGBA").getchannel("A").getextrema()[0] < 255):
                raise UserError(
                    f"{name} is transparent in places; save it without alpha"
                )
            return height, width
    except UnidentifiedImageError:
        raise UserError(f"{name} is no picture that can be read") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{name} cannot be decoded: {error}") from None


def load(
    folder: str | os.PathLike = "",
    rainy: str | os.PathLike = "",
    clean: str | os.PathLike = "",
) -> list[PairFiles]:
    """`find`, with a warning that names pictures without a twin, and all pairs checked.

    Raises:
      UserError: as `find`, or a pair with a `problem`.
    """
    found, alone = find(folder, rainy, clean)
    if alone:
        _LOG.warning("%d pictures without a twin: %s", len(alone), shorten(alone))
    problems = [text for text in map(problem, found) if text]
    if problems:
        more = f" (and {len(problems) - 1} more; --mode=check names them)"
        raise UserError(problems[0] + (more if problems[1:] else ""))
    return found


def shorten(names: Sequence[Any]) -> str:
    """The first of many names, and how many more there are."""
    text = ", ".join(map(str, names[:_NAMED]))
    return text + (f" and {len(names) - _NAMED} more" if names[_NAMED:] else "")
