"""The generator: attention, then the autoencoder, as one network."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from raindrop.models.attention import AttentiveRecurrentNetwork
from raindrop.models.autoencoder import ContextualAutoencoder
from raindrop.models.layers import Dtype


@flax.struct.dataclass
class GeneratorOutput:
    """What the generator gives. Pictures are RGB, nominally in [0, 1], unclipped."""

    quarter: jax.Array  # [B, H/4, W/4, 3]
    half: jax.Array  # [B, H/2, W/2, 3]
    image: jax.Array  # [B, H, W, 3]
    attention: jax.Array  # [N, B, H, W, 1], A_1 to A_N

    @property
    def scales(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The three pictures, smallest first."""
        return self.quarter, self.half, self.image


class Generator(nn.Module):
    """Rainy pictures to clean ones; RGB in [0, 1] on both sides.

    The colour order and the value range that the network itself works in belong to its
    weights (the release was trained on BGR): they are fields here, and the conversion
    is done inside, so that nobody outside has to know.

    6,244,362 parameters as released.

    Attributes:
      attention: the recurrent network. With 0 steps the autoencoder gets A_0 = 0.5.
      autoencoder: the contextual autoencoder. Where it gives two pictures the second is
        a gain: that many times the input is added to the first. So the contrast that
        is left behind a drop comes back, pixel by pixel, without being painted anew.
      bgr: whether the network works on BGR.
      signed: whether the network works on [-1, 1] rather than [0, 1].
      residual: the network gives a correction, added to its input at every scale.
      gated: the last attention map says how much of the autoencoder's picture counts,
        and how much of the input: where the network sees no drop it changes nothing.
      patch_size: side p of the patches of pixels that the network sees as one, their
        values as channels. 1 in the release; 2 makes it four times as cheap.
    """

    attention: AttentiveRecurrentNetwork
    autoencoder: ContextualAutoencoder
    bgr: bool = False
    signed: bool = False
    residual: bool = False
    gated: bool = False
    patch_size: int = 1

    def __call__(self, rainy: jax.Array) -> GeneratorOutput:
        """Rainy [B, H, W, 3], H and W multiples of four -> `GeneratorOutput`."""
        maps = self.attend(rainy)
        last = maps[-1] if maps.shape[0] else jnp.full_like(rainy[..., :1], 0.5)
        return GeneratorOutput(*self.restore(rainy, last), maps)

    def attend(self, rainy: jax.Array) -> jax.Array:
        """The first half: rainy [B, H, W, 3] -> maps A_1 to A_N, [N, B, H, W, 1]."""
        _, height, width, _ = rainy.shape
        if height % 4 or width % 4:
            raise ValueError(
                f"height and width must be multiples of four, not {rainy.shape[1:3]}"
            )
        maps = self.attention(self._to_network(rainy)).astype(jnp.float32)
        for axis in (2, 3):
            maps = jnp.repeat(maps, self.patch_size, axis)
        return maps[:, :, :height, :width]

    def restore(
        self, rainy: jax.Array, attention: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The second half: rainy and a map [B, H, W, 1] -> pictures, smallest first."""
        patch = (self.patch_size, self.patch_size)
        padded = self._pad(attention.astype(jnp.float32))
        attention = nn.avg_pool(padded, patch, patch)
        # Smooth between the patches: their edges would show.
        gate = jax.image.resize(jnp.clip(attention, 0, 1), padded.shape, "linear")
        gate = gate[:, : rainy.shape[1], : rainy.shape[2]]
        outputs = self.autoencoder(self._to_network(rainy), attention)
        scales = []
        for output, factor in zip(outputs, (4, 2, 1), strict=True):
            height, width = rainy.shape[1] // factor, rainy.shape[2] // factor
            picture, *gains = jnp.split(output, self.autoencoder.pictures, -1)
            scale = self._from_network(picture)[:, :height, :width]
            window = (factor, factor)
            given = nn.avg_pool(rainy.astype(jnp.float32), window, window)
            if self.residual:
                scale += given
            for gain in gains:
                scale += self._from_patches(gain)[:, :height, :width] * given
            if self.gated:
                scale = given + nn.avg_pool(gate, window, window) * (scale - given)
            scales.append(scale)
        return tuple(scales)

    def _pad(self, x: jax.Array) -> jax.Array:
        """To a size that divides by the patches at 1/4 scale."""
        pads = [(0, -side % (4 * self.patch_size)) for side in x.shape[1:3]]
        return jnp.pad(x, [(0, 0), *pads, (0, 0)], mode="symmetric")

    def _to_network(self, x: jax.Array) -> jax.Array:
        x = self._pad(x.astype(jnp.float32))
        x = x[..., ::-1] if self.bgr else x
        x = 2 * x - 1 if self.signed else x
        batch, height, width, channels = x.shape
        p = self.patch_size
        x = x.reshape(batch, height // p, p, width // p, p, channels)
        return x.transpose(0, 1, 3, 2, 4, 5).reshape(
            batch, height // p, width // p, p * p * channels
        )

    def _from_network(self, x: jax.Array) -> jax.Array:
        x = self._from_patches(x)
        # A correction is a difference of two pictures: it is scaled, not shifted.
        if self.signed:
            x = x / 2 if self.residual else (x + 1) / 2
        return x

    def _from_patches(self, x: jax.Array) -> jax.Array:
        batch, height, width, _ = x.shape
        p = self.patch_size
        x = x.astype(jnp.float32).reshape(batch, height, width, p, p, 3)
        x = x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, p * height, p * width, 3)
        return x[..., ::-1] if self.bgr else x


def from_fields(
    fields: Mapping[str, Any],
    dtype: Dtype = jnp.float32,
    fast_gradients: bool = True,
) -> Generator:
    """The generator that a config's (or a weight file's) `generator` group describes.

    Args:
      fields: `attention` and `autoencoder`, each a mapping of that module's fields, and
        the fields of `Generator`.
      dtype: of the computation; parameters are float32 whatever it is.
      fast_gradients: on a CPU; see `kernels.convolution`.
    """
    fields = {k: dict(v) if isinstance(v, Mapping) else v for k, v in fields.items()}
    fields["autoencoder"]["dilations"] = tuple(fields["autoencoder"]["dilations"])
    computation = {"dtype": dtype, "fast_gradients": fast_gradients}
    return Generator(
        attention=AttentiveRecurrentNetwork(**fields.pop("attention"), **computation),
        autoencoder=ContextualAutoencoder(**fields.pop("autoencoder"), **computation),
        **fields,
    )
