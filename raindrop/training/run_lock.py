"""One run at a time in a work directory."""

import errno
import fcntl
import os
import socket
from pathlib import Path

from raindrop.errors import UserError

NAME = "run.lock"


class RunLock:
    """Holds a work directory, from `with` to its end, for this process alone.

    The kernel lets go of the lock when its process ends, whatever ended it: the file
    that a killed run leaves behind locks nobody out. Its text says who holds it.
    The package filelock would spare the one call of `flock`; the text, and that neither
    the file nor folders made for it are left behind, would stay to be done here.

    Args:
      workdir: made if it is missing, and removed again if nothing was put into it.
    """

    def __init__(self, workdir: str | Path) -> None:
        self._workdir = Path(workdir)
        self._path = self._workdir / NAME

    def __enter__(self) -> "RunLock":
        """Takes the lock.

        Raises:
          UserError: another process holds it, or the folder cannot be written.
        """
        try:
            self._made = [
                folder
                for folder in (self._workdir, *self._workdir.parents)
                if not folder.exists()
            ]
            self._workdir.mkdir(parents=True, exist_ok=True)
            self._descriptor = self._lock()
            text = f"process {os.getpid()} on {socket.gethostname()}"
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text.encode(), 0)
        except OSError as error:
            raise UserError(
                f"{self._workdir} cannot be written ({error.strerror}); "
                "give another --workdir"
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
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = os.pread(descriptor, 200, 0).decode(errors="replace")
                os.close(descriptor)
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    raise
                raise UserError(
                    f"{self._workdir} is in use by {holder or 'another process'}; "
                    "end that one first, or give another --workdir"
                ) from None
            # The holder before us may have removed the file after we had opened it;
            # then we have locked something that nobody else will find.
            try:
                if os.path.samestat(os.fstat(descriptor), os.stat(self._path)):
                    return descriptor
            except FileNotFoundError:
                pass
            os.close(descriptor)
