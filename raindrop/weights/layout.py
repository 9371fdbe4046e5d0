"""Where each tensor of a foreign file goes in the generator's tree, and turned how."""

import collections
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from raindrop import compilation_cache
from raindrop.errors import UserError
from raindrop.models import generator

# Axes of the file's array, in the order of ours (HWIO).
OIHW = (2, 3, 1, 0)  # Conv2d
IOHW = (2, 3, 0, 1)  # ConvTranspose2d
HWIO = (0, 1, 2, 3)
HWOI = (0, 1, 3, 2)  # conv2d_transpose of TensorFlow
BIAS = (0,)


@dataclasses.dataclass(frozen=True)
class Place:
    """One tensor of a foreign file and its place in our tree.

    Attributes:
      path: of the leaf in our tree, such as 'autoencoder/conv1/kernel'. Places with the
        same path and step lie side by side along the last axis, in their order.
      axes: `array.transpose(axes)` has our layout.
      flip: turn the kernel by 180 degrees. Both frameworks define the transposed
        convolution as the gradient of a convolution; `nn.ConvTranspose` does not flip.
      step: of the recurrence, where the steps have weights of their own.
    """

    path: str
    axes: tuple[int, ...] = HWIO
    flip: bool = False
    step: int | None = None


def parameter_shapes(fields: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shapes of the parameters of the generator with these fields, by path."""
    net = generator.from_fields(fields)

    def traced() -> dict[str, tuple[int, ...]]:
        size = generator.example_size(net)
        image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
        tree = jax.eval_shape(net.init, jax.random.key(0), image)["params"]
        shapes = traverse_util.flatten_dict(tree, sep="/")
        return {path: leaf.shape for path, leaf in shapes.items()}

    if not type(net).__module__.startswith("raindrop.models."):
        return traced()  # its code is elsewhere, and may change
    question = ["parameter shapes", generator.complete(fields)]
    shapes = compilation_cache.remembered(question, traced)
    return {path: tuple(shape) for path, shape in shapes.items()}


def assemble(
    tensors: Mapping[str, np.ndarray],
    places: Mapping[str, Place],
    fields: Mapping[str, Any],
    source: str,
) -> dict[str, Any]:
    """The generator's parameters from the tensors of a file.

    Args:
      tensors: arrays by their names in the file.
      places: the place of each, by the same names.
      fields: of the generator.
      source: what to call the file in errors.

    Returns:
      The tree that the generator takes as 'params', float32.

    Raises:
      UserError: a tensor is missing, is none of the network's, or has a wrong shape.
    """
    check_names(tensors, places, source)
    expected = parameter_shapes(fields)
    side_by_side = collections.Counter((s.path, s.step) for s in places.values())
    parts: dict[str, dict[int | None, list[np.ndarray]]] = {}
    for name, place in places.items():
        shape = expected[place.path]
        shape = shape if place.step is None else shape[1:]
        shape = (*shape[:-1], shape[-1] // side_by_side[place.path, place.step])
        wanted = tuple(shape[place.axes.index(axis)] for axis in range(len(shape)))
        array = np.asarray(tensors[name])
        if array.shape != wanted:
            raise UserError(
                f"{source}: {name} has the shape {array.shape}; the network's has "
                f"{wanted}"
            )
        array = array.astype(np.float32).transpose(place.axes)
        array = array[::-1, ::-1] if place.flip else array
        parts.setdefault(place.path, {}).setdefault(place.step, []).append(array)

    leaves = {}
    for path, steps in parts.items():  # steps are in their order, as places are
        arrays = [np.concatenate(step, axis=-1) for step in steps.values()]
        leaves[path] = arrays[0] if None in steps else np.stack(arrays)
    return traverse_util.unflatten_dict(leaves, sep="/")


def check_names(found: Iterable[str], expected: Iterable[str], source: str) -> None:
    """Raises a UserError that names what is missing, or what does not belong."""
    found, expected = list(found), list(expected)
    for names, word in (
        ([n for n in expected if n not in set(found)], "is missing"),
        ([n for n in found if n not in set(expected)], "is not of this network"),
    ):
        if names:
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            raise UserError(f"{source}: {names[0]}{more} {word}")
