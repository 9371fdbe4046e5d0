"""Control flow: branches that are known, and loops of a known length written out."""

from typing import Any

import numpy as np

from raindrop.export.onnx_graph import UnsupportedError, Value, constant
from raindrop.export.onnx_rules.shapes import reshaped
from raindrop.export.onnx_rules.walker import Converter, parts, rule


@rule("platform_index")
def _(converter: Converter, equation: Any, values: list[Value]) -> Value:
    """The way for platforms that are not named: the plain one."""
    return constant(np.int32(len(equation.params["platforms"]) - 1))


@rule("cond")
def _(converter: Converter, equation: Any, values: list[Value]) -> list[Value]:
    which, *arguments = values
    if not which.known:
        raise UnsupportedError("JAX's cond on what is computed")
    branch = equation.params["branches"][int(which.data)]
    return converter.run(*parts(branch), arguments)


@rule("scan")
def _(converter: Converter, equation: Any, values: list[Value]) -> list[Value]:
    p = equation.params
    if "ft_in" in p:  # since JAX 0.12
        consts, carry, _ = map(len, p["ft_in"].unpack())
    else:
        consts, carry = p["num_consts"], p["num_carry"]
    fixed, state = values[:consts], values[consts : consts + carry]
    inputs = values[consts + carry :]
    order = range(p["length"])
    steps = {}
    for step in reversed(order) if p["reverse"] else order:
        results = converter.run(
            *parts(p["jaxpr"]),
            [*fixed, *state, *(_row(converter, value, step) for value in inputs)],
        )
        state = results[:carry]
        steps[step] = results[carry:]
    stacked = [
        _stacked(converter, [steps[step][i] for step in order])
        for i in range(len(equation.outvars) - carry)
    ]
    return [*state, *stacked]


def _row(converter: Converter, value: Value, index: int) -> Value:
    """One of the values along the first axis."""
    shape = value.shape[1:]
    if value.known:
        return constant(value.data[index])
    starts = [index] + [0] * len(shape)
    sizes = (1, *shape)
    ends = [index + 1, *shape]
    row = converter.graph.slice(value, starts, ends, [1] * len(starts), sizes)
    return reshaped(converter, row, shape)


def _stacked(converter: Converter, rows: list[Value]) -> Value:
    """Values side by side along a new first axis."""
    if all(row.known for row in rows):
        return constant(np.stack([row.data for row in rows]))
    graph, first = converter.graph, rows[0]
    axes = next((r.axes for r in rows if isinstance(r.data, str)), ())
    axes = axes or tuple(range(len(first.shape)))
    zero = graph.array([0], np.int64)
    names = [graph.node("Unsqueeze", graph.stored(row, axes), zero) for row in rows]
    name = graph.node("Concat", *names, axis=0)
    shape = (len(rows), *first.shape)
    return Value(name, shape, first.dtype, (0, *(axis + 1 for axis in axes)))
