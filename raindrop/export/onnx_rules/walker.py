"""The walk through a traced computation, and the register of rules it goes by."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.extend import core

from raindrop.export.onnx_graph import (
    Graph,
    UnsupportedError,
    Value,
    constant,
    is_symbolic,
)

# Primitives that only call a computation.
_CALLS = {
    *("jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint"),
    *("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"),
}
# Primitives that cannot be computed on their own.
_OWN = {"scan", "cond", "platform_index", "dim_as_value"}
Rule = Callable[["Converter", Any, list[Value]], Value | list[Value]]
_RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Registers a function as the rule of the primitives of these names."""

    def register(function: Rule) -> Rule:
        _RULES.update(dict.fromkeys(names, function))
        return function

    return register


def value_of(name: str, aval: Any, axes: Sequence[int] | None = None) -> Value:
    """A tensor of the graph as the value of a traced variable.

    Args:
      name: of the tensor.
      aval: the variable's shape and type.
      axes: the order in which the tensor has them; as traced where None.
    """
    order = tuple(range(len(aval.shape)) if axes is None else axes)
    return Value(name, aval.shape, np.dtype(aval.dtype), order)


class Converter:
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
            return self.run(*parts(inner), arguments)
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


def parts(inner: Any) -> tuple[Any, Sequence[Any]]:
    """A computation and its constants, of whatever class this version of JAX has."""
    return getattr(inner, "jaxpr", inner), getattr(inner, "consts", ())


def _is_constant(equation: Any, arguments: Sequence[Value]) -> bool:
    sizes = (d for v in equation.outvars for d in v.aval.shape)
    return all(a.known for a in arguments) and not any(map(is_symbolic, sizes))
