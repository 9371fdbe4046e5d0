"""Sums, maxima and products of tensors over whole axes."""

import string
from typing import Any

import numpy as np

from raindrop.export.onnx_graph import Value, element_type
from raindrop.export.onnx_rules.walker import Converter, rule, value_of


@rule("reduce_sum", "reduce_max", "reduce_min")
def _(converter: Converter, equation: Any, values: list[Value]) -> Value:
    (value,) = values
    (aval,) = (variable.aval for variable in equation.outvars)
    gone = list(equation.params["axes"])
    axes = value.axes or tuple(range(len(value.shape)))
    tensor = converter.graph.stored(value, axes)
    places = [axes.index(axis) for axis in gone]
    kept = [axis for axis in range(len(value.shape)) if axis not in gone]
    order = tuple(kept.index(axis) for axis in axes if axis not in gone)
    if equation.primitive.name == "reduce_sum":
        where = converter.graph.array(places, np.int64)
        name = converter.graph.node("ReduceSum", tensor, where, keepdims=0)
    else:
        kind = {"reduce_max": "ReduceMax", "reduce_min": "ReduceMin"}
        kind = kind[equation.primitive.name]
        name = converter.graph.node(kind, tensor, axes=places, keepdims=0)
    return value_of(name, aval, order)


@rule("dot_general")
def _(converter: Converter, equation: Any, values: list[Value]) -> Value:
    left, right = values
    (aval,) = (variable.aval for variable in equation.outvars)
    (over_left, over_right), (with_left, with_right) = equation.params[
        "dimension_numbers"
    ]
    letters = iter(string.ascii_lowercase)
    ours = [next(letters) for _ in left.shape]
    theirs = [next(letters) for _ in right.shape]
    left_axes, right_axes = (*over_left, *with_left), (*over_right, *with_right)
    for here, there in zip(left_axes, right_axes, strict=True):
        theirs[there] = ours[here]
    result = [ours[axis] for axis in with_left]
    result += [o for a, o in enumerate(ours) if a not in left_axes]
    result += [t for a, t in enumerate(theirs) if a not in right_axes]
    text = f"{''.join(ours)},{''.join(theirs)}->{''.join(result)}"
    # In float32: not every runtime has an Einsum of less.
    wide = element_type(np.float32)
    tensors = [
        converter.graph.node("Cast", converter.graph.stored(v), to=wide)
        if v.dtype != np.float32
        else converter.graph.stored(v)
        for v in values
    ]
    name = converter.graph.node("Einsum", *tensors, equation=text)
    if aval.dtype != np.float32:
        name = converter.graph.node("Cast", name, to=element_type(aval.dtype))
    return value_of(name, aval)
