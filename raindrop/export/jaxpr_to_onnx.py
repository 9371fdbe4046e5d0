"""Any computation that JAX traced, as an ONNX graph: one rule for each primitive.

What depends on no input is computed at once and becomes a constant. Loops of a known
length (`nn.scan`) are written out. A primitive without a rule is an `UnsupportedError`
that names it; those in `onnx_rules` are what convolutional networks are made of.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import onnx
from jax.extend import core

# Imported for the rules that they register.
from raindrop.export.onnx_rules import (  # noqa: F401
    control_flow,
    convolutions,
    elementwise,
    reductions,
    shapes,
)
from raindrop.export.onnx_rules.walker import Converter, parts, value_of


def convert(
    closed: core.ClosedJaxpr,
    inputs: Mapping[str, Sequence[Any]],
    outputs: Mapping[str, Sequence[Any]],
    name: str,
) -> onnx.ModelProto:
    """The ONNX model of a traced computation.

    Args:
      closed: traced, perhaps with symbolic dimensions.
      inputs: name and labels of the dimensions (ints, or names for people) of each
        argument, in their order.
      outputs: the same of the results.
      name: of the graph.

    Raises:
      UnsupportedError: a computation that has no rule here.
    """
    converter = Converter()
    arguments = []
    for (label, labels), variable in zip(
        inputs.items(), closed.jaxpr.invars, strict=True
    ):
        aval = variable.aval
        tensor = converter.graph.input(label, aval.shape, aval.dtype, labels)
        arguments.append(value_of(tensor, aval))
    results = converter.run(*parts(closed), arguments)
    for (label, labels), result in zip(outputs.items(), results, strict=True):
        converter.graph.output(label, result, labels)
    return converter.graph.model(name)


def trace(function: Callable[..., Any], *arguments: Any) -> core.ClosedJaxpr:
    """A function as JAX traces it, for arguments that have a shape and a type."""
    return jax.jit(function).trace(*arguments).jaxpr
