"""PyTorch's weight files as NumPy arrays, with neither torch nor trust.

A PyTorch file is a pickle, and a pickle may name any function to be called on load.
Here the few names that tensors need stand for functions of this module, and any other
name is refused. Two containers are read: the one of PyTorch before 1.6 (pickles one
after another, then the raw storages; the release's `gen.pkl` is one) and today's zip.
"""

import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np

from raindrop.errors import UserError

# The number that starts a file of PyTorch before 1.6, pickled.
LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_PROTOCOL_VERSION = 1001

_DTYPES = {
    "Double": np.float64,
    "Float": np.float32,
    "Half": np.float16,
    "BFloat16": ml_dtypes.bfloat16,
    "Long": np.int64,
    "Int": np.int32,
    "Short": np.int16,
    "Char": np.int8,
    "Byte": np.uint8,
    "Bool": np.bool_,
}
# Under which a training script may keep the weights, the wanted ones first.
_WRAPPERS = ("params_ema", "state_dict", "model", "params", "generator", "net")


class _Storage:
    """A run of numbers that tensors are views of; its bytes may come later."""

    def __init__(self, dtype: np.dtype, offset: int = 0) -> None:
        self.dtype = dtype
        self.offset = offset  # in elements, of a view into another storage
        self.root: _Storage = self
        self.data: bytes | None = None


class _Tensor:
    """A view of a storage, resolved when the storages are there."""

    def __init__(
        self, storage: _Storage, offset: int, shape: tuple, stride: tuple
    ) -> None:
        if not isinstance(storage, _Storage):
            raise pickle.UnpicklingError("a tensor without a storage")
        self.storage, self.offset = storage, offset
        self.shape, self.stride = tuple(shape), tuple(stride)

    def array(self) -> np.ndarray:
        """A copy of the numbers; bfloat16, which NumPy lacks, as float32."""
        dtype, data = self.storage.dtype, self.storage.root.data
        # NumPy checks that the view stays inside its buffer.
        view = np.ndarray(
            self.shape,
            dtype,
            buffer=data if data else b"",
            offset=(self.storage.offset + self.offset) * dtype.itemsize,
            strides=[s * dtype.itemsize for s in self.stride],
        )
        if view.nbytes > len(data or b""):  # strides of zero: a small file, huge arrays
            raise pickle.UnpicklingError("a tensor larger than its storage")
        is_bfloat16 = dtype.type is ml_dtypes.bfloat16
        return np.array(view, np.float32 if is_bfloat16 else dtype.newbyteorder("="))


class _StorageType:
    """Stands for torch.FloatStorage, torch.cuda.HalfStorage and so on."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype


class _Unpickler(pickle.Unpickler):
    """Builds tensors and containers, and nothing else."""

    def __init__(self, file: IO[bytes], path: Path, byteorder: str = "<") -> None:
        # Files written by Python 2 hold byte strings.
        super().__init__(file, encoding="utf-8")
        self.path = path
        self.byteorder = byteorder
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch", "Size"):
            return tuple
        if (module, name) == ("torch._utils", "_rebuild_tensor"):
            return self._tensor
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return self._parameter
        if module in ("torch", "torch.cuda") and name.endswith("Storage"):
            dtype = _DTYPES.get(name.removesuffix("Storage"))
            if dtype is not None:
                return _StorageType(np.dtype(dtype).newbyteorder(self.byteorder))
        raise UserError(
            f"{self.path} is refused: on load it asks for {module}.{name}, and weights "
            "need nothing but tensors (a whole pickled module must be saved again, "
            "with PyTorch, as torch.save(module.state_dict(), FILE))"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        if pid[0] == "module":
            raise UserError(
                f"{self.path} holds a whole pickled module; save its weights alone, "
                "with PyTorch: torch.save(module.state_dict(), FILE)"
            )
        if pid[0] != "storage" or not isinstance(pid[1], _StorageType):
            raise pickle.UnpicklingError(f"unknown persistent id {pid[0]!r}")
        _, storage_type, key, _, _, *view = pid
        root = self.storages.setdefault(str(key), _Storage(storage_type.dtype))
        if not view or view[0] is None:
            return root
        _, offset, _ = view[0]
        storage = _Storage(storage_type.dtype, offset)
        storage.root = root
        return storage

    # Bound methods, as nothing can be set on them from inside the pickle.
    def _tensor(
        self, storage: _Storage, offset: int, shape: tuple, stride: tuple, *_: Any
    ) -> _Tensor:
        return _Tensor(storage, offset, shape, stride)

    def _parameter(self, data: _Tensor, *_: Any) -> _Tensor:
        return data


def is_torch_file(path: str | os.PathLike) -> bool:
    """Whether a file starts, or is packed, as PyTorch's weight files are."""
    path = Path(path)
    with path.open("rb") as file:
        start = file.read(len(LEGACY_MAGIC))
    if start == LEGACY_MAGIC:
        return True
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(n.rpartition("/")[2] == "data.pkl" for n in archive.namelist())


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The tensors of a PyTorch state dict.

    A dictionary around the state dict ('state_dict', 'params', ...) and the prefix
    'module.' of DataParallel are taken off; numbers beside the tensors are left out.

    Args:
      path: what torch.save wrote, in its format of before 1.6 or in today's.

    Returns:
      Arrays by name in the dtype of the file, bfloat16 as float32.

    Raises:
      UserError: the file asks for more than tensors, is damaged, or holds none.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            if file.read(4) == b"PK\x03\x04":
                tree = _read_zip(path)
            else:
                file.seek(0)
                tree = _read_legacy(file, path)
        tensors = _state_dict(tree, path)
        return {name: tensor.array() for name, tensor in tensors.items()}
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    # Bytes that are no pickle make the unpickler raise nearly anything.
    except Exception as error:
        raise UserError(
            f"{path} is truncated or damaged, or no PyTorch weight file ({error})"
        ) from error


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        pickles = [n for n in names if n.rpartition("/")[2] == "data.pkl"]
        if not pickles:
            raise UserError(f"{path} is a zip file without PyTorch's data.pkl in it")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}constants.pkl" in names:
            raise UserError(
                f"{path} is a TorchScript program; save its weights alone, with "
                "PyTorch: torch.save(module.state_dict(), FILE)"
            )
        big = f"{folder}byteorder" in names and (
            archive.read(f"{folder}byteorder") == b"big"
        )
        with archive.open(pickles[0]) as file:
            unpickler = _Unpickler(file, path, ">" if big else "<")
            tree = unpickler.load()
        for key, storage in unpickler.storages.items():
            storage.data = archive.read(f"{folder}data/{key}")
        return tree


def _read_legacy(file: IO, path: Path) -> Any:
    if file.read(len(LEGACY_MAGIC)) != LEGACY_MAGIC:
        file.seek(0)
        _Unpickler(file, path).load()  # refuses by name what does not belong
        raise UserError(f"{path} is a pickle, but not one of PyTorch's")
    version = _Unpickler(file, path).load()
    if version != _PROTOCOL_VERSION:
        raise UserError(f"{path} has the unknown PyTorch protocol version {version}")
    system = _Unpickler(file, path).load()
    little = system.get("little_endian", True)
    unpickler = _Unpickler(file, path, "<" if little else ">")
    tree = unpickler.load()
    for key in _Unpickler(file, path).load():
        storage = unpickler.storages[str(key)]
        (count,) = struct.unpack("<q" if little else ">q", file.read(8))
        length = count * storage.dtype.itemsize
        missing = length - (os.fstat(file.fileno()).st_size - file.tell())
        if missing > 0:
            raise UserError(
                f"{path} is truncated: at least {missing} bytes are missing"
            )
        storage.data = file.read(length)
    return tree


def _state_dict(tree: Any, path: Path) -> dict[str, _Tensor]:
    if not isinstance(tree, Mapping):
        raise UserError(f"{path} holds a {type(tree).__name__}, not a state dict")
    tensors = {k: v for k, v in tree.items() if isinstance(v, _Tensor)}
    if not tensors:
        for wrapper in _WRAPPERS:
            if isinstance(tree.get(wrapper), Mapping):
                return _state_dict(tree[wrapper], path)
        raise UserError(f"{path} holds no tensors; it has {_shown(tree)}")
    if all(name.startswith("module.") for name in tensors):
        tensors = {k.removeprefix("module."): v for k, v in tensors.items()}
    return tensors


def _shown(tree: Mapping) -> str:
    names = [str(name) for name in tree]
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") or "nothing"
