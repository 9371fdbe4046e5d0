"""Decoded pictures by position, as many of them kept as fit into memory."""

import logging
import threading
from collections.abc import Callable, Sequence

import numpy as np

from raindrop.errors import UserError

_LOG = logging.getLogger(__name__)


class PictureCache:
    """The pictures that a run trains on.

    What is kept changes the time only, never a value. Safe to call from threads.

    Args:
      names: of the pictures, for messages; as many as there are.
      decode: position to uint8 [H, W, C]: RGB of a clean photograph that drops are to
        be rendered on, or six channels, the rainy picture before the clean one.
      rendered: whether it is the former.
      cache_bytes: to keep at most.
      skip: the picture after it stands in for one that cannot be decoded, every time.
    """

    def __init__(
        self,
        names: Sequence[str],
        decode: Callable[[int], np.ndarray],
        rendered: bool,
        cache_bytes: int,
        skip: bool = False,
    ) -> None:
        self.names = list(names)
        self.rendered = rendered
        self._decode = decode
        self._left = cache_bytes
        self._skip = skip
        self._skipped: set[int] = set()
        self._kept: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.names)

    def __call__(self, position: int) -> np.ndarray:
        """What `decode` gives at `position`.

        Raises:
          UserError: a picture that cannot be decoded, or none that can.
        """
        for distance in range(len(self)):
            candidate = (position + distance) % len(self)
            try:
                return self._read(candidate)
            except UserError as error:
                if not self._skip:
                    raise
                with self._lock:
                    if candidate not in self._skipped:
                        self._skipped.add(candidate)
                        _LOG.warning("%s; the picture after it is taken", error)
        raise UserError("none of the pictures to train on can be decoded")

    def _read(self, position: int) -> np.ndarray:
        image = self._kept.get(position)
        if image is None:
            image = self._decode(position)
            with self._lock:
                if position not in self._kept and image.nbytes <= self._left:
                    self._kept[position] = image
                    self._left -= image.nbytes
        return image
