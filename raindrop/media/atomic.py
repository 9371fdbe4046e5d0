"""Files that are whole at every moment."""

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to, which then takes the place of `path`.

    Makes the folder. What was written is removed again where something went wrong.

    Raises:
      OSError: the folder cannot be made or written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    finally:
        # Not there, or below what is no folder: of that the error above tells.
        with contextlib.suppress(OSError):
            part.unlink()
