"""The table of all generators there are, and how one is made of its fields.

What all of them have in common is in `interface`; whoever uses a generator gets it from
`from_fields` and depends on that alone.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from raindrop.models.attention import AttentiveRecurrentNetwork
from raindrop.models.attentive_generator import Generator
from raindrop.models.autoencoder import ContextualAutoencoder
from raindrop.models.interface import Network
from raindrop.models.layers import Dtype
from raindrop.models.residual_autoencoder import ResidualAutoencoder

Fields = Mapping[str, Any]  # of a config's, or a weight file's, `generator` group

# Fields that say how to compute a network, and nothing about what it is.
HOW_TO_COMPUTE = ("dtype", "fast_gradients", "unroll", "remat")
_OF_FLAX = ("parent", "name")


@dataclasses.dataclass(frozen=True)
class Constructor:
    """A line of `NETWORKS`.

    Attributes:
      make: (fields without 'kind', dtype and fast_gradients by name) -> the module.
      defaults: the fields that it would take -> all of its fields with their defaults,
        groups of them as mappings; None where there is no default.
    """

    make: Callable[..., Network]
    defaults: Callable[[Fields], dict[str, Any]]


def of_module(module: type[nn.Module]) -> Constructor:
    """The constructor of a network that is one Flax module with plain fields."""

    def make(fields: Fields, **computation: Any) -> Network:
        return module(**{k: _immutable(v) for k, v in fields.items()}, **computation)

    return Constructor(make, lambda _: module_defaults(module))


def module_defaults(module: type[nn.Module]) -> dict[str, Any]:
    """The fields of a Flax module and their defaults, but those of the code's own."""
    return {
        field.name: None if field.default is dataclasses.MISSING else field.default
        for field in dataclasses.fields(module)
        if field.name not in (*_OF_FLAX, "dtype", "fast_gradients")
    }


def _make_attentive(fields: Fields, **computation: Any) -> Generator:
    groups = {
        name: {k: _immutable(v) for k, v in fields.get(name, {}).items()}
        for name in ("attention", "autoencoder")
    }
    kind = AUTOENCODERS[groups["autoencoder"].pop("kind", "contextual")]
    rest = {k: _immutable(v) for k, v in fields.items() if k not in groups}
    return Generator(
        attention=AttentiveRecurrentNetwork(**groups["attention"], **computation),
        autoencoder=kind(**groups["autoencoder"], **computation),
        **rest,
    )


def _attentive_defaults(fields: Fields) -> dict[str, Any]:
    kind = fields.get("autoencoder", {}).get("kind", "contextual")
    if kind not in AUTOENCODERS:
        raise ValueError(
            f"model.generator.autoencoder.kind must be one of "
            f"{', '.join(AUTOENCODERS)}, not {kind!r}"
        )
    return {
        **module_defaults(Generator),
        "attention": module_defaults(AttentiveRecurrentNetwork),
        "autoencoder": {"kind": kind, **module_defaults(AUTOENCODERS[kind])},
    }


def _immutable(value: Any) -> Any:
    """Lists, of which JSON has nothing else, as the tuples that Flax wants."""
    return tuple(map(_immutable, value)) if isinstance(value, list | tuple) else value


# By the `kind` of the group `autoencoder`, as below.
AUTOENCODERS = {"contextual": ContextualAutoencoder, "residual": ResidualAutoencoder}

# By `kind`; the first one is that of configs and weight files that do not say.
NETWORKS: dict[str, Constructor] = {
    "attentive": Constructor(_make_attentive, _attentive_defaults),
}


def current(fields: Fields) -> dict[str, Any]:
    """Fields that may have been saved long ago, without one that said nothing.

    `sizes` of the attentive network asked for a mean over several sizes of a picture.
    Most weights have it as (1.0,); what else they ask for is refused as a field that
    does not exist.
    """
    rest = dict(fields)
    attentive = rest.get("kind", "attentive") == "attentive"
    if attentive and tuple(rest.get("sizes", ())) == (1,):
        del rest["sizes"]
    return rest


def _kind(fields: Fields) -> tuple[Constructor, dict[str, Any]]:
    """The line of `NETWORKS`, and the fields without their kind.

    Raises:
      ValueError: there is no such kind.
    """
    rest = current(fields)
    kind = rest.pop("kind", "attentive")
    if kind not in NETWORKS:
        raise ValueError(
            f"model.generator.kind must be one of {', '.join(NETWORKS)}, not {kind!r}"
        )
    return NETWORKS[kind], rest


def from_fields(
    fields: Fields, dtype: Dtype = jnp.float32, fast_gradients: bool = True
) -> Network:
    """The generator that a config's (or a weight file's) `generator` group describes.

    Args:
      fields: `kind`, of `NETWORKS` (by default 'attentive'), and that network's own;
        of 'attentive' `attention` and `autoencoder`, each a mapping of that module's
        fields, and the fields of `Generator`.
      dtype: of the computation; parameters are float32 whatever it is.
      fast_gradients: on a CPU; see `kernels.convolution`.

    Raises:
      ValueError: there is no such kind.
      TypeError: it has no such field.
    """
    constructor, rest = _kind(fields)
    return constructor.make(rest, dtype=dtype, fast_gradients=fast_gradients)


def defaults(fields: Fields) -> dict[str, Any]:
    """All fields that the generator of `fields` has, with their defaults.

    Raises:
      ValueError: there is no such kind.
    """
    constructor, rest = _kind(fields)
    return {"kind": fields.get("kind", "attentive"), **constructor.defaults(rest)}


def complete(fields: Fields) -> dict[str, Any]:
    """All fields that say what a network is, those of `fields` and the defaults.

    A weight file has them all, so as not to depend on what the defaults are later.
    """

    def merged(known: Fields, given: Fields) -> dict[str, Any]:
        return {
            name: merged(value, given.get(name, {}))
            if isinstance(value, Mapping)
            else _immutable(given.get(name, value))
            for name, value in known.items()
            if name not in HOW_TO_COMPUTE
        }

    return merged(defaults(fields), fields)


def example_size(network: Network) -> int:
    """Side of a small square picture that a network takes."""
    multiple = network.interface.multiple
    return -(-8 // multiple) * multiple


def verify(network: Network, size: int) -> None:
    """Sees, without computing anything, that a network keeps what it promises.

    Args:
      network: of `from_fields`.
      size: side of the square pictures that it is to take.

    Raises:
      ValueError: it does not take them, or gives something else.
    """
    promised = network.interface
    image = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    output, variables = jax.eval_shape(
        lambda x: network.init_with_output(jax.random.key(0), x), image
    )
    name = type(network).__name__
    if set(variables) != {"params"}:
        others = ", ".join(sorted(set(variables) - {"params"}))
        raise ValueError(f"{name} has variables beside its parameters ({others})")
    if len(output.scales) != promised.num_scales:
        raise ValueError(
            f"{name} promises {promised.num_scales} pictures and gives "
            f"{len(output.scales)}"
        )
    wanted = (promised.num_maps, *image.shape[:3], 1)
    if output.attention.shape != wanted:
        raise ValueError(
            f"{name} promises attention maps of the shape {wanted} and gives "
            f"{output.attention.shape}"
        )
    if (output.gate is not None) != promised.gated:
        raise ValueError(
            f"{name} promises {'a' if promised.gated else 'no'} gate and gives "
            f"{'none' if output.gate is None else 'one'}"
        )
    if output.gate is not None and output.gate.shape != (*image.shape[:3], 1):
        raise ValueError(
            f"{name} gives a gate of the shape {output.gate.shape}, not "
            f"{(*image.shape[:3], 1)}"
        )
    if output.wet is not None and output.wet.shape != (*image.shape[:3], 1):
        raise ValueError(
            f"{name} judges what it paints by an array of the shape "
            f"{output.wet.shape}, not {(*image.shape[:3], 1)}"
        )
    if output.image.shape != image.shape:
        raise ValueError(
            f"{name} gives pictures of the shape {output.image.shape} for {image.shape}"
        )
    for method in ("attend", "restore") if promised.num_maps else ():
        if not callable(getattr(network, method, None)):
            raise ValueError(f"{name} promises attention maps and has no {method}()")
