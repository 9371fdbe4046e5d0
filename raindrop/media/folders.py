"""What is in a folder, or meant by a pattern: linked folders too, and no loops."""

import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path

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
                yield path, "a link back to a folder that it is in"
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
    rest = os.path.join(*parts) if parts else "."
    names = glob.glob(rest, root_dir=start, recursive=True)
    names = names or glob.glob(
        re.sub(r"\[", "[[]", rest), root_dir=start, recursive=True
    )
    found = []
    for path in sorted(start / name for name in names):
        if path.is_dir():
            # `**` matches each folder on its way; another pattern may mean its files.
            if "**" not in parts:
                found.append((path, "a folder (end the pattern in ** for its files)"))
        elif not any(_leads_back(f, start) for f in _links_above(path, start)):
            found.append((path, _problem(path)))
    return start, found


def _problem(path: Path) -> str:
    if path.name.startswith("."):
        return "hidden"
    if path.is_file():
        return ""
    return "a link that leads nowhere" if path.is_symlink() else "not a file"


def _links_above(path: Path, start: Path) -> list[Path]:
    return [
        folder
        for folder in path.parents
        if folder != start and folder.is_relative_to(start) and folder.is_symlink()
    ]


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
