"""An ONNX graph under construction: values, their axes and sizes, nodes.

Two things are put off until they are needed. Axes: the networks are NHWC and ONNX's
convolutions NCHW, so a value remembers in which order its axes are stored, and is
transposed only where that order matters. Broadcasts: a value may have ones where its
shape has more, and is expanded only where a node does not broadcast by itself.
"""

import ast
import dataclasses
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Shape = tuple[Any, ...]  # of ints and JAX's symbolic dimensions
OPSET = 17
_IR_VERSION = 8
_END = np.iinfo(np.int64).max


class UnsupportedError(Exception):
    """A computation that the converter does not know."""


@dataclasses.dataclass(frozen=True)
class Value:
    """An array of the traced computation.

    Attributes:
      data: the name of a tensor in the graph, or the array where it is known.
      shape: as traced.
      dtype: its type.
      axes: `axes[k]` is the axis of `shape` that the tensor has as its k-th.
      compact: the tensor has ones, or no axes at all, where `shape` may have more.
    """

    data: str | np.ndarray
    shape: Shape
    dtype: np.dtype
    axes: tuple[int, ...]
    compact: bool = False

    @property
    def known(self) -> bool:
        """Whether this is an array of which everything is known."""
        return isinstance(self.data, np.ndarray) and not self.compact


def constant(array: Any) -> Value:
    """A known array."""
    array = np.asarray(array)
    return Value(array, array.shape, array.dtype, tuple(range(array.ndim)))


def element_type(dtype: Any) -> int:
    """ONNX's number of a type."""
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


class Graph:
    """Nodes and constants, in the order in which they are computed."""

    def __init__(self) -> None:
        self.scope = ""
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._names: dict[tuple, str] = {}
        self._producers: dict[str, onnx.NodeProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._sizes: dict[str, str] = {}

    # Nodes and constants.

    def node(self, kind: str, *inputs: str, count: int = 1, **attributes: Any) -> str:
        """Adds a node, or finds the same one; the name of its (first) output."""
        return self.nodes(kind, *inputs, count=count, **attributes)[0]

    def nodes(
        self, kind: str, *inputs: str, count: int, **attributes: Any
    ) -> list[str]:
        """Adds a node of several outputs, or finds the same one."""
        key = (kind, inputs, count, repr(sorted(attributes.items())))
        if key not in self._names:
            self._names[key] = f"{self.scope}{kind}_{len(self._nodes)}"
            name = self._names[key]
            outputs = [name] if count == 1 else [f"{name}_{i}" for i in range(count)]
            node = helper.make_node(kind, inputs, outputs, name, **attributes)
            self._nodes.append(node)
            self._producers.update(dict.fromkeys(outputs, node))
        name = self._names[key]
        return [name] if count == 1 else [f"{name}_{i}" for i in range(count)]

    def array(self, array: Any, dtype: Any = None) -> str:
        """The name of a constant."""
        array = np.asarray(array, dtype)
        key = ("constant", array.dtype.name, array.shape, array.tobytes())
        if key not in self._names:
            name = f"constant_{len(self._constants)}"
            self._names[key] = name
            self._constants[name] = numpy_helper.from_array(
                np.ascontiguousarray(array).reshape(array.shape), name
            )
        return self._names[key]

    def producer(self, name: str) -> onnx.NodeProto | None:
        """The node that gives a tensor."""
        return self._producers.get(name)

    def constant_of(self, name: str) -> np.ndarray | None:
        """The array of a constant's name."""
        tensor = self._constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    # Sizes.

    def size(self, dimension: Any) -> str | int:
        """A dimension: an int, or the name of an int64 tensor of shape [1]."""
        if not is_symbolic(dimension):
            return int(dimension)
        text = str(dimension)
        if text not in self._sizes:
            scope, self.scope = self.scope, "sizes/"
            tree = ast.parse(text.replace("^", "**"), mode="eval")
            self._sizes[text] = self._as_tensor(self._computed(tree.body))
            self.scope = scope
        return self._sizes[text]

    def sizes(self, shape: Shape) -> str:
        """The name of an int64 tensor that holds a shape."""
        if not any(map(is_symbolic, shape)):
            return self.array([int(d) for d in shape], np.int64)
        parts = [self._as_tensor(self.size(dimension)) for dimension in shape]
        return self.node("Concat", *parts, axis=0)

    def _as_tensor(self, size: str | int) -> str:
        return size if isinstance(size, str) else self.array([size], np.int64)

    def _computed(self, tree: ast.expr) -> str | int:
        """What the text of a symbolic dimension computes, in the graph."""
        folded: dict[Any, tuple[str, Callable[[int, int], int]]] = {
            ast.Add: ("Add", operator.add),
            ast.Sub: ("Sub", operator.sub),
            ast.Mult: ("Mul", operator.mul),
            "floordiv": ("Div", operator.floordiv),
            "max": ("Max", max),
            "min": ("Min", min),
        }
        match tree:
            case ast.Constant(value=int(value)):
                return value
            case ast.Name(id=name):
                return self._sizes[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                kind, left, right = ast.Mult, -1, self._computed(operand)
            case ast.BinOp(left=left, op=op, right=right):
                kind, left, right = type(op), *map(self._computed, (left, right))
            case ast.Call(func=ast.Name(id=kind), args=[left, right]):
                left, right = map(self._computed, (left, right))
            case _:
                kind = None
        if kind is ast.Pow and isinstance(right, int) and right > 0:
            kind, base = ast.Mult, left
            for _ in range(right - 2):
                left = self.node("Mul", *map(self._as_tensor, (left, base)))
            if right == 1:
                return base
            right = base
        if kind not in folded:
            raise UnsupportedError(f"the size {ast.unparse(tree)}")
        name, function = folded[kind]
        if isinstance(left, int) and isinstance(right, int):
            return function(left, right)
        return self.node(name, self._as_tensor(left), self._as_tensor(right))

    # Inputs and outputs.

    def input(self, name: str, shape: Shape, dtype: Any, labels: Sequence[Any]) -> str:
        """Declares an input, and learns the symbolic dimensions from its shape.

        Args:
          name: of the input.
          shape: each dimension an int, a variable, or a multiple of one.
          dtype: its type.
          labels: ints, and names of the dimensions for people.
        """
        info = helper.make_tensor_value_info(name, element_type(dtype), labels)
        self._inputs.append(info)
        self.scope = "sizes/"
        whole = self.node("Shape", name)
        for axis, dimension in enumerate(shape):
            if not is_symbolic(dimension):
                continue
            factor, _, variable = str(dimension).rpartition("*")
            size = self.node("Gather", whole, self.array([axis], np.int64))
            if factor:
                size = self.node("Div", size, self.array([int(factor)], np.int64))
            self._sizes.setdefault(variable, size)
        self.scope = ""
        return name

    def output(self, name: str, value: Value, labels: Sequence[Any]) -> None:
        """Declares a value as an output, with its axes in order."""
        self._nodes.append(
            helper.make_node("Identity", [self.stored(value)], [name], name)
        )
        kind = element_type(value.dtype)
        self._outputs.append(helper.make_tensor_value_info(name, kind, labels))

    def model(self, name: str) -> onnx.ModelProto:
        """The checked model; what no output needs is left out."""
        needed = {info.name for info in self._outputs}
        nodes = []
        for node in reversed(self._nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                nodes.append(node)
        constants = [c for c in self._constants.values() if c.name in needed]
        graph = helper.make_graph(
            nodes[::-1], name, self._inputs, self._outputs, constants
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=_IR_VERSION,
            producer_name="raindrop",
        )
        onnx.checker.check_model(model, full_check=True)
        return model

    # Values as tensors.

    def stored(
        self, value: Value, axes: Sequence[int] | None = None, expand: bool = True
    ) -> str:
        """The name of a value's tensor, with its axes in a certain order.

        Args:
          value: the value.
          axes: as in `Value.axes`; the order of the shape by default.
          expand: whether the tensor must have the value's shape; else it may be one
            that broadcasts to it.
        """
        axes = tuple(range(len(value.shape)) if axes is None else axes)
        if isinstance(value.data, np.ndarray):
            array = value.data
            if array.ndim:
                array = array.transpose([value.axes.index(axis) for axis in axes])
            name = self.array(array)
        elif value.axes == axes or (value.compact and not value.axes):
            name = value.data
        else:
            order = [value.axes.index(axis) for axis in axes]
            name = self.node("Transpose", value.data, perm=order)
        if value.compact and expand:
            shape = self.sizes([value.shape[axis] for axis in axes])
            name = self.node("Expand", name, shape)
        return name

    def slice(
        self,
        value: Value,
        starts: Sequence[Any],
        limits: Sequence[Any],
        steps: Sequence[int],
        shape: Shape,
    ) -> Value:
        """A part of a value; starts and limits may be symbolic."""
        cut: list[tuple[str | int, str | int, int, int]] = []
        bounds = zip(starts, limits, steps, value.shape, strict=True)
        for axis, (start, limit, step, size) in enumerate(bounds):
            if not is_symbolic(start) and start == 0 and same(limit, size) and step > 0:
                if step == 1:
                    continue
                limit = _END
            ends = (self._bound(start, size), self._bound(limit, size))
            cut.append((*ends, axis, step))
        if not cut:
            return dataclasses.replace(value, shape=shape)
        axes = value.axes if value.axes else tuple(range(len(shape)))
        name = self.stored(value, axes)
        starts, ends = (
            self.node("Concat", *map(self._as_tensor, column), axis=0)
            if any(isinstance(bound, str) for bound in column)
            else self.array(column, np.int64)
            for column in list(zip(*cut, strict=True))[:2]
        )
        places = self.array([axes.index(c[2]) for c in cut], np.int64)
        strides = self.array([c[3] for c in cut], np.int64)
        name = self.node("Slice", name, starts, ends, places, strides)
        return Value(name, shape, value.dtype, axes)

    def _bound(self, bound: Any, size: Any) -> str | int:
        """A start or limit, counted from the end where it is symbolic."""
        if not is_symbolic(bound):
            return int(bound)
        if same(bound, size):
            return _END
        from_end = bound - size
        if not is_symbolic(from_end) and from_end < 0:
            return int(from_end)
        return self.size(bound)


def is_symbolic(dimension: Any) -> bool:
    """Whether a dimension is not a number."""
    return not isinstance(dimension, int | np.integer)


def same(a: Any, b: Any) -> bool:
    """Whether two dimensions are the same for sure."""
    return bool(is_symbolic(a) == is_symbolic(b) and a == b)
