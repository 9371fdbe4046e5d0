"""Where a result comes from: what is written beside every number and checkpoint."""

import datetime
import hashlib
import importlib.metadata
import platform
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

import raindrop

# Whose versions can change a number.
_PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "scikit-image",
    "opencv-python-headless",
    "pillow",
)


def versions() -> dict[str, str]:
    """Of raindrop, Python and the libraries ('unknown' where one is not installed)."""
    found = {"raindrop": raindrop.__version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found


def now() -> str:
    """Date and time, UTC, as '2026-11-25T21:30:00+00:00'."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


class Digest:
    """sha256 over pictures, one after the other: the same only for the same data."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()

    def add(self, *images: np.ndarray) -> None:
        """Pictures of any shape."""
        for image in images:
            self._sha.update(f"{image.dtype} {image.shape}".encode())
            self._sha.update(np.ascontiguousarray(image).tobytes())

    def hexdigest(self) -> str:
        """Of all added so far."""
        return self._sha.hexdigest()


def lines(record: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """A record as pairs of names and short texts, for people; the config left out."""
    for name, value in record.items():
        if name == "config":
            continue
        if isinstance(value, dict):
            value = ", ".join(f"{k} {v}" for k, v in value.items() if v != "")
        yield name, str(value)
