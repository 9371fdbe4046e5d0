"""Elementwise: arithmetic, comparisons, choices, types."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from raindrop.export.onnx_graph import (
    UnsupportedError,
    Value,
    constant,
    element_type,
    same,
)
from raindrop.export.onnx_rules.convolutions import mean_of_window
from raindrop.export.onnx_rules.walker import Converter, rule, value_of

_ELEMENTWISE = {
    "abs": "Abs",
    "add": "Add",
    "add_any": "Add",
    "and": "And",
    "ceil": "Ceil",
    "cos": "Cos",
    "div": "Div",
    "eq": "Equal",
    "erf": "Erf",
    "exp": "Exp",
    "floor": "Floor",
    "ge": "GreaterOrEqual",
    "gt": "Greater",
    "le": "LessOrEqual",
    "log": "Log",
    "logistic": "Sigmoid",
    "lt": "Less",
    "max": "Max",
    "min": "Min",
    "mul": "Mul",
    "neg": "Neg",
    "not": "Not",
    "or": "Or",
    "pow": "Pow",
    "sign": "Sign",
    "sin": "Sin",
    "sqrt": "Sqrt",
    "sub": "Sub",
    "tanh": "Tanh",
}


def _aligned(
    converter: Converter, arguments: Sequence[Value], shape: Sequence[Any]
) -> tuple[list[str], tuple[int, ...], bool]:
    """Tensors that broadcast to each other, their axes, and whether to less than shape.

    All get the axes of the first argument that has a tensor of the full rank.
    """
    full = [a for a in arguments if isinstance(a.data, str) and len(a.axes)]
    axes = full[0].axes if full else tuple(range(len(shape)))
    names = [
        converter.graph.stored(a, axes if len(a.shape) == len(axes) else None, False)
        for a in arguments
    ]
    covered = any(
        not a.compact and len(a.shape) == len(shape) and all(map(same, a.shape, shape))
        for a in arguments
    )
    return names, axes, bool(shape) and not covered


def _elementwise(converter: Converter, kind: str, equation: Any, values: Any) -> Value:
    (aval,) = (variable.aval for variable in equation.outvars)
    names, axes, compact = _aligned(converter, values, aval.shape)
    name = converter.graph.node(kind, *names)
    if not any(len(v.axes) for v in values):
        axes = ()  # of scalars that broadcast
    return Value(name, aval.shape, np.dtype(aval.dtype), axes, compact)


@rule(*_ELEMENTWISE)
def _(converter: Converter, equation: Any, values: list[Value]) -> Value:
    kind = _ELEMENTWISE[equation.primitive.name]
    if kind == "Max" and any(v.known and not v.data.any() for v in values):
        rest = [v for v in values if not v.known]
        if len(rest) == 1 and not is_integer(rest[0]):
            return _elementwise(converter, "Relu", equation, rest)
    if kind == "Div":
        mean = mean_of_window(converter, *values)
        if mean is not None:
            return mean
        if is_integer(values[0]):
            raise UnsupportedError("JAX's division of integers")
    return _elementwise(converter, kind, equation, values)


def is_integer(value: Value) -> bool:
    """Whether a value's type is one of whole numbers."""
    return np.issubdtype(value.dtype, np.integer)


@rule("ne")
def _(converter: Converter, equation: Any, values: list[Value]) -> Value:
    equal = _elementwise(converter, "Equal", equation, values)
    return _elementwise(converter, "Not", equation, [equal])


@rule("rsqrt")
def _(converter: Converter, equation: Any, values: list[Value]) -> Value:
    root = _elementwise(converter, "Sqrt", equation, values)
    return _elementwise(converter, "Reciprocal", equation, [root])


@rule("log1p", "expm1")
def _(converter: Converter, equation: Any, values: list[Value]) -> Value:
    (x,) = values
    one = constant(np.ones((), x.dtype))
    if equation.primitive.name == "log1p":
        x = _elementwise(converter, "Add", equation, [x, one])
        return _elementwise(converter, "Log", equation, [x])
    x = _elementwise(converter, "Exp", equation, [x])
    return _elementwise(converter, "Sub", equation, [x, one])


@rule("square")
def _(converter: Converter, equation: Any, values: list[Value]) -> Value:
    return _elementwise(converter, "Mul", equation, values * 2)


@rule("integer_pow")
def _(converter: Converter, equation: Any, values: list[Value]) -> Value:
    power = constant(np.asarray(equation.params["y"], values[0].dtype))
    return _elementwise(converter, "Pow", equation, [*values, power])


@rule("clamp")
def _(converter: Converter, equation: Any, values: list[Value]) -> Value:
    low, x, high = values
    above = _elementwise(converter, "Max", equation, [x, low])
    return _elementwise(converter, "Min", equation, [above, high])


@rule("select_n")
def _(converter: Converter, equation: Any, values: list[Value]) -> Value:
    which, *cases = values
    if which.dtype != bool or len(cases) != 2:
        raise UnsupportedError("JAX's select_n of more than two cases")
    otherwise, chosen = cases
    slope = _leaky_slope(converter, which, chosen, otherwise)
    if slope is not None:
        (aval,) = (variable.aval for variable in equation.outvars)
        name = converter.graph.node("LeakyRelu", chosen.data, alpha=slope)
        return value_of(name, aval, chosen.axes)
    return _elementwise(converter, "Where", equation, [which, chosen, otherwise])


def _leaky_slope(converter: Converter, *values: Value) -> float | None:
    """c, where this chooses x where x >= 0, and c x elsewhere."""
    which, x, scaled = values
    if any(isinstance(v.data, np.ndarray) or v.compact for v in values):
        return None
    test, product = (converter.graph.producer(v.data) for v in (which, scaled))
    if not (test and product and test.op_type in ("GreaterOrEqual", "Greater")):
        return None
    if test.input[0] != x.data or product.op_type != "Mul":
        return None
    zero = converter.graph.constant_of(test.input[1])
    factors = [n for n in product.input if n != x.data]
    factor = converter.graph.constant_of(factors[0]) if len(factors) == 1 else None
    if zero is None or zero.any() or factor is None or factor.size != 1:
        return None
    return float(factor.ravel()[0])


@rule("convert_element_type")
def _(converter: Converter, equation: Any, values: list[Value]) -> Value:
    (value,) = values
    dtype = np.dtype(equation.params["new_dtype"])
    if dtype == value.dtype:
        return value
    name = converter.graph.stored(value, value.axes or None, expand=False)
    name = converter.graph.node("Cast", name, to=element_type(dtype))
    return Value(name, value.shape, dtype, value.axes, value.compact)


@rule("copy", "copy_p", "stop_gradient", "optimization_barrier", "sharding_constraint")
def _(converter: Converter, equation: Any, values: list[Value]) -> list[Value]:
    return values
