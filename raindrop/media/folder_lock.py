"""One process at a time in a folder."""

import errno
import fcntl
import os
import socket
from pathlib import Path

from raindrop.errors import UserError

NAME = "run.lock"


class FolderLock:
    """Holds a folder, from `with` to its end, for this process alone.

    The kernel lets go of the lock when its process ends, whatever ended it: the file
    that a killed run leaves behind locks nobody out. Its text says who holds it.

    Args:
      folder: made if it is missing, and removed again if nothing was put into it.
      instead: what to do where it cannot be had.
    """

    def __init__(
        self, folder: str | Path, instead: str = "give another --workdir"
    ) -> None:
        self._folder, self._instead = Path(folder), instead
        self._path = self._folder / NAME

    def __enter__(self) -> "FolderLock":
        """Takes the lock.

        Raises:
          UserError: another process holds it, or the folder cannot be written.
        """
        try:
            self._made = [
                folder
                for folder in (self._folder, *self._folder.parents)
                if not folder.exists()
            ]
            self._descriptor = self._lock()
            text = f"process {os.getpid()} on {socket.gethostname()}"
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text.encode(), 0)
        except OSError as error:
            raise UserError(
                f"{self._folder} cannot be written ({error.strerror}); {self._instead}"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        for folder in self._made:
            try:
                folder.rmdir()
            except OSError:  # something was put into it
                break

    def _lock(self) -> int:
        while True:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = os.pread(descriptor, 200, 0).decode(errors="replace")
                os.close(descriptor)
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    raise
                raise UserError(
                    f"{self._folder} is in use by {holder or 'another process'}; "
                    f"end that one first, or {self._instead}"
                ) from None
            # The holder before us may have removed the file after we had opened it, or
            # the folder with it;
            # then we have locked something that nobody else will find.
            try:
                if os.path.samestat(os.fstat(descriptor), os.stat(self._path)):
                    return descriptor
            except FileNotFoundError:
                pass
            os.close(descriptor)
