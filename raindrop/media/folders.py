"""What is in a folder, or meant by a pattern: linked folders too, and no loops."""

import fnmatch
import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

_LOOP = "a link back to a folder that it is in"
_Found = Iterator[tuple[Path, str]]


def below(folder: Path) -> _Found:
    """All files below `folder`, sorted.

    Links to folders are followed, but for those that lead back to a folder that they
    are in. Hidden folders are not entered.

    Yields:
      Path, and why it cannot be taken (empty if it can).
    """
    problems: list[tuple[Path, str]] = []

    def unreadable(error: OSError) -> None:
        problems.append((Path(error.filename), f"cannot be read ({error.strerror})"))

    for place, names, files in os.walk(folder, followlinks=True, onerror=unreadable):
        names.sort()
        for name in list(names):
            path = Path(place, name)
            if name.startswith("."):
                names.remove(name)
                yield path, "hidden"
            elif path.is_symlink() and _leads_back(path, folder):
                names.remove(name)
                yield path, _LOOP
        for name in sorted(files):
            path = Path(place, name)
            yield path, _problem(path)
    yield from problems


def matching(pattern: Path) -> tuple[Path, list[tuple[Path, str]]]:
    """The files that a pattern means, as `below` gives them, sorted.

    What exists under a name with brackets is meant itself, as are the brackets of a
    pattern that otherwise matches nothing.

    Returns:
      The folder that the pattern starts at, and the files.
    """
    start = Path(pattern.anchor)
    parts = list(pattern.parts[1:] if pattern.anchor else pattern.parts)
    while parts and os.path.lexists(start / parts[0]):
        start /= parts.pop(0)
    literal = [part.replace("[", "[[]") for part in parts]
    return start, _found(start, parts) or _found(start, literal)


def _found(start: Path, parts: list[str]) -> list[tuple[Path, str]]:
    if "**" in parts:  # `glob` would go round in loops
        return sorted(
            (path, problem)
            for path, problem in below(start)
            if problem == _LOOP or _matches(path.relative_to(start).parts, parts)
        )
    names = glob.glob(os.path.join(*parts) if parts else ".", root_dir=start)
    paths = sorted(start / name for name in names)
    return [
        (
            path,
            "a folder (end in ** for its files)" if path.is_dir() else _problem(path),
        )
        for path in paths
    ]


def _matches(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether a path's names fit a pattern's parts; `**` stands for any number."""
    if not parts:
        return not names
    if parts[0] != "**":
        fits = bool(names) and fnmatch.fnmatchcase(names[0], parts[0])
        return fits and _matches(names[1:], parts[1:])
    if len(parts) == 1:
        return True
    return any(_matches(names[i:], parts[1:]) for i in range(len(names) + 1))


def _problem(path: Path) -> str:
    if path.name.startswith("."):
        return "hidden"
    if path.is_file():
        return ""
    return "a link that leads nowhere" if path.is_symlink() else "not a file"


def _leads_back(link: Path, start: Path) -> bool:
    """Whether a linked folder is one of those that were entered to come to it."""
    target = os.path.realpath(link)
    folder = link.parent
    while True:
        if Path(os.path.realpath(folder)).is_relative_to(target):
            return True
        if folder in (start, folder.parent):
            return False
        folder = folder.parent
