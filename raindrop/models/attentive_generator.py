"""The paper's generator: attention, then the autoencoder."""

import dataclasses
import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from raindrop.models.attention import AttentiveRecurrentNetwork
from raindrop.models.autoencoder import ContextualAutoencoder
from raindrop.models.interface import GeneratorOutput, Interface, no_maps
from raindrop.models.residual_autoencoder import ResidualAutoencoder


class Generator(nn.Module):
    """Attention, then the autoencoder; RGB in [0, 1] on both sides.

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
      attention_patch_size: the same for the recurrent network alone; 0: as patch_size.
      pyramid: a picture is cleaned at a quarter of its size first, then at half, then
        at its own, by the same weights; each sees what the one before it changed, as
        three more channels beside the map (SRN, Tao et al., CVPR 2018). These are its
        pictures at the three scales. Large drops are small ones at a quarter.
    """

    attention: AttentiveRecurrentNetwork
    autoencoder: ContextualAutoencoder | ResidualAutoencoder
    bgr: bool = False
    signed: bool = False
    residual: bool = False
    gated: bool = False
    patch_size: int = 1
    attention_patch_size: int = 0
    pyramid: bool = False

    @property
    def _attention_patch(self) -> int:
        return self.attention_patch_size or self.patch_size

    @property
    def _multiple(self) -> int:
        """What height and width are padded to a multiple of, at every scale."""
        return math.lcm(
            self.patch_size * self.autoencoder.reduction, self._attention_patch
        )

    @property
    def interface(self) -> Interface:
        """What it promises to those who use it."""
        return Interface(
            multiple=self._multiple * (4 if self.pyramid else 1),
            num_maps=self.attention.steps,
            gated=self.gated or bool(self.autoencoder.map_channels),
            num_scales=3,
            # TensorFlow's padding also averages at the lower and the right border,
            # where zeros outside of the convolutions do not reach.
            exact_when_padded=not self.autoencoder.same_padding,
            # An overview does, but of a tile it judges what is painted there.
            sees_whole_picture=False,
            # The smaller its lowest scale, the further it sees.
            tile_factor=1.5 if self.patch_size * self.autoencoder.reduction > 4 else 1,
            # The released networks' own way is to see a picture once.
            frame=720 if self.autoencoder.map_channels else 0,
            again_at_quarter=self._again_at_quarter,
        )

    @property
    def _again_at_quarter(self) -> Literal["no", "wet", "result"]:
        if self.pyramid:
            return "result"  # it has seen the wet picture's quarter already
        # Without an overview it takes faces for drops there.
        return "wet" if self.autoencoder.overview else "no"

    def __call__(self, rainy: jax.Array) -> GeneratorOutput:
        """Rainy [B, H, W, 3] -> `GeneratorOutput`.

        H and W are multiples of four, with `pyramid` of `interface.multiple`.
        """
        maps = self.attend(rainy)
        restored = self._restore(rainy, _last(maps, rainy))
        return dataclasses.replace(restored, attention=maps)

    def attend(self, rainy: jax.Array) -> jax.Array:
        """The first half: rainy [B, H, W, 3] -> maps A_1 to A_N, [N, B, H, W, 1]."""
        _, height, width, _ = rainy.shape
        if height % 4 or width % 4:
            raise ValueError(
                f"height and width must be multiples of four, not {rainy.shape[1:3]}"
            )
        patch = self._attention_patch
        maps = self.attention(self._to_network(rainy, patch)).astype(jnp.float32)
        for axis in (2, 3):
            maps = jnp.repeat(maps, patch, axis)
        return maps[:, :, :height, :width]

    def restore(self, rainy: jax.Array, attention: jax.Array) -> tuple[jax.Array, ...]:
        """The second half: rainy and a map [B, H, W, 1] -> pictures, smallest first.

        As in inference, see `GeneratorOutput.judged`.
        """
        return self._restore(rainy, attention).judged(rainy).scales

    def _restore(self, rainy: jax.Array, attention: jax.Array) -> GeneratorOutput:
        """All but the attention maps."""
        if not self.pyramid:
            return self._restore_once(rainy, attention)
        rainy = rainy.astype(jnp.float32)
        quarter, half = (nn.avg_pool(rainy, (f, f), (f, f)) for f in (4, 2))
        passes = [(x, _last(self.attend(x), x)) for x in (quarter, half)]
        change, pictures = jnp.zeros_like(quarter), []
        for given, last in (*passes, (rainy, attention)):
            output = self._restore_once(given, last, change)
            pictures.append(output.image)
            # Not interpolated: at a border that would mix in what lies beyond it.
            change = jnp.repeat(jnp.repeat(output.image - given, 2, 1), 2, 2)
        return dataclasses.replace(output, scales=tuple(pictures))

    def _restore_once(
        self, rainy: jax.Array, attention: jax.Array, change: jax.Array | None = None
    ) -> GeneratorOutput:
        """What one pass gives, which sees a `change` [B, H, W, 3]."""
        _, height, width, _ = rainy.shape
        padded = self._pad(attention.astype(jnp.float32))
        patch = (self._attention_patch, self._attention_patch)
        coarse = nn.avg_pool(padded, patch, patch)
        # Smooth between the patches: their edges would show.
        smooth = jax.image.resize(coarse, padded.shape, "linear")
        patch = (self.patch_size, self.patch_size)
        beside = nn.avg_pool(padded, patch, patch)
        if change is not None:
            change = _to_patches(self._pad(change), self.patch_size)
            beside = jnp.concatenate([beside, change], -1)
        outputs = self.autoencoder(self._to_network(rainy, self.patch_size), beside)
        wet = None
        if self.autoencoder.overview:
            outputs, judged = outputs[:-1], outputs[-1]
            for axis in (1, 2):
                judged = jnp.repeat(judged, self.patch_size, axis)
            wet = judged[:, :height, :width]
        channels = self.autoencoder.pictures * 3 * self.patch_size**2
        gate = None
        if self.gated:
            gate = jnp.clip(smooth, 0, 1)
        if self.autoencoder.map_channels:
            logits = _from_patches(outputs[-1][..., channels:], self.patch_size)
            gate = nn.sigmoid(logits)
        if gate is not None:
            gate = gate[:, :height, :width]
        scales = []
        for output, factor in zip(outputs, (4, 2, 1), strict=True):
            size = np.s_[:, : height // factor, : width // factor]
            output = output[..., :channels]
            picture, *gains = jnp.split(output, self.autoencoder.pictures, -1)
            scale = self._from_network(picture)[size]
            window = (factor, factor)
            given = nn.avg_pool(rainy.astype(jnp.float32), window, window)
            if self.residual:
                scale += given
            for gain in gains:
                scale += self._picture(gain)[size] * given
            if gate is not None:
                scale = given + nn.avg_pool(gate, window, window) * (scale - given)
            scales.append(scale)
        return GeneratorOutput(tuple(scales), no_maps(rainy), gate, wet)

    def _pad(self, x: jax.Array) -> jax.Array:
        """To a size that divides by the patches and the lowest scale."""
        pads = [(0, -side % self._multiple) for side in x.shape[1:3]]
        return jnp.pad(x, [(0, 0), *pads, (0, 0)], mode="symmetric")

    def _to_network(self, x: jax.Array, p: int) -> jax.Array:
        """[B, H, W, 3] -> [B, H/p, W/p, 3 p^2]."""
        x = self._pad(x.astype(jnp.float32))
        x = x[..., ::-1] if self.bgr else x
        x = 2 * x - 1 if self.signed else x
        return _to_patches(x, p)

    def _from_network(self, x: jax.Array) -> jax.Array:
        x = self._picture(x)
        # A correction is a difference of two pictures: it is scaled, not shifted.
        if self.signed:
            x = x / 2 if self.residual else (x + 1) / 2
        return x

    def _picture(self, x: jax.Array) -> jax.Array:
        x = _from_patches(x, self.patch_size)
        return x[..., ::-1] if self.bgr else x


def _last(maps: jax.Array, rainy: jax.Array) -> jax.Array:
    """A_N of [N, B, H, W, 1], or A_0 where there are no maps of `rainy`."""
    return maps[-1] if maps.shape[0] else jnp.full_like(rainy[..., :1], 0.5)


def _to_patches(x: jax.Array, p: int) -> jax.Array:
    """[B, p H, p W, C] -> [B, H, W, p^2 C]."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // p, p, width // p, p, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(
        batch, height // p, width // p, p * p * channels
    )


def _from_patches(x: jax.Array, p: int) -> jax.Array:
    """[B, H, W, p^2 C] -> [B, p H, p W, C], float32."""
    batch, height, width, channels = x.shape
    x = x.astype(jnp.float32).reshape(batch, height, width, p, p, channels // p**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, p * height, p * width, -1)
