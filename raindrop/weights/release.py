"""The released generator's PyTorch weights (rui1996/DeRaindrop) as a Flax tree."""

from collections.abc import Mapping

import numpy as np

# Sequential(conv, ...) of the release -> path in our tree. The gates are apart.
_CONVS = {
    "det_conv0.0": "attention/step/input",
    **{
        f"det_conv{i}.{2 * j - 2}": f"attention/step/block{i}_conv{j}"
        for i in range(1, 6)
        for j in (1, 2)
    },
    "det_conv_mask.0": "attention/step/map",
    **{f"conv{i}.0": f"autoencoder/conv{i}" for i in range(1, 11)},
    **{f"diconv{i}.0": f"autoencoder/dilated{i}" for i in range(1, 5)},
    "deconv1.0": "autoencoder/up1/conv",
    "deconv2.0": "autoencoder/up2/conv",
    "outframe1.0": "autoencoder/output_quarter",
    "outframe2.0": "autoencoder/output_half",
    "output.0": "autoencoder/output",
}
_GATES = ("conv_i.0", "conv_f.0", "conv_g.0", "conv_o.0")
_GATES_PATH = "attention/step/gates"


def conv_kernel(weight: np.ndarray) -> np.ndarray:
    """Conv2d's OIHW to HWIO."""
    return weight.transpose(2, 3, 1, 0)


def transposed_kernel(weight: np.ndarray) -> np.ndarray:
    """ConvTranspose2d's IOHW to the HWIO of `nn.ConvTranspose`, which does not flip."""
    return weight.transpose(2, 3, 0, 1)[::-1, ::-1]


def to_flax(tensors: Mapping[str, np.ndarray]) -> dict:
    """Generator parameters from the release's state dict.

    Args:
      tensors: arrays by name, such as 'det_conv0.0.weight'.

    Returns:
      The tree that `Generator` of the default fields takes as 'params'.

    Raises:
      KeyError: a tensor is missing.
    """
    tree: dict = {}

    def put(path: str, kernel: np.ndarray, bias: np.ndarray) -> None:
        *parents, leaf = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = {"kernel": np.ascontiguousarray(kernel), "bias": bias}

    for name, path in _CONVS.items():
        convert = transposed_kernel if name.startswith("deconv") else conv_kernel
        put(path, convert(tensors[f"{name}.weight"]), tensors[f"{name}.bias"])
    gates = [conv_kernel(tensors[f"{name}.weight"]) for name in _GATES]
    biases = [tensors[f"{name}.bias"] for name in _GATES]
    put(_GATES_PATH, np.concatenate(gates, -1), np.concatenate(biases))
    return tree
