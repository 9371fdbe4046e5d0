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
      autoencoder: the contextual autoencoder.
      bgr: whether the network works on BGR.
      signed: whether the network works on [-1, 1] rather than [0, 1].
      residual: the network gives a correction, added to its input at every scale.
    """

    attention: AttentiveRecurrentNetwork
    autoencoder: ContextualAutoencoder
    bgr: bool = False
    signed: bool = False
    residual: bool = False

    def __call__(self, rainy: jax.Array) -> GeneratorOutput:
        """Rainy [B, H, W, 3], H and W multiples of four -> `GeneratorOutput`."""
        maps = self.attend(rainy)
        last = maps[-1] if maps.shape[0] else jnp.full_like(rainy[..., :1], 0.5)
        return GeneratorOutput(*self.restore(rainy, last), maps)

    def attend(self, rainy: jax.Array) -> jax.Array:
        """The first half: rainy [B, H, W, 3] -> maps A_1 to A_N, [N, B, H, W, 1]."""
        if rainy.shape[1] % 4 or rainy.shape[2] % 4:
            raise ValueError(
                f"height and width must be multiples of four, not {rainy.shape[1:3]}"
            )
        network_input = self._to_network(rainy.astype(jnp.float32))
        return self.attention(network_input).astype(jnp.float32)

    def restore(
        self, rainy: jax.Array, attention: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The second half: rainy and a map [B, H, W, 1] -> pictures, smallest first."""
        rainy = rainy.astype(jnp.float32)
        outputs = self.autoencoder(self._to_network(rainy), attention)
        quarter, half, image = (
            self._from_network(o.astype(jnp.float32)) for o in outputs
        )
        if self.residual:
            quarter = quarter + nn.avg_pool(rainy, (4, 4), (4, 4))
            half = half + nn.avg_pool(rainy, (2, 2), (2, 2))
            image = image + rainy
        return quarter, half, image

    def _to_network(self, x: jax.Array) -> jax.Array:
        x = x[..., ::-1] if self.bgr else x
        return 2 * x - 1 if self.signed else x

    def _from_network(self, x: jax.Array) -> jax.Array:
        # A correction is a difference of two pictures: it is scaled, not shifted.
        if self.signed:
            x = x / 2 if self.residual else (x + 1) / 2
        return x[..., ::-1] if self.bgr else x


def from_fields(fields: Mapping[str, Any], dtype: Dtype = jnp.float32) -> Generator:
    """The generator that a config's (or a weight file's) `generator` group describes.

    Args:
      fields: `attention` and `autoencoder`, each a mapping of that module's fields, and
        the fields of `Generator`.
      dtype: of the computation; parameters are float32 whatever it is.
    """
    fields = {k: dict(v) if isinstance(v, Mapping) else v for k, v in fields.items()}
    fields["autoencoder"]["dilations"] = tuple(fields["autoencoder"]["dilations"])
    return Generator(
        attention=AttentiveRecurrentNetwork(**fields.pop("attention"), dtype=dtype),
        autoencoder=ContextualAutoencoder(**fields.pop("autoencoder"), dtype=dtype),
        **fields,
    )
