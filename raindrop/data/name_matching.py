"""Which rainy picture and which ground truth belong together, by their names."""

import collections
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import TypeVar

from raindrop.data.pairs import natural
from raindrop.errors import UserError

_AnyPath = TypeVar("_AnyPath", bound=PurePath)

# Words that tell the side, in the names of folders and files.
RAINY = (
    "rainy|rain|raindrops?|drops?|rainstreaks?|streaks?|wet|inputs?|lq|degraded|rd|rs"
)
CLEAN = "clean|clear|gts?|targets?|norain|nodrop|dry|hq|groundtruth|reference"

RULE = (
    "pairs are told by equal names, up to words at either end such as rain-, norain-, "
    "_clean or _gt, or by the clean one's name followed by more (1_a.png and 1_b.png "
    "for 1.png)"
)
_WORDS = f"(?:{RAINY}|{CLEAN})"
_AT_THE_ENDS = re.compile(
    rf"^(?:{_WORDS}[_\-. ]+)+(?=.)|(?<=.)(?:[_\-. ]+{_WORDS})+$", re.IGNORECASE
)
_ANYWHERE = re.compile(rf"(?<![^\W\d_]){_WORDS}(?![^\W\d_])", re.IGNORECASE)
_SEPARATORS = re.compile(r"[_\-. ]+")


def stem(path: PurePath) -> str:
    """The file's name without extension, and without `_rain`, `norain-`, `_gt`..."""
    return _AT_THE_ENDS.sub("", path.stem)


def _bare(path: PurePath) -> str:
    """The file's name without such words anywhere, as in pie-rd-1 and pie-norain-1."""
    kept = _SEPARATORS.sub("-", _ANYWHERE.sub("", path.stem)).strip("-")
    return kept or path.stem


def words_of(path: PurePath) -> list[str]:
    """The words in the file's name that tell its side, in lower case."""
    return [word.lower() for word in _ANYWHERE.findall(path.stem)]


def match(
    rainy: Sequence[_AnyPath],
    clean: Sequence[_AnyPath],
    rainy_root: PurePath,
    clean_root: PurePath,
) -> tuple[list[tuple[str, _AnyPath, _AnyPath]], list[_AnyPath]]:
    """Finds the ground truth of rainy pictures by their names.

    Args:
      rainy: files.
      clean: files, each of which may be the ground truth of several.
      rainy_root: the folders from here on count as part of the name.
      clean_root: likewise.

    Returns:
      (name, rainy, clean) in natural order, and the rainy files without ground truth.

    Raises:
      UserError: two files of one side go by the same name.
    """
    found: list[tuple[str, _AnyPath, _AnyPath]] = []
    left = list(rainy)
    for key in (stem, _bare):
        truths = _by_key(clean, clean_root, key)
        found += _equal(_by_key(left, rainy_root, key), truths, rainy_root)
        done = {wet for _, wet, _ in found}
        left = [path for path in left if path not in done]
    if not found:
        truths = _by_key(clean, clean_root, stem)
        for rule in (_longer, _same_folder):
            found = rule(_by_key(left, rainy_root, stem), truths)
            if found:
                done = {wet for _, wet, _ in found}
                left = [path for path in left if path not in done]
                break
    counts = collections.Counter(name for name, _, _ in found)
    found = [
        (name if counts[name] == 1 else _full_name(wet, rainy_root), wet, dry)
        for name, wet, dry in found
    ]
    return sorted(found, key=lambda pair: natural(pair[0])), left


def _by_key(
    paths: Iterable[_AnyPath], root: PurePath, key: Callable[[PurePath], str]
) -> dict[str, list[_AnyPath]]:
    """Files by `key`, with the folders between `root` and the file before it."""
    keyed: dict[str, list[_AnyPath]] = {}
    for path in paths:
        name = (path.parent.relative_to(root) / key(path)).as_posix()
        keyed.setdefault(name, []).append(path)
    return keyed


def _full_name(path: PurePath, root: PurePath) -> str:
    return path.relative_to(root).with_suffix("").as_posix()


def _equal(
    rainy: Mapping[str, list[_AnyPath]],
    clean: Mapping[str, list[_AnyPath]],
    rainy_root: PurePath,
) -> list[tuple[str, _AnyPath, _AnyPath]]:
    """Pairs of equal names; several rainy ones whose words differ (rd-1 and rs-1)."""
    found = []
    for name in rainy.keys() & clean.keys():
        words = {tuple(words_of(path)) for path in rainy[name]}
        several = len(words) == len(rainy[name]) and () not in words
        if len(rainy[name]) > 1 and not several:
            raise _same_name(rainy[name], name)
        if len(clean[name]) > 1:
            raise _same_name(clean[name], name)
        for path in rainy[name]:
            own = _full_name(path, rainy_root) if len(rainy[name]) > 1 else name
            found.append((own, path, clean[name][0]))
    return found


def _same_name(paths: Sequence[PurePath], name: str) -> UserError:
    first, second = sorted(map(str, paths))[:2]
    return UserError(f"{first} and {second} both go by the name {name!r}; remove one")


def _longer(
    rainy: Mapping[str, list[_AnyPath]], clean: Mapping[str, list[_AnyPath]]
) -> list[tuple[str, _AnyPath, _AnyPath]]:
    """Pairs where the rainy one has the clean one's name and more, as im_1_s80.

    What follows must not change a number: 12 is no picture of 1.
    """
    found = []
    for name, paths in rainy.items():
        for end in range(len(name) - 1, 0, -1):
            before, after = name[end - 1], name[end]
            border = not after.isalnum() or (before.isdigit() and after.isalpha())
            if border and name[:end] in clean:
                truths = clean[name[:end]]
                if len(truths) > 1:
                    raise _same_name(truths, name[:end])
                found += [(name, path, truths[0]) for path in paths]
                break
    return found


def _same_folder(
    rainy: Mapping[str, list[_AnyPath]], clean: Mapping[str, list[_AnyPath]]
) -> list[tuple[str, _AnyPath, _AnyPath]]:
    """Pairs where a scene's folder has one ground truth for all of its pictures."""
    truths: dict[str, list[_AnyPath]] = {}
    for name, paths in clean.items():
        truths.setdefault(name.rpartition("/")[0], []).extend(paths)
    found = []
    for name, paths in rainy.items():
        scene = name.rpartition("/")[0]
        if scene and len(truths.get(scene, [])) == 1:
            found += [(name, path, truths[scene][0]) for path in paths]
    return found
