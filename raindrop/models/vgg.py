"""VGG-16 features for the perceptual loss (Simonyan & Zisserman 2015)."""

import dataclasses
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from raindrop.models import layers
from raindrop.models.layers import Dtype

# Convolutions a block has; the block's width is min(64 * 2 ** block, 512).
_BLOCKS = (2, 2, 3, 3, 3)


@dataclasses.dataclass(frozen=True)
class Normalization:
    """How a set of VGG weights wants its pictures, and how large its features are.

    Attributes:
      mean: subtracted, in the channel order of the weights, on the scale of [0, 1].
      std: divided by.
      bgr: whether the weights want BGR.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    bgr: bool

    def __call__(self, image: jax.Array) -> jax.Array:
        """RGB in [0, 1] to what the weights were trained on."""
        image = image[..., ::-1] if self.bgr else image
        return (image - jnp.array(self.mean)) / jnp.array(self.std)


# Keras ships the weights of the Caffe model: BGR in [0, 255] without its mean.
KERAS = Normalization(
    mean=(103.939 / 255, 116.779 / 255, 123.68 / 255),
    std=(1 / 255, 1 / 255, 1 / 255),
    bgr=True,
)
TORCHVISION = Normalization(
    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), bgr=False
)
# The Caffe model with its first convolution turned to RGB (davidfrossard's .npz).
FROSSARD = Normalization(mean=KERAS.mean[::-1], std=KERAS.std, bgr=False)


class VGG16(nn.Module):
    """The convolutions of VGG-16, as far as the last layer asked for.

    Up to relu2_2: 260,160 parameters.

    Attributes:
      layers: names of the features to return, such as 'relu2_2'.
      normalization: what the weights want.
      dtype: of the computation.
      fast_gradients: on a CPU; see `kernels.convolution`.
    """

    layers: tuple[str, ...] = ("relu1_1", "relu1_2", "relu2_1", "relu2_2")
    normalization: Normalization = KERAS
    dtype: Dtype = jnp.float32
    fast_gradients: bool = True

    @nn.compact
    def __call__(self, image: jax.Array) -> dict[str, jax.Array]:
        """Image [B, H, W, 3], RGB in [0, 1] -> features by name, [B, h, w, C]."""
        known = [
            f"relu{block}_{i}"
            for block, count in enumerate(_BLOCKS, start=1)
            for i in range(1, count + 1)
        ]
        unknown = set(self.layers) - set(known)
        if unknown or not self.layers:
            raise ValueError(f"VGG-16 has no layers {sorted(unknown)}; it has {known}")
        last = max(known.index(name) for name in self.layers)

        conv = partial(
            layers.conv, dtype=self.dtype, fast_gradients=self.fast_gradients
        )
        features = {}
        x = self.normalization(image).astype(self.dtype)
        for name in known[: last + 1]:
            block, i = map(int, name.removeprefix("relu").split("_"))
            if block > 1 and i == 1:
                x = nn.max_pool(x, (2, 2), strides=(2, 2))
            width = min(64 * 2 ** (block - 1), 512)
            x = nn.relu(conv(width, 3, name=f"conv{block}_{i}")(x))
            if name in self.layers:
                features[name] = x.astype(jnp.float32)
        return features

    @property
    def feature_scale(self) -> float:
        """Factor that brings features to the scale of an input of unit variance.

        The Caffe weights see inputs, and so give features, some 57 times as large as
        torchvision's (ReLU networks are homogeneous), and a squared error of them
        weighs 3,000 times as much; with this factor one weight of the perceptual loss
        means the same for both.
        """
        std = sum(self.normalization.std) / 3
        return std / (sum(TORCHVISION.std) / 3)
