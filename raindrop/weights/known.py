"""Well-known networks by the names of their tensors, to say what a file holds."""

from collections.abc import Mapping

import numpy as np

# Blocks in the four stages, and whether they are bottlenecks, of He et al. 2016.
_RESNETS: dict[tuple[tuple[int, ...], bool], str] = {
    ((2, 2, 2, 2), False): "ResNet-18",
    ((3, 4, 6, 3), False): "ResNet-34",
    ((3, 4, 6, 3), True): "ResNet-50",
    ((3, 4, 23, 3), True): "ResNet-101",
    ((3, 8, 36, 3), True): "ResNet-152",
}
_VGGS = {8: "VGG-11", 10: "VGG-13", 13: "VGG-16", 16: "VGG-19"}
# First part of a name that no other network has.
_PREFIXES = {
    "features.denseblock1.": "DenseNet",
    "Mixed_5b.": "Inception-v3",
    "features.0.0.": "MobileNet or EfficientNet",
    "encoder.layers.encoder_layer_0.": "Vision Transformer",
    "blocks.0.attn.": "Vision Transformer",
    "patch_embed.": "vision transformer",
}


def identify(tensors: Mapping[str, np.ndarray]) -> str | None:
    """The name of a well-known network of which these are the weights, or None."""
    if "conv_mask.0.weight" in tensors and "det_conv0.0.weight" not in tensors:
        return "attentive GAN discriminator"
    if "layer1.0.conv1.weight" in tensors:
        stages = tuple(
            sum(f"layer{stage}.{i}.conv1.weight" in tensors for i in range(100))
            for stage in range(1, 5)
        )
        bottleneck = "layer1.0.conv3.weight" in tensors
        return _RESNETS.get((stages, bottleneck), "ResNet")
    if "features.0.weight" in tensors:
        convs = sum(
            name.startswith("features.") and tensor.ndim == 4
            for name, tensor in tensors.items()
        )
        return "AlexNet" if convs == 5 else _VGGS.get(convs, "VGG")
    for prefix, network in _PREFIXES.items():
        if any(name.startswith(prefix) for name in tensors):
            return network
    return None
