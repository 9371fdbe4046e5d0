"""Files that are whole at every moment, by names that every file system takes."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: two processes on one file are not noticed there
    fcntl = None  # type: ignore[assignment]

LONGEST_NAME = 255  # bytes, where the file system does not say


class InUseError(OSError):
    """Another process, or another thread of this one, writes the same file now."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to, which then takes the place of `path`.

    Makes the folder. What was written is removed again where something went wrong. The
    name is locked meanwhile: whoever else wants to write `path` is told. The kernel
    lets go of the lock when a process ends, so that what a killed one left is no
    obstacle.

    Raises:
      InUseError: someone else is writing `path`.
      OSError: the folder cannot be made or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = beside(path, ".part", hidden=True)
    descriptor = _lock(part, path)
    try:
        yield part
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Keeps others from `path` while it is made of several files beside it.

    Raises:
      InUseError: someone else holds it.
      OSError: the folder cannot be made or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = beside(path, ".lock", hidden=True)
    descriptor = _lock(lock, path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()
        os.close(descriptor)


def _lock(path: Path, what: Path) -> int:
    """Makes and locks the file `path`, which stands for `what`."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if fcntl is None:
            return descriptor
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise InUseError(f"{what} is being written by another process") from None
        except OSError:
            return descriptor  # a file system without locks
        # Between opening and locking, the holder before may have renamed the file or
        # removed it: then what is locked is not what has the name.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        os.close(descriptor)


def beside(path: Path, ending: str, hidden: bool = False) -> Path:
    """The name of a file that belongs to `path`: its name and `ending`.

    Shortened where the file system takes no name that long; a digest of the whole name
    then keeps such names apart.

    Args:
      path: the file that it belongs to.
      ending: with its dot.
      hidden: whether the name begins with a dot.
    """
    start = b"." if hidden else b""
    name, end = os.fsencode(path.name), os.fsencode(ending)
    longest = _longest_name(path.parent)
    if len(start + name + end) > longest:
        digest = b"~" + hashlib.sha256(name).hexdigest()[:12].encode()
        cut = name[: longest - len(start + digest + end)]
        # Not in the middle of a character, if the name is UTF-8 at all.
        with contextlib.suppress(UnicodeDecodeError):
            name.decode()
            cut = cut.decode(errors="ignore").encode()
        name = cut + digest
    return path.with_name(os.fsdecode(start + name + end))


def _longest_name(folder: Path) -> int:
    """In bytes, as the file system of `folder`, or of its nearest parent, has it."""
    for place in (folder, *folder.parents):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            return os.pathconf(place, "PC_NAME_MAX")
    return LONGEST_NAME
