"""How folders of pairs are laid out: which pictures are rainy, which is the clean one.

`find` takes, without anything being renamed,

- two folders whose names tell the sides apart: data/ and gt/ (Qian et al.), Drop/ and
  Clear/ (Raindrop Clarity), input/ and gt/ (AllWeather), rainy/ and clear/ (RobotCar),
  in/ and gt/ (Outdoor-Rain), NAME/ and NAME_gt/ (SPA-Data); or several folders of rainy
  pictures for one of clean ones (RainDS: raindrop/, rainstreak/, rainstreak_raindrop/
  and gt/); with scenes as folders inside them, or each scene with both of them inside;
- one folder with both sides, told by the beginning or the end of the names
  (rain-1.png and norain-1.png);
- pictures that hold both sides, left and right.

A rainy picture and its ground truth are told by their names; see `name_matching.match`.
"""

import dataclasses
import difflib
import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath

import numpy as np

from raindrop.data import name_matching, scenes
from raindrop.data.pairs import PairFiles, natural, shorten
from raindrop.errors import UserError
from raindrop.media import pictures

_LOG = logging.getLogger(__name__)

# These tell it only where they are the whole name of a folder.
_RAINY_FOLDERS = {"data", "in"}
# What comes with pairs and is neither side: blurred pictures, masks of the drops.
_ASIDE = "blur|blurred|masks?"
_SPLITS = re.compile(
    r"(?<![a-z])(train(ing)?|test|val(id|idation)?|eval)(?![a-z])", re.IGNORECASE
)
_EXAMPLES = "data/ and gt/, input/ and gt/, Drop/ and Clear/ or the like"


def find(
    folder: str | os.PathLike = "",
    rainy: str | os.PathLike = "",
    clean: str | os.PathLike = "",
) -> tuple[list[PairFiles], list[Path]]:
    """The pairs of a folder, or of two folders.

    What was taken for what, and what was left aside, is logged.

    Args:
      folder: laid out in one of the ways above; not needed where two folders are given.
      rainy: folder of rainy pictures, inside `folder` or by itself. Or 'left' or
        'right', where each picture of `folder` holds both.
      clean: likewise of their ground truth.

    Returns:
      The pairs, in natural order, and the pictures without a counterpart.

    Raises:
      UserError: no such folders, no pictures, no pairs.
    """
    if bool(rainy) != bool(clean):
        raise UserError("give both data.rainy and data.clean, or data.dir alone")
    if rainy:
        if str(folder) and {str(rainy), str(clean)} == {"left", "right"}:
            inside = [Path(folder, name) for name in ("left", "right")]
            if not all(path.is_dir() for path in inside):
                return _side_by_side(Path(folder), str(rainy)), []
        sides = [_inside(folder, side) for side in (rainy, clean)]
        return _match_folders({"": sides[0]}, sides[1])
    if not str(folder):
        raise UserError(
            f"data.dir is not set; give a folder that holds {_EXAMPLES}, or give "
            "data.rainy and data.clean"
        )
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give one that holds {_EXAMPLES}")
    return _find_in(folder)


def _inside(folder: str | os.PathLike, side: str | os.PathLike) -> Path:
    inside = Path(folder, side)
    return inside if str(folder) and inside.is_dir() else Path(side)


def _find_in(folder: Path) -> tuple[list[PairFiles], list[Path]]:
    sides = _Sides.of(folder)
    if sides:
        sides.say()
        return _match_folders(sides.rainy, sides.clean)
    found = {sub: _Sides.of(sub) for sub in _subfolders(folder)}
    by_scene = {sub: inside for sub, inside in found.items() if inside}
    if len(by_scene) == 1:
        return _find_in(*by_scene)
    if any(_SPLITS.search(sub.name) for sub in by_scene):
        names = " or ".join(sub.name for sub in by_scene)
        raise UserError(
            f"{folder} holds several sets of pairs; set data.dir to one: {names}"
        )
    if by_scene:
        _LOG.info("%s: %d scenes", folder, len(by_scene))
        return _match_scenes(by_scene)
    paths = _images(folder)
    pairs = _one_folder(folder, paths)
    if pairs:
        return pairs
    if paths and _look_side_by_side(paths):
        return _side_by_side(folder, "left"), []
    raise UserError(
        f"{folder} holds none of {_EXAMPLES}, no two pictures that differ by rain- and "
        "norain-, _rain and _clean or the like, and no pictures of two alike halves; "
        "give data.rainy and data.clean for folders with other names"
    )


@dataclasses.dataclass(frozen=True)
class _Sides:
    """The folders of a set: rainy ones by name, the clean one, and what is neither."""

    rainy: dict[str, Path]
    clean: Path
    aside: list[Path]

    @classmethod
    def of(cls, folder: Path) -> "_Sides | None":
        """By the names of the folders in `folder`; None where they do not tell.

        Raises:
          UserError: several folders of clean pictures.
        """
        by_side: dict[str, list[Path]] = {"rainy": [], "clean": [], "aside": [], "": []}
        for sub in _subfolders(folder):
            by_side[_side(sub.name)].append(sub)
        rainy, clean = by_side["rainy"], by_side["clean"]
        if clean and not rainy:
            rainy = [sub for sub in by_side[""] if _images(sub)]
            by_side[""] = []
            if len(rainy) != 1:
                return None
        if not clean or not rainy:
            return None
        if len(clean) > 1:
            several = " and ".join(sub.name for sub in clean)
            raise UserError(
                f"{folder} holds several folders of clean pictures ({several}); say "
                "which with data.rainy and data.clean"
            )
        aside = [sub for sub in by_side["aside"] + by_side[""] if _images(sub)]
        names = [sub.name if rainy[1:] else "" for sub in rainy]
        return cls(dict(zip(names, rainy, strict=True)), clean[0], aside)

    def say(self) -> None:
        """Logs which folder was taken for what."""
        rainy = ", ".join(f"{path.name}/" for path in self.rainy.values())
        text = f"{self.clean.parent}: {rainy} rainy, {self.clean.name}/ clean"
        if len(self.rainy) > 1:
            text += "; for one of them alone give data.rainy and data.clean"
        _LOG.info("%s", text)
        for path in self.aside:
            count = len(_images(path))
            _LOG.info("%s/ is left aside (%d pictures)", path, count)


def _side(name: str) -> str:
    """'rainy', 'clean', 'aside' or '' for the name of a folder."""
    name = name.lower()
    if name in _RAINY_FOLDERS:
        return "rainy"
    name = re.sub(r"no[_\- ]rain|rain[_\- ]?free", "norain", name)
    words = re.split(r"[^a-z]+", re.sub(r"ground[_\- ]truth", "groundtruth", name))
    for side, known in (
        ("clean", name_matching.CLEAN),
        ("aside", _ASIDE),
        ("rainy", name_matching.RAINY),
    ):
        if any(re.fullmatch(known, word) for word in words):
            return side
    return ""


def _subfolders(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith((".", "__MACOSX"))
    )


def _images(folder: Path) -> list[Path]:
    try:
        return pictures.find_images(folder)
    except UserError:
        return []


def _match_folders(
    rainy: Mapping[str, Path], clean: Path
) -> tuple[list[PairFiles], list[Path]]:
    """The pairs of folders of rainy pictures with the one of their ground truth."""
    truths = pictures.find_images(clean)
    found: list[PairFiles] = []
    alone: list[Path] = []
    unmatched: list[str] = []
    for label, folder in rainy.items():
        paths = pictures.find_images(folder)
        matched, left = name_matching.match(paths, truths, folder, clean)
        if not matched:
            unmatched.append(_no_match(folder, clean, paths, truths))
        for name, wet, dry in matched:
            scene = dry.parent.relative_to(clean).as_posix()
            name = f"{label}/{name}" if label else name
            found.append(PairFiles(name, wet, dry, "" if scene == "." else scene))
        alone += left
    if not found:
        raise UserError(unmatched[0])
    for line in unmatched:
        _LOG.warning("%s", line)
    used = {pair.clean for pair in found}
    return found, alone + [path for path in truths if path not in used]


def _no_match(
    rainy: Path, clean: Path, wet: Sequence[Path], dry: Sequence[Path]
) -> str:
    near = difflib.get_close_matches(wet[0].name, [p.name for p in dry], 1, 0.0)
    return (
        f"no picture in {rainy} has the name of one in {clean} (nearest to "
        f"{wet[0].name} is {near[0]}); {name_matching.RULE}"
    )


def _match_scenes(folders: Mapping[Path, _Sides]) -> tuple[list[PairFiles], list[Path]]:
    """The pairs of folders of scenes, each with its rainy and clean folder inside."""
    found: list[PairFiles] = []
    alone: list[Path] = []
    for folder, sides in folders.items():
        pairs, left = _match_folders(sides.rainy, sides.clean)
        found += [
            dataclasses.replace(
                pair,
                name=f"{folder.name}/{pair.name}",
                scene=(PurePath(folder.name) / pair.scene).as_posix(),
            )
            for pair in pairs
        ]
        alone += left
    return found, alone


def _one_folder(
    folder: Path, paths: Sequence[Path]
) -> tuple[list[PairFiles], list[Path]] | None:
    """The pairs of a folder with both sides in it, told by words in the names."""
    by_side: dict[str, list[Path]] = {"rainy": [], "clean": [], "": []}
    for path in paths:
        words = name_matching.words_of(path)
        # The last word decides, as in clear_sky_rain.png.
        is_clean = [
            re.fullmatch(name_matching.CLEAN, word) is not None for word in words
        ]
        side = ("clean" if is_clean[-1] else "rainy") if words else ""
        by_side[side].append(path)
    # X.png and X_gt.png, or X.png and X_rain.png: what has no word is the other side.
    for side, other in (("rainy", "clean"), ("clean", "rainy")):
        if not by_side[side] and by_side[other]:
            by_side[side], by_side[""] = by_side[""], []
    if not by_side["rainy"] or not by_side["clean"]:
        return None
    matched, alone = name_matching.match(
        by_side["rainy"], by_side["clean"], folder, folder
    )
    if not matched:
        return None
    used = {dry for _, _, dry in matched}
    alone += [path for path in by_side["clean"] if path not in used] + by_side[""]
    _LOG.info("%s: both sides in one folder, told by their names", folder)

    def scene(path: Path) -> str:
        parent = path.parent.relative_to(folder).as_posix()
        return "" if parent == "." else parent

    return [PairFiles(name, wet, dry, scene(dry)) for name, wet, dry in matched], alone


def _look_side_by_side(paths: Sequence[Path]) -> bool:
    """Whether the halves of the first pictures show the same."""
    for path in paths[:3]:
        try:
            pair = PairFiles("", path, path, rainy_half="left").read()
        except UserError:
            return False
        halves = np.stack([scenes.thumbnail(pair.rainy), scenes.thumbnail(pair.clean)])
        left, right = scenes.unit(halves)
        if left @ right < _HALVES_ALIKE:
            return False
    return True


_HALVES_ALIKE = 0.7  # correlation of two small thumbnails, at most 1


def _side_by_side(folder: Path, rainy_half: str) -> list[PairFiles]:
    clean_half = "right" if rainy_half == "left" else "left"
    _LOG.info(
        "%s: each picture holds both sides; the %s half is taken for the rainy one "
        "(data.rainy=%s data.clean=%s for the other way round)",
        *(folder, rainy_half, clean_half, rainy_half),
    )
    found = []
    for path in pictures.find_images(folder):
        inside = path.relative_to(folder)
        scene = inside.parent.as_posix()
        name = inside.with_suffix("").as_posix()
        scene = "" if scene == "." else scene
        found.append(PairFiles(name, path, path, scene, rainy_half))
    return sorted(found, key=lambda pair: natural(pair.name))


@dataclasses.dataclass(frozen=True)
class Usable:
    """The pairs of a set that can be used.

    Attributes:
      files: of the pairs.
      sizes: (height, width) of each.
      failed: a line for every pair that was left out.
    """

    files: list[PairFiles]
    sizes: list[tuple[int, int]]
    failed: list[str]


def usable(found: Iterable[PairFiles]) -> Usable:
    """Looks through the headers of all pairs."""
    result = Usable([], [], [])
    for pair in found:
        try:
            size = pair.inspect()
        except UserError as error:
            result.failed.append(str(error))
        else:
            result.files.append(pair)
            result.sizes.append(size)
    return result


def find_usable(
    folder: str | os.PathLike = "",
    rainy: str | os.PathLike = "",
    clean: str | os.PathLike = "",
    skip: bool = False,
) -> Usable:
    """`find`, with a warning that names pictures without a counterpart, and `usable`.

    Args:
      folder: as in `find`.
      rainy: likewise.
      clean: likewise.
      skip: name and leave out the pairs that cannot be used.

    Raises:
      UserError: as `find`; pairs that cannot be used, or none that can.
    """
    found, alone = find(folder, rainy, clean)
    if alone:
        _LOG.warning(
            "%d pictures without a counterpart: %s; %s",
            *(len(alone), shorten(alone), name_matching.RULE),
        )
    pairs = usable(found)
    if pairs.failed and not (skip and pairs.files):
        others = len(pairs.failed) - 1
        more = f" (and {others} more; check names them)" if others else ""
        if not skip:
            more += "; data.on_error=skip leaves such pairs out"
        raise UserError(pairs.failed[0] + more)
    for line in pairs.failed:
        _LOG.warning("%s; left out", line)
    return pairs
