"""Any computation that JAX traced, as an ONNX graph: one rule for each primitive.

What depends on no input is computed here and becomes a constant. Loops of a known
length (`nn.scan`) are written out. A primitive without a rule is an `UnsupportedError`
that names it; the ones below are what convolutional networks are made of.
"""

import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import onnx
from jax.extend import core

from raindrop.export.onnx_graph import (
    Graph,
    UnsupportedError,
    Value,
    constant,
    element_type,
    is_symbolic,
    same,
)

# Primitives that only call a computation.
_CALLS = {
    *("jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint"),
    *("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"),
}
# Primitives that cannot be computed on their own.
_OWN = {"scan", "cond", "platform_index", "dim_as_value"}
_Rule = Callable[["_Converter", Any, list[Value]], Value | list[Value]]
_RULES: dict[str, _Rule] = {}


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
    converter = _Converter()
    arguments = []
    for (label, labels), variable in zip(
        inputs.items(), closed.jaxpr.invars, strict=True
    ):
        aval = variable.aval
        tensor = converter.graph.input(label, aval.shape, aval.dtype, labels)
        arguments.append(_value(tensor, aval))
    results = converter.run(*_parts(closed), arguments)
    for (label, labels), result in zip(outputs.items(), results, strict=True):
        converter.graph.output(label, result, labels)
    return converter.graph.model(name)


def _value(name: str, aval: Any, axes: Sequence[int] | None = None) -> Value:
    order = tuple(range(len(aval.shape)) if axes is None else axes)
    return Value(name, aval.shape, np.dtype(aval.dtype), order)


def _rule(*names: str) -> Callable[[_Rule], _Rule]:
    def register(rule: _Rule) -> _Rule:
        _RULES.update(dict.fromkeys(names, rule))
        return rule

    return register


class _Converter:
    """Walks through the equations of a computation."""

    def __init__(self) -> None:
        self.graph = Graph()

    def run(
        self, jaxpr: Any, consts: Sequence[Any], arguments: Sequence[Value]
    ) -> list[Value]:
        """The results of a (sub)computation."""
        known: dict[Any, Value] = {}
        known.update(zip(jaxpr.constvars, map(constant, consts), strict=True))
        known.update(zip(jaxpr.invars, arguments, strict=True))

        def read(atom: Any) -> Value:
            if isinstance(atom, core.Literal):
                return constant(np.asarray(atom.val, atom.aval.dtype))
            return known[atom]

        for equation in jaxpr.eqns:
            scope = str(equation.source_info.name_stack)
            if scope and not self.graph.scope.startswith("sizes"):
                self.graph.scope = f"{scope.split('/jit')[0]}/"
            results = self._apply(equation, [read(atom) for atom in equation.invars])
            known.update(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _apply(self, equation: Any, arguments: list[Value]) -> list[Value]:
        name = equation.primitive.name
        inner = _inner(equation)
        if inner is not None:
            return self.run(*_parts(inner), arguments)
        if name not in _OWN and _is_constant(equation, arguments):
            results = equation.primitive.bind(
                *(argument.data for argument in arguments), **equation.params
            )
            several = equation.primitive.multiple_results
            return [constant(r) for r in (results if several else [results])]
        if len(equation.outvars) == 1 and 0 in (
            shape := equation.outvars[0].aval.shape
        ):
            zero = np.zeros((), equation.outvars[0].aval.dtype)
            return [Value(zero, shape, zero.dtype, (), compact=True)]
        if name not in _RULES:
            raise UnsupportedError(f"JAX's {name}")
        results = _RULES[name](self, equation, arguments)
        return results if isinstance(results, list) else [results]


def _inner(equation: Any) -> Any:
    """The computation that an equation only calls (jit, custom_jvp, remat, ...)."""
    if equation.primitive.name not in _CALLS:
        return None
    found = (equation.params.get(k) for k in ("jaxpr", "call_jaxpr", "fun_jaxpr"))
    return next(inner for inner in found if inner is not None)


def _parts(inner: Any) -> tuple[Any, Sequence[Any]]:
    """A computation and its constants, of whatever class this version of JAX has."""
    return getattr(inner, "jaxpr", inner), getattr(inner, "consts", ())


def _is_constant(equation: Any, arguments: Sequence[Value]) -> bool:
    sizes = (d for v in equation.outvars for d in v.aval.shape)
    return all(a.known for a in arguments) and not any(map(is_symbolic, sizes))


# Elementwise.

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
    converter: _Converter, arguments: Sequence[Value], shape: Sequence[Any]
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


def _elementwise(converter: _Converter, kind: str, equation: Any, values: Any) -> Value:
    (aval,) = (variable.aval for variable in equation.outvars)
    names, axes, compact = _aligned(converter, values, aval.shape)
    name = converter.graph.node(kind, *names)
    if not any(len(v.axes) for v in values):
        axes = ()  # of scalars that broadcast
    return Value(name, aval.shape, np.dtype(aval.dtype), axes, compact)


@_rule(*_ELEMENTWISE)
def _(converter: _Converter, equation: Any, values: list[Value]) -> Value:
    kind = _ELEMENTWISE[equation.primitive.name]
    if kind == "Max" and any(v.known and not v.data.any() for v in values):
        rest = [v for v in values if not v.known]
        if len(rest) == 1 and not is_integer(rest[0]):
            return _elementwise(converter, "Relu", equation, rest)
    if kind == "Div":
        mean = _mean(converter, *values)
        if mean is not None:
            return mean
        if is_integer(values[0]):
            raise UnsupportedError("JAX's division of integers")
    return _elementwise(converter, kind, equation, values)


def is_integer(value: Value) -> bool:
    """Whether a value's type is one of whole numbers."""
    return np.issubdtype(value.dtype, np.integer)


@_rule("ne")
def _(converter: _Converter, equation: Any, values: list[Value]) -> Value:
    equal = _elementwise(converter, "Equal", equation, values)
    return _elementwise(converter, "Not", equation, [equal])


@_rule("rsqrt")
def _(converter: _Converter, equation: Any, values: list[Value]) -> Value:
    root = _elementwise(converter, "Sqrt", equation, values)
    return _elementwise(converter, "Reciprocal", equation, [root])


@_rule("log1p", "expm1")
def _(converter: _Converter, equation: Any, values: list[Value]) -> Value:
    (x,) = values
    one = constant(np.ones((), x.dtype))
    if equation.primitive.name == "log1p":
        x = _elementwise(converter, "Add", equation, [x, one])
        return _elementwise(converter, "Log", equation, [x])
    x = _elementwise(converter, "Exp", equation, [x])
    return _elementwise(converter, "Sub", equation, [x, one])


@_rule("square")
def _(converter: _Converter, equation: Any, values: list[Value]) -> Value:
    return _elementwise(converter, "Mul", equation, values * 2)


@_rule("integer_pow")
def _(converter: _Converter, equation: Any, values: list[Value]) -> Value:
    power = constant(np.asarray(equation.params["y"], values[0].dtype))
    return _elementwise(converter, "Pow", equation, [*values, power])


@_rule("clamp")
def _(converter: _Converter, equation: Any, values: list[Value]) -> Value:
    low, x, high = values
    above = _elementwise(converter, "Max", equation, [x, low])
    return _elementwise(converter, "Min", equation, [above, high])


@_rule("select_n")
def _(converter: _Converter, equation: Any, values: list[Value]) -> Value:
    which, *cases = values
    if which.dtype != bool or len(cases) != 2:
        raise UnsupportedError("JAX's select_n of more than two cases")
    otherwise, chosen = cases
    slope = _leaky_slope(converter, which, chosen, otherwise)
    if slope is not None:
        (aval,) = (variable.aval for variable in equation.outvars)
        name = converter.graph.node("LeakyRelu", chosen.data, alpha=slope)
        return _value(name, aval, chosen.axes)
    return _elementwise(converter, "Where", equation, [which, chosen, otherwise])


def _leaky_slope(converter: _Converter, *values: Value) -> float | None:
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


@_rule("convert_element_type")
def _(converter: _Converter, equation: Any, values: list[Value]) -> Value:
    (value,) = values
    dtype = np.dtype(equation.params["new_dtype"])
    if dtype == value.dtype:
        return value
    name = converter.graph.stored(value, value.axes or None, expand=False)
    name = converter.graph.node("Cast", name, to=element_type(dtype))
    return Value(name, value.shape, dtype, value.axes, value.compact)


@_rule("copy", "copy_p", "stop_gradient", "optimization_barrier", "sharding_constraint")
def _(converter: _Converter, equation: Any, values: list[Value]) -> list[Value]:
    return values


# Shapes and places.


@_rule("broadcast_in_dim")
def _(converter: _Converter, equation: Any, values: list[Value]) -> Value:
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
    reshaped = _reshaped(converter, value, tuple(ones))
    return Value(reshaped.data, shape, value.dtype, reshaped.axes, expanded)


@_rule("reshape", "squeeze", "expand_dims")
def _(converter: _Converter, equation: Any, values: list[Value]) -> Value:
    value, *_ = values
    if equation.primitive.name == "reshape" and equation.params["dimensions"]:
        raise UnsupportedError("JAX's reshape with an order of axes")
    (aval,) = (variable.aval for variable in equation.outvars)
    return _reshaped(converter, value, aval.shape)


def _reshaped(converter: _Converter, value: Value, shape: tuple[Any, ...]) -> Value:
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


def _reshape_target(converter: _Converter, old: Sequence[Any], new: Any) -> str:
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


@_rule("transpose")
def _(converter: _Converter, equation: Any, values: list[Value]) -> Value:
    (value,) = values
    (aval,) = (variable.aval for variable in equation.outvars)
    order = list(equation.params["permutation"])
    axes = tuple(order.index(axis) for axis in value.axes)
    return Value(value.data, aval.shape, value.dtype, axes, value.compact)


@_rule("concatenate")
def _(converter: _Converter, equation: Any, values: list[Value]) -> Value:
    (aval,) = (variable.aval for variable in equation.outvars)
    along = equation.params["dimension"]
    values = [v for v in values if not same(v.shape[along], 0)]
    if len(values) == 1:
        return values[0]
    full = [v for v in values if isinstance(v.data, str) and len(v.axes)]
    axes = full[0].axes if full else tuple(range(len(aval.shape)))
    names = [converter.graph.stored(value, axes) for value in values]
    place = axes.index(along)
    return _value(converter.graph.node("Concat", *names, axis=place), aval, axes)


@_rule("split")
def _(converter: _Converter, equation: Any, values: list[Value]) -> list[Value]:
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
        _value(n, v.aval, axes) for n, v in zip(names, equation.outvars, strict=True)
    ]


@_rule("slice")
def _(converter: _Converter, equation: Any, values: list[Value]) -> Value:
    (value,) = values
    (aval,) = (variable.aval for variable in equation.outvars)
    starts, limits = (equation.params[f"{w}_indices"] for w in ("start", "limit"))
    steps = equation.params["strides"] or (1,) * len(starts)
    return converter.graph.slice(value, starts, limits, steps, aval.shape)


@_rule("dynamic_slice")
def _(converter: _Converter, equation: Any, values: list[Value]) -> Value:
    value, *starts = values
    (aval,) = (variable.aval for variable in equation.outvars)
    if not all(start.known for start in starts):
        raise UnsupportedError("JAX's dynamic_slice at a place that is computed")
    firsts = [int(start.data) for start in starts]
    lasts = [f + s for f, s in zip(firsts, aval.shape, strict=True)]
    return converter.graph.slice(value, firsts, lasts, [1] * len(firsts), aval.shape)


@_rule("rev")
def _(converter: _Converter, equation: Any, values: list[Value]) -> Value:
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


@_rule("pad")
def _(converter: _Converter, equation: Any, values: list[Value]) -> Value:
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
    return _value(name, aval, axes)


@_rule("gather")
def _(converter: _Converter, equation: Any, values: list[Value]) -> Value:
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
        return _reshaped(converter, part, aval.shape)
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
    line = _reshaped(converter, places, places.shape[:-1])
    tensors = graph.stored(value, axes), graph.stored(line)
    return _value(graph.node("Gather", *tensors, axis=axes.index(axis)), aval, axes)


def _check_places(places: Value, size: Any, mode: Any) -> None:
    """Raises an error where a place may be outside: ONNX has its own ideas of that."""
    if places.known and not is_symbolic(size):
        inside = places.data.min(initial=0) >= 0 and places.data.max(initial=0) < size
    else:
        inside = mode == jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS
    if not inside:
        raise UnsupportedError("JAX's gather that may reach beyond the end")


@_rule("iota")
def _(converter: _Converter, equation: Any, values: list[Value]) -> Value:
    (aval,) = (variable.aval for variable in equation.outvars)
    axis = equation.params["dimension"]
    graph = converter.graph
    size = graph.sizes(aval.shape[axis : axis + 1])
    ends = graph.array(0, np.int64), graph.node("Squeeze", size)
    name = graph.node("Range", *ends, graph.array(1, np.int64))
    name = graph.node("Cast", name, to=element_type(aval.dtype))
    ones = tuple(d if a == axis else 1 for a, d in enumerate(aval.shape))
    line = Value(name, ones[axis : axis + 1], np.dtype(aval.dtype), (0,))
    line = _reshaped(converter, line, ones)
    compact = not all(map(same, ones, aval.shape))
    return Value(line.data, aval.shape, line.dtype, line.axes, compact)


@_rule("dim_as_value")
def _(converter: _Converter, equation: Any, values: list[Value]) -> Value:
    (aval,) = (variable.aval for variable in equation.outvars)
    size = converter.graph.sizes((equation.params["dim"],))
    name = converter.graph.node("Squeeze", size)
    return _value(converter.graph.node("Cast", name, to=element_type(aval.dtype)), aval)


# Sums of products.


@_rule("conv_general_dilated")
def _(converter: _Converter, equation: Any, values: list[Value]) -> Value:
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
    return _value(name, aval, numbers.out_spec)


def _turned_kernel(equation: Any, kernel: Value) -> Value:
    """The kernel of the same transposed convolution; ONNX turns it by 180 degrees."""
    p = equation.params
    strided = any(step != 1 for step in p["window_strides"])
    if strided or p["feature_group_count"] != 1 or not kernel.known:
        raise UnsupportedError("JAX's convolution with such a dilated input")
    return constant(np.flip(kernel.data, p["dimension_numbers"].rhs_spec[2:]))


@_rule("reduce_window_sum", "reduce_window_max")
def _(converter: _Converter, equation: Any, values: list[Value]) -> Value:
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
        return _value(converter.graph.node("MaxPool", tensor, **options), aval, axes)
    mean = converter.graph.node("AveragePool", tensor, count_include_pad=1, **options)
    count = converter.graph.array(np.prod(window), value.dtype)
    return _value(converter.graph.node("Mul", mean, count), aval, axes)


def _mean(converter: _Converter, total: Value, count: Value) -> Value | None:
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


@_rule("reduce_sum", "reduce_max", "reduce_min")
def _(converter: _Converter, equation: Any, values: list[Value]) -> Value:
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
    return _value(name, aval, order)


@_rule("dot_general")
def _(converter: _Converter, equation: Any, values: list[Value]) -> Value:
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
    return _value(name, aval)


# Control flow.


@_rule("platform_index")
def _(converter: _Converter, equation: Any, values: list[Value]) -> Value:
    """The way for platforms that are not named: the plain one."""
    return constant(np.int32(len(equation.params["platforms"]) - 1))


@_rule("cond")
def _(converter: _Converter, equation: Any, values: list[Value]) -> list[Value]:
    which, *arguments = values
    if not which.known:
        raise UnsupportedError("JAX's cond on what is computed")
    branch = equation.params["branches"][int(which.data)]
    return converter.run(*_parts(branch), arguments)


@_rule("scan")
def _(converter: _Converter, equation: Any, values: list[Value]) -> list[Value]:
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
            *_parts(p["jaxpr"]),
            [*fixed, *state, *(_row(converter, value, step) for value in inputs)],
        )
        state = results[:carry]
        steps[step] = results[carry:]
    stacked = [
        _stacked(converter, [steps[step][i] for step in order])
        for i in range(len(equation.outvars) - carry)
    ]
    return [*state, *stacked]


def _row(converter: _Converter, value: Value, index: int) -> Value:
    """One of the values along the first axis."""
    shape = value.shape[1:]
    if value.known:
        return constant(value.data[index])
    starts = [index] + [0] * len(shape)
    sizes = (1, *shape)
    ends = [index + 1, *shape]
    row = converter.graph.slice(value, starts, ends, [1] * len(starts), sizes)
    return _reshaped(converter, row, shape)


def _stacked(converter: _Converter, rows: list[Value]) -> Value:
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


def trace(function: Callable[..., Any], *arguments: Any) -> core.ClosedJaxpr:
    """A function as JAX traces it, for arguments that have a shape and a type."""
    return jax.jit(function).trace(*arguments).jaxpr
