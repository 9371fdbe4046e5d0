"""Shapes and places: what is moved, cut, padded, put together or counted out."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from raindrop.export.onnx_graph import (
    UnsupportedError,
    Value,
    element_type,
    is_symbolic,
    same,
)
from raindrop.export.onnx_rules.walker import Converter, rule, value_of


@rule("broadcast_in_dim")
def _(converter: Converter, equation: Any, values: list[Value]) -> Value:
    value, *_ = values
    (aval,) = (variable.aval for variable in equation.outvars)
    where = equation.params["broadcast_dimensions"]
    shape = aval.shape
    if not value.shape:
        return Value(value.data, shape, value.dtype, (), bool(shape))
    if all(map(same, value.shape, shape)) and len(value.shape) == len(shape):
        return value
    # Ones first, in the places of the new axes; then they broadcast.
    ones = [1] * len(shape)
    for axis, size in zip(where, value.shape, strict=True):
        ones[axis] = size
    expanded = not all(map(same, ones, shape))
    line = reshaped(converter, value, tuple(ones))
    return Value(line.data, shape, value.dtype, line.axes, expanded)


@rule("reshape", "squeeze", "expand_dims")
def _(converter: Converter, equation: Any, values: list[Value]) -> Value:
    value, *_ = values
    if equation.primitive.name == "reshape" and equation.params["dimensions"]:
        raise UnsupportedError("JAX's reshape with an order of axes")
    (aval,) = (variable.aval for variable in equation.outvars)
    return reshaped(converter, value, aval.shape)


def reshaped(converter: Converter, value: Value, shape: tuple[Any, ...]) -> Value:
    """A value with the same elements in another shape."""
    if len(value.shape) == len(shape) and all(map(same, value.shape, shape)):
        return value
    axes = tuple(range(len(shape)))
    if value.known:
        return Value(value.data.reshape(shape), shape, value.dtype, axes)
    name = converter.graph.stored(value)
    producer = converter.graph.producer(name)
    if producer is not None and producer.op_type == "Reshape":
        name = producer.input[0]  # of two in a row only the last counts
        target = converter.graph.sizes(shape)
    else:
        target = _reshape_target(converter, value.shape, shape)
    return Value(
        converter.graph.node("Reshape", name, target), shape, value.dtype, axes
    )


def _reshape_target(converter: Converter, old: Sequence[Any], new: Any) -> str:
    """The shape for ONNX, where 0 is "as it was" and -1 "what is left"."""
    target = [
        0 if is_symbolic(n) and i < len(old) and same(n, old[i]) else n
        for i, n in enumerate(new)
    ]
    symbolic = [i for i, n in enumerate(target) if is_symbolic(n)]
    if symbolic:
        target[symbolic[-1]] = -1
    if len(symbolic) <= 1:
        return converter.graph.array(target, np.int64)
    return converter.graph.sizes(target)


@rule("transpose")
def _(converter: Converter, equation: Any, values: list[Value]) -> Value:
    (value,) = values
    (aval,) = (variable.aval for variable in equation.outvars)
    order = list(equation.params["permutation"])
    axes = tuple(order.index(axis) for axis in value.axes)
    return Value(value.data, aval.shape, value.dtype, axes, value.compact)


@rule("concatenate")
def _(converter: Converter, equation: Any, values: list[Value]) -> Value:
    (aval,) = (variable.aval for variable in equation.outvars)
    along = equation.params["dimension"]
    values = [v for v in values if not same(v.shape[along], 0)]
    if len(values) == 1:
        return values[0]
    full = [v for v in values if isinstance(v.data, str) and len(v.axes)]
    axes = full[0].axes if full else tuple(range(len(aval.shape)))
    names = [converter.graph.stored(value, axes) for value in values]
    place = axes.index(along)
    return value_of(converter.graph.node("Concat", *names, axis=place), aval, axes)


@rule("split")
def _(converter: Converter, equation: Any, values: list[Value]) -> list[Value]:
    (value,) = values
    sizes = [int(size) for size in equation.params["sizes"]]
    if len(sizes) == 1:
        return [value]
    axes = value.axes or tuple(range(len(value.shape)))
    names = converter.graph.nodes(
        "Split",
        converter.graph.stored(value, axes),
        converter.graph.array(sizes, np.int64),
        count=len(sizes),
        axis=axes.index(equation.params["axis"]),
    )
    return [
        value_of(n, v.aval, axes) for n, v in zip(names, equation.outvars, strict=True)
    ]


@rule("slice")
def _(converter: Converter, equation: Any, values: list[Value]) -> Value:
    (value,) = values
    (aval,) = (variable.aval for variable in equation.outvars)
    starts, limits = (equation.params[f"{w}_indices"] for w in ("start", "limit"))
    steps = equation.params["strides"] or (1,) * len(starts)
    return converter.graph.slice(value, starts, limits, steps, aval.shape)


@rule("dynamic_slice")
def _(converter: Converter, equation: Any, values: list[Value]) -> Value:
    value, *starts = values
    (aval,) = (variable.aval for variable in equation.outvars)
    if not all(start.known for start in starts):
        raise UnsupportedError("JAX's dynamic_slice at a place that is computed")
    firsts = [int(start.data) for start in starts]
    lasts = [f + s for f, s in zip(firsts, aval.shape, strict=True)]
    return converter.graph.slice(value, firsts, lasts, [1] * len(firsts), aval.shape)


@rule("rev")
def _(converter: Converter, equation: Any, values: list[Value]) -> Value:
    (value,) = values
    turned = [a for a in equation.params["dimensions"] if not same(value.shape[a], 1)]
    if not turned:
        return value
    axes = value.axes or tuple(range(len(value.shape)))
    array, count = converter.graph.array, len(turned)
    name = converter.graph.node(
        "Slice",
        converter.graph.stored(value, axes),
        array([-1] * count, np.int64),
        array([np.iinfo(np.int64).min] * count, np.int64),
        array([axes.index(axis) for axis in turned], np.int64),
        array([-1] * count, np.int64),
    )
    return Value(name, value.shape, value.dtype, axes)


@rule("pad")
def _(converter: Converter, equation: Any, values: list[Value]) -> Value:
    value, filling = values
    (aval,) = (variable.aval for variable in equation.outvars)
    config = equation.params["padding_config"]
    if any(inner for *_, inner in config) or any(
        is_symbolic(p) for low, high, _ in config for p in (low, high)
    ):
        raise UnsupportedError("JAX's pad between the elements, or by a computed width")
    axes = value.axes or tuple(range(len(value.shape)))
    pads = [config[axis][side] for side in (0, 1) for axis in axes]
    name = converter.graph.node(
        "Pad",
        converter.graph.stored(value, axes),
        converter.graph.array(pads, np.int64),
        converter.graph.stored(filling),
    )
    return value_of(name, aval, axes)


@rule("gather")
def _(converter: Converter, equation: Any, values: list[Value]) -> Value:
    """Of `x[1:-1]`, `x[-1]`, `x[..., [2, 0, 1]]`: a part, or places along an axis."""
    value, places = values
    (aval,) = (variable.aval for variable in equation.outvars)
    numbers = equation.params["dimension_numbers"]
    sizes = equation.params["slice_sizes"]
    graph = converter.graph
    if places.known and places.data.ndim == 1:
        firsts = [0] * len(sizes)
        for axis, first in zip(numbers.start_index_map, places.data, strict=True):
            firsts[axis] = int(first)
        lasts = [f + s for f, s in zip(firsts, sizes, strict=True)]
        part = graph.slice(value, firsts, lasts, [1] * len(sizes), tuple(sizes))
        return reshaped(converter, part, aval.shape)
    if len(numbers.start_index_map) != 1 or numbers.operand_batching_dims:
        raise UnsupportedError("JAX's gather along several axes")
    (axis,) = numbers.start_index_map
    whole = all(a == axis or same(sizes[a], value.shape[a]) for a in range(len(sizes)))
    moved = sorted(set(range(len(aval.shape))) - set(numbers.offset_dims))
    collapsed = numbers.collapsed_slice_dims == (axis,)
    if not (whole and sizes[axis] == 1 and collapsed and moved == [axis]):
        raise UnsupportedError("JAX's gather of parts of an axis, or that moves one")
    _check_places(places, value.shape[axis], equation.params["mode"])
    axes = value.axes or tuple(range(len(value.shape)))
    line = reshaped(converter, places, places.shape[:-1])
    tensors = graph.stored(value, axes), graph.stored(line)
    return value_of(graph.node("Gather", *tensors, axis=axes.index(axis)), aval, axes)


def _check_places(places: Value, size: Any, mode: Any) -> None:
    """Raises an error where a place may be outside: ONNX has its own ideas of that."""
    if places.known and not is_symbolic(size):
        inside = places.data.min(initial=0) >= 0 and places.data.max(initial=0) < size
    else:
        inside = mode == jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS
    if not inside:
        raise UnsupportedError("JAX's gather that may reach beyond the end")


@rule("iota")
def _(converter: Converter, equation: Any, values: list[Value]) -> Value:
    (aval,) = (variable.aval for variable in equation.outvars)
    axis = equation.params["dimension"]
    graph = converter.graph
    size = graph.sizes(aval.shape[axis : axis + 1])
    ends = graph.array(0, np.int64), graph.node("Squeeze", size)
    name = graph.node("Range", *ends, graph.array(1, np.int64))
    name = graph.node("Cast", name, to=element_type(aval.dtype))
    ones = tuple(d if a == axis else 1 for a, d in enumerate(aval.shape))
    line = Value(name, ones[axis : axis + 1], np.dtype(aval.dtype), (0,))
    line = reshaped(converter, line, ones)
    compact = not all(map(same, ones, aval.shape))
    return Value(line.data, aval.shape, line.dtype, line.axes, compact)


@rule("dim_as_value")
def _(converter: Converter, equation: Any, values: list[Value]) -> Value:
    (aval,) = (variable.aval for variable in equation.outvars)
    size = converter.graph.sizes((equation.params["dim"],))
    name = converter.graph.node("Squeeze", size)
    return value_of(
        converter.graph.node("Cast", name, to=element_type(aval.dtype)), aval
    )
