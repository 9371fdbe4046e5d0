"""What is exported: a generator with its weights, for pictures of any size."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from raindrop.models import generator
from raindrop.models.interface import Network
from raindrop.weights import LoadedGenerator, checkpoints

Names = tuple[Any, ...]  # of dimensions: ints, and words for those that may vary


@dataclasses.dataclass(frozen=True)
class Exported:
    """A function of arrays of any batch, height and width.

    Attributes:
      function: takes `specs` and gives a tuple of arrays.
      specs: shapes and types of its arguments, with symbolic dimensions: heights and
        widths are multiples of the interface's `multiple`.
      inputs: name of each argument, and the names of its dimensions.
      outputs: the same of the results.
    """

    function: Callable[..., tuple[jax.Array, ...]]
    specs: tuple[jax.ShapeDtypeStruct, ...]
    inputs: dict[str, Names]
    outputs: dict[str, Names]


def whole(loaded: LoadedGenerator, dtype: str = "float32") -> Exported:
    """Image [B, H, W, 3] -> clean, the same shape; attention, all maps there are.

    Args:
      loaded: the network and its weights. Without attention steps and a gate there are
        no maps.
      dtype: of the computation; arguments and results are float32 whatever it is.
    """
    network = generator.from_fields(loaded.fields, jnp.dtype(dtype), False)

    def function(image: jax.Array) -> tuple[jax.Array, ...]:
        output = network.apply({"params": loaded.params}, image).judged(image)
        maps = (output.maps,) if output.maps.shape[0] else ()
        return output.image, *maps

    return _named(function, network, {"image": 3}, ("clean", "attention"))


def halves(
    loaded: LoadedGenerator, dtype: str = "float32"
) -> tuple[Exported, Exported]:
    """Image -> attention; image and one map, attention [B, H, W, 1] -> clean.

    For what is done with the maps in between; arguments as for `whole`.
    """
    network = generator.from_fields(loaded.fields, jnp.dtype(dtype), False)
    variables = {"params": loaded.params}

    def attend(image: jax.Array) -> tuple[jax.Array, ...]:
        return (network.apply(variables, image, method="attend"),)

    def restore(image: jax.Array, attention: jax.Array) -> tuple[jax.Array, ...]:
        return (network.apply(variables, image, attention, method="restore")[-1],)

    return (
        _named(attend, network, {"image": 3}, ("attention",)),
        _named(restore, network, {"image": 3, "attention": 1}, ("clean",)),
    )


def metadata(loaded: LoadedGenerator) -> dict[str, str]:
    """What an exported file says of itself."""
    interface = generator.from_fields(loaded.fields).interface
    multiple = interface.multiple
    return {
        "name": loaded.source,
        "sha256": loaded.sha256 or checkpoints.digest(loaded.params),
        "multiple": str(multiple),
        "licence": loaded.licence or "not stated; ask those who trained the weights",
        "values": "RGB in [0, 1], float32; clip the result",
        "padding": f"height and width to a multiple of {multiple}, by reflection",
    }


def _named(
    function: Callable[..., tuple[jax.Array, ...]],
    network: Network,
    channels: dict[str, int],
    results: tuple[str, ...],
) -> Exported:
    step = network.interface.multiple
    batch, height, width = jax.export.symbolic_shape(
        f"b, {step}*h, {step}*w", constraints=["b >= 1", "h >= 1", "w >= 1"]
    )
    specs = tuple(
        jax.ShapeDtypeStruct((batch, height, width, count), jnp.float32)
        for count in channels.values()
    )
    words = {str(batch): "batch", str(height): "height", str(width): "width"}

    def named(shape: tuple[Any, ...]) -> Names:
        return tuple(d if isinstance(d, int) else words[str(d)] for d in shape)

    shapes = [leaf.shape for leaf in jax.eval_shape(function, *specs)]
    return Exported(
        function=function,
        specs=specs,
        inputs={
            name: named(spec.shape) for name, spec in zip(channels, specs, strict=True)
        },
        outputs={
            name: named(shape) for name, shape in zip(results, shapes, strict=False)
        },
    )
