"""Convolutions and pools: sums, means and maxima of windows."""

from typing import Any

import numpy as np

from raindrop.export.onnx_graph import (
    UnsupportedError,
    Value,
    constant,
    element_type,
    is_symbolic,
)
from raindrop.export.onnx_rules.walker import Converter, rule, value_of


@rule("conv_general_dilated")
def _(converter: Converter, equation: Any, values: list[Value]) -> Value:
    x, kernel = values
    (aval,) = (variable.aval for variable in equation.outvars)
    p = equation.params
    numbers = p["dimension_numbers"]
    pads = [pad for side in zip(*p["padding"], strict=True) for pad in side]
    if p["batch_group_count"] != 1 or any(is_symbolic(pad) for pad in pads):
        raise UnsupportedError("JAX's convolution in groups of the batch")
    tensor = converter.graph.stored(x, numbers.lhs_spec)
    dilations = list(p["rhs_dilation"])
    options = {"dilations": dilations, "group": p["feature_group_count"]}
    if any(step != 1 for step in p["lhs_dilation"]):
        kernel = _turned_kernel(equation, kernel)
        sizes = [kernel.shape[axis] for axis in numbers.rhs_spec[2:]]
        reach = [d * (s - 1) for d, s in zip(dilations, sizes, strict=True)] * 2
        pads = [r - pad for r, pad in zip(reach, pads, strict=True)]
        out, into, *space = numbers.rhs_spec
        weights = converter.graph.stored(kernel, (into, out, *space))
        kind, strides = "ConvTranspose", list(p["lhs_dilation"])
    else:
        weights = converter.graph.stored(kernel, numbers.rhs_spec)
        kind, strides = "Conv", list(p["window_strides"])
    if any(pad < 0 for pad in pads):
        raise UnsupportedError("JAX's convolution with such a padding")
    name = converter.graph.node(
        kind, tensor, weights, pads=[int(p) for p in pads], strides=strides, **options
    )
    value = Value(name, aval.shape, np.dtype(x.dtype), numbers.out_spec)
    if value.dtype != aval.dtype:
        name = converter.graph.node("Cast", name, to=element_type(aval.dtype))
    return value_of(name, aval, numbers.out_spec)


def _turned_kernel(equation: Any, kernel: Value) -> Value:
    """The kernel of the same transposed convolution; ONNX turns it by 180 degrees."""
    p = equation.params
    strided = any(step != 1 for step in p["window_strides"])
    if strided or p["feature_group_count"] != 1 or not kernel.known:
        raise UnsupportedError("JAX's convolution with such a dilated input")
    return constant(np.flip(kernel.data, p["dimension_numbers"].rhs_spec[2:]))


@rule("reduce_window_sum", "reduce_window_max")
def _(converter: Converter, equation: Any, values: list[Value]) -> Value:
    (value,) = values
    (aval,) = (variable.aval for variable in equation.outvars)
    p = equation.params
    window, steps = p["window_dimensions"], p["window_strides"]
    if {*p["base_dilation"], *p["window_dilation"]} != {1}:
        raise UnsupportedError("JAX's reduce_window with dilation")
    idle = [
        axis
        for axis in range(len(window))
        if window[axis] == steps[axis] == 1 and not any(p["padding"][axis])
    ]
    if len(idle) == len(window):
        return value
    if len(idle) < 2:
        raise UnsupportedError("JAX's reduce_window over batch or channels")
    axes = value.axes or tuple(range(len(window)))
    if not {*axes[:2]} <= {*idle}:
        lead = [axis for axis in axes if axis in idle][:2]
        axes = (*lead, *(axis for axis in axes if axis not in lead))
    options = {
        "kernel_shape": [window[axis] for axis in axes[2:]],
        "strides": [steps[axis] for axis in axes[2:]],
        "pads": [int(p["padding"][axis][side]) for side in (0, 1) for axis in axes[2:]],
    }
    tensor = converter.graph.stored(value, axes)
    if equation.primitive.name == "reduce_window_max":
        return value_of(converter.graph.node("MaxPool", tensor, **options), aval, axes)
    mean = converter.graph.node("AveragePool", tensor, count_include_pad=1, **options)
    count = converter.graph.array(np.prod(window), value.dtype)
    return value_of(converter.graph.node("Mul", mean, count), aval, axes)


def mean_of_window(converter: Converter, total: Value, count: Value) -> Value | None:
    """The mean itself, where the sum of a window is divided by its size."""
    if isinstance(total.data, np.ndarray) or total.compact or not count.known:
        return None
    product = converter.graph.producer(total.data)
    if product is None or product.op_type != "Mul" or count.data.size != 1:
        return None
    pool = converter.graph.producer(product.input[0])
    factor = converter.graph.constant_of(product.input[1])
    if pool is None or pool.op_type != "AveragePool" or factor is None:
        return None
    if factor.size != 1 or factor.ravel()[0] != count.data.ravel()[0]:
        return None
    return Value(product.input[0], total.shape, total.dtype, total.axes)
