"""The released generator's PyTorch weights (rui1996/DeRaindrop) as a Flax tree."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from raindrop.weights.layout import BIAS, IOHW, OIHW, Place, assemble

# The release works on what cv2.imread gives, over 255. The other fields are defaults.
FIELDS = {
    "attention": {"steps": 4},
    "autoencoder": {"dilations": (2, 4, 8, 16)},
    "bgr": True,
}

# Sequential(conv, ...) of the release -> path in our tree.
_CONVS = {
    "det_conv0.0": "attention/step/input",
    **{
        f"det_conv{i}.{2 * j - 2}": f"attention/step/block{i}_conv{j}"
        for i in range(1, 6)
        for j in (1, 2)
    },
    # The four gates are one convolution here.
    **{f"conv_{gate}.0": "attention/step/gates" for gate in "ifgo"},
    "det_conv_mask.0": "attention/step/map",
    **{f"conv{i}.0": f"autoencoder/conv{i}" for i in range(1, 11)},
    **{f"diconv{i}.0": f"autoencoder/dilated{i}" for i in range(1, 5)},
    "deconv1.0": "autoencoder/up1/conv",
    "deconv2.0": "autoencoder/up2/conv",
    "outframe1.0": "autoencoder/output_quarter",
    "outframe2.0": "autoencoder/output_half",
    "output.0": "autoencoder/output",
}


def _places() -> dict[str, Place]:
    places = {}
    for name, path in _CONVS.items():
        transposed = name.startswith("deconv")
        places[f"{name}.weight"] = Place(
            f"{path}/kernel", IOHW if transposed else OIHW, flip=transposed
        )
        places[f"{name}.bias"] = Place(f"{path}/bias", BIAS)
    return places


PLACES = _places()


def to_flax(tensors: Mapping[str, np.ndarray], source: str = "the release") -> Any:
    """Generator parameters from the release's state dict.

    Args:
      tensors: arrays by name, such as 'det_conv0.0.weight'.
      source: what to call the file in errors.

    Returns:
      The tree that the generator of `FIELDS` takes as 'params'.

    Raises:
      UserError: a tensor is missing, is none of the network's, or has a wrong shape.
    """
    return assemble(tensors, PLACES, FIELDS, source)
