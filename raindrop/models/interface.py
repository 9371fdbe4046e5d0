"""What a generator is to those who use it: the one thing they may depend on.

A network of your own needs a file here, with a Flax module that keeps to `Network`, and
a line in `generator.NETWORKS`. Training, evaluation, files, tiles, weight files and
export then take it by `config.model.generator.kind`.
"""

import dataclasses
from typing import Any, Literal, Protocol

import flax.struct
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class GeneratorOutput:
    """What a generator gives. Pictures are RGB, nominally in [0, 1], unclipped."""

    # Smallest first, the last of full size: [B, H/k, W/k, 3] with k a whole number.
    scales: tuple[jax.Array, ...]
    attention: jax.Array  # [N, B, H, W, 1], A_1 to A_N; N may be 0, see `no_maps`
    # [B, H, W, 1], how much of what the network painted counts, where it decides that
    # pixel by pixel.
    gate: jax.Array | None = None
    # [B, H, W, 1], in [0, 1]: how far what it painted is to count, where it judges
    # that by all of the picture; see `judged`.
    wet: jax.Array | None = None

    @property
    def image(self) -> jax.Array:
        """The picture of full size, [B, H, W, 3]."""
        return self.scales[-1]

    @property
    def maps(self) -> jax.Array:
        """All that tells where drops are, the finest last: A_1 to A_N, then the gate.

        [N, B, H, W, 1], or [N + 1, B, H, W, 1] with a gate.
        """
        gate = () if self.gate is None else (self.gate[None],)
        return jnp.concatenate([self.attention, *gate])

    def judged(self, rainy: jax.Array) -> "GeneratorOutput":
        """What inference gives: the picture and the gate count as far as `wet` says.

        Training has no use for it: where a drop is taken for something else, the
        network is to go on learning what to paint.

        Args:
          rainy: what the network was given, [B, H, W, 3].

        Returns:
          The same with another last picture and gate, and without `wet`.
        """
        if self.wet is None:
            return self
        picture = rainy + self.wet * (self.image - rainy)
        gate = None if self.gate is None else self.wet * self.gate
        scales = (*self.scales[:-1], picture)
        return GeneratorOutput(scales, self.attention, gate)


@dataclasses.dataclass(frozen=True)
class Interface:
    """What a network promises. The defaults hold for any network.

    Attributes:
      multiple: height and width that it takes are multiples of this.
      num_maps: attention maps that it gives. Where there are any, it also has the
        methods `attend` and `restore`, its two halves; see
        `attentive_generator.Generator`.
      gated: whether it gives `GeneratorOutput.gate`: its finest map, after the others.
      num_scales: pictures that it gives.
      exact_when_padded: whether a picture in a larger array of zeros comes out as it
        does alone if every `nn.Conv` and `nn.ConvTranspose` sees zeros outside of the
        picture. Not so with anything that looks further than its convolutions do:
        pooling over the whole picture (but for an `Overview`, which is told where
        the picture is), normalization over positions, attention. Files
        of many sizes then share a few compiled programs; else each size has its own.
      sees_whole_picture: whether the result at a pixel depends on all of the picture,
        so that tiles do not give what the whole would; said before it is cut.
      tile_factor: how much larger than the usual ones tiles are to be on a side.
      frame: long side, in pixels, of the pictures that it was trained for. What is
        twice as large is cleaned at half its size as well, and so on; the half counts
        where its gate is open, if there is one. With 0 every picture is cleaned at its
        own size alone.
      again_at_quarter: what of a picture with a long side above `frame` is cleaned once
        more, at a quarter of its size, for drops close to the lens: the picture as it
        came ("wet"), which counts in large regions where the gate is open; or what came
        out ("result"), which counts in those that were changed already. Not of videos,
        nor where no large region was changed.
    """

    multiple: int = 1
    num_maps: int = 0
    gated: bool = False
    num_scales: int = 1
    exact_when_padded: bool = False
    sees_whole_picture: bool = True
    tile_factor: float = 1.0
    frame: int = 0
    again_at_quarter: Literal["no", "wet", "result"] = "no"


class Network(Protocol):
    """A Flax module from rainy pictures to clean ones.

    Its constructor takes its fields by name, and `dtype` (of the computation;
    parameters are float32) and `fast_gradients` (see `kernels.convolution`; may be
    ignored). Parameters are all its variables, and depend on no picture's size.
    """

    @property
    def interface(self) -> Interface:
        """What it promises, as its fields have it."""

    def __call__(self, rainy: jax.Array) -> GeneratorOutput:
        """Rainy [B, H, W, 3], float32 RGB in [0, 1] -> `GeneratorOutput`, float32.

        Raises:
          ValueError: a size that it does not take.
        """

    def init(self, rngs: Any, *args: Any) -> Any:
        """As every Flax module has it."""

    def init_with_output(self, rngs: Any, *args: Any) -> Any:
        """As every Flax module has it."""

    def lazy_init(self, rngs: Any, *args: Any) -> Any:
        """As every Flax module has it."""

    def apply(self, variables: Any, *args: Any, **kwargs: Any) -> Any:
        """As every Flax module has it."""


def no_maps(rainy: jax.Array) -> jax.Array:
    """The `attention` of a network without maps, [0, B, H, W, 1]."""
    return jnp.zeros((0, *rainy.shape[:3], 1), jnp.float32)
