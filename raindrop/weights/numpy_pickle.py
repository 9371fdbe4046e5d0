"""Pickles of NumPy arrays, with neither the package that wrote them nor trust.

A pickle may name any function to be called on load. Here the three names that an array
needs stand for classes of this module, which keep the bytes, and any other name is
refused.
"""

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from raindrop.errors import UserError

_KINDS = "fiub"  # floats, integers, booleans: dtypes whose bytes are the numbers


class _Dtype:
    """Stands for numpy.dtype."""

    def __init__(self, name: str, *_: Any) -> None:
        self.name, self.byteorder = str(name), "="

    def __setstate__(self, state: tuple) -> None:
        self.byteorder = {"|": "="}.get(state[1], state[1])

    def dtype(self) -> np.dtype:
        dtype = np.dtype(self.name)
        if dtype.kind not in _KINDS:
            raise pickle.UnpicklingError(f"an array of {self.name!r}")
        return dtype.newbyteorder(self.byteorder)  # type: ignore[arg-type]


class _Array:
    """Stands for an array that numpy._core.multiarray._reconstruct begins."""

    def __init__(self, *_: Any) -> None:
        self.state: tuple | None = None

    def __setstate__(self, state: tuple) -> None:
        self.state = state

    def array(self) -> np.ndarray:
        _, shape, dtype, fortran, data = self.state or ()
        flat = np.frombuffer(data, dtype.dtype())
        array = flat.reshape(shape, order="F" if fortran else "C")
        return np.array(array, array.dtype.newbyteorder("="), order="C")


_STANDS_FOR = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): "ndarray",
    # As NumPy called it before 2.0, and since.
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
}


class _Unpickler(pickle.Unpickler):
    """Builds arrays and containers, and nothing else."""

    path: Path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STANDS_FOR:
            raise UserError(
                f"{self.path} is refused: on load it asks for {module}.{name}, and "
                "weights need nothing but NumPy arrays"
            )
        return _STANDS_FOR[module, name]


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of a pickled tree of dictionaries.

    Args:
      path: what pickle.dump wrote, from its protocol 3 on.

    Returns:
      Arrays by the names on the way to them, as 'VGG16_0/Conv_0/kernel'.

    Raises:
      UserError: the file asks for more than arrays, is damaged, or holds none.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            unpickler = _Unpickler(file)
            unpickler.path = path
            return _flat(unpickler.load())
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    # Bytes that are no pickle make the unpickler raise nearly anything.
    except Exception as error:
        raise UserError(
            f"{path} is truncated or damaged, or holds no arrays ({error})"
        ) from error


def _flat(tree: Any, prefix: str = "") -> dict[str, np.ndarray]:
    if not isinstance(tree, Mapping):
        raise pickle.UnpicklingError(f"a {type(tree).__name__} in place of arrays")
    arrays = {}
    for name, value in tree.items():
        if isinstance(value, _Array):
            arrays[f"{prefix}{name}"] = value.array()
        else:
            arrays |= _flat(value, f"{prefix}{name}/")
    return arrays
