"""Recording a network with torch.fx: its code is followed with stand-ins for tensors.

Nothing is computed, so what comes out holds for every input; code that asks a stand-in for
numbers, sizes that are computed with among them, cannot be followed.
"""

from __future__ import annotations

import inspect
import operator
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn

from stagewright.profile.leaves import Leaves
from stagewright.profile.recording import (
    Call,
    CannotRecord,
    Input,
    Method,
    Recording,
    Ref,
    SizeOf,
    features_of,
)
from stagewright.profile.values import Path, is_data, mapped
from stagewright.profile.watch import sparse_functions

OPERATORS = frozenset(
    {
        operator.add,
        operator.sub,
        operator.mul,
        operator.truediv,
        operator.matmul,
        operator.neg,
        operator.pow,
        operator.getitem,
    }
)


def trace(model: nn.Module, inputs: Any, is_leaf: Leaves) -> Recording:
    """Record a network without running it.

    Raises
    ------
    CannotRecord
        If its code cannot be followed with stand-ins.
    """
    arguments = _bound(model, inputs)
    tracer = _Tracer(is_leaf)
    fixed = {name: value for name, (value, _) in arguments.items() if not is_data(value)}
    with _sparse_functions():
        try:
            graph = tracer.trace(model, concrete_args=fixed or None)
        except Exception as error:  # any code of the user's may stumble over a stand-in
            text = " ".join(str(error).split()) or type(error).__name__
            raise CannotRecord(text[:200]) from error
    return _Reader(model, arguments).recording(graph)


def _bound(model: nn.Module, inputs: Any) -> dict[str, tuple[Any, Path]]:
    """Return the value of each argument of the model's forward, and its place in the inputs."""
    args, kwargs = inputs
    signature = inspect.signature(model.forward)
    kinds = {x.kind for x in signature.parameters.values()}
    if kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
        raise CannotRecord("forward takes any number of arguments")
    names = list(signature.parameters)
    found: dict[str, tuple[Any, Path]] = {}
    for place, (name, value) in enumerate(zip(names, args, strict=False)):
        found[name] = (value, (0, place))
    for name, value in kwargs.items():
        found[name] = (value, (1, name))
    for name, parameter in signature.parameters.items():
        found.setdefault(name, (parameter.default, ()))
        if isinstance(found[name][0], (tuple, list, dict)):
            raise CannotRecord(f"the argument '{name}' is a container of tensors")
    return found


class _Tracer(fx.Tracer):
    """Stops at layers."""

    def __init__(self, is_leaf: Leaves) -> None:
        super().__init__(autowrap_functions=tuple(sparse_functions().values()))
        self._leaf = is_leaf

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether a module is a layer."""
        return self._leaf(m)


@contextmanager
def _sparse_functions() -> Iterator[None]:
    """Let MinkowskiEngine's own functions take stand-ins while this lasts."""
    engine = sys.modules.get("MinkowskiEngine")
    if engine is None:
        yield
        return
    originals = sparse_functions()

    def standing_in(original: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            proxies = [x for x in args if isinstance(x, fx.Proxy)]
            if not proxies:
                return original(*args, **kwargs)
            return proxies[0].tracer.create_proxy("call_function", original, args, kwargs)

        return call

    try:
        for name, original in originals.items():
            setattr(engine, name, standing_in(original))
        yield
    finally:
        for name, original in originals.items():
            setattr(engine, name, original)


class _Reader:
    """Turns a graph of torch.fx into a recording."""

    def __init__(self, model: nn.Module, arguments: dict[str, tuple[Any, Path]]) -> None:
        self.model = model
        self.arguments = arguments
        self.calls: list[Call] = []
        self.meaning: dict[fx.Node, Any] = {}

    def recording(self, graph: fx.Graph) -> Recording:
        """Return the calls of a graph."""
        outputs: list[Any] = []
        for node in graph.nodes:
            if node.op == "output":
                mapped(self._read(node.args[0]), outputs.append)
            else:
                self.meaning[node] = self._entered(node)
        refs = [x for x in outputs if isinstance(x, Ref)]
        if len(refs) != len([x for x in outputs if x is not None]):
            raise CannotRecord("the network returns something that is not a tensor")
        return Recording(tuple(self.calls), tuple(refs))

    def _entered(self, node: fx.Node) -> Any:
        """Write a node down and return what it stands for."""
        if node.op == "placeholder":
            value, path = self.arguments[str(node.target).removesuffix("_1")]
            return self._noted(Call(Input(path))) if is_data(value) else value
        if node.op == "get_attr":
            return operator.attrgetter(str(node.target))(self.model)
        args, kwargs = self._read(node.args), self._read(node.kwargs)
        if node.op == "call_module":
            name = str(node.target)
            module = self.model.get_submodule(name)
            return self._noted(Call(module, args, kwargs, name, is_inplace(module)))
        if node.op == "call_method":
            return self._method(str(node.target), args, kwargs)
        return self._function(node, args, kwargs)

    def _read(self, value: Any) -> Any:
        return mapped(value, self._leaf)

    def _leaf(self, value: Any) -> Any:
        return self.meaning[value] if isinstance(value, fx.Node) else value

    def _noted(self, call: Call) -> Ref:
        self.calls.append(call)
        return Ref(len(self.calls) - 1)

    def _method(self, name: str, args: Any, kwargs: Any) -> Any:
        operand = args[0]
        if name in {"size", "dim"} and isinstance(operand, Ref):
            if name == "dim":
                raise CannotRecord("the number of dimensions is looked at")
            if len(args) == 1 and not kwargs:
                return _Shape(operand)
            return SizeOf(operand, args[1] if len(args) > 1 else kwargs["dim"])
        return self._noted(Call(Method(name), args, kwargs, overwrites=_in_place(name)))

    def _function(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        target: Any = node.target
        name = getattr(target, "__name__", "")
        if name in {"_assert", "_assert_is_none"}:
            return None
        if target is getattr:
            return self._attribute(args[0], args[1])
        if target is operator.getitem and isinstance(args[0], _Shape):
            return self._length(args[0], args[1])
        self._check_no_arithmetic(args, name)
        inplace = kwargs.get("inplace") is True or (_in_place(name) and target not in OPERATORS)
        return self._noted(Call(target, args, kwargs, overwrites=inplace))

    def _attribute(self, value: Any, name: str) -> Any:
        if name == "shape":
            return _Shape(value)
        if name == "F":
            return self._noted(Call(features_of, (value,)))
        if name in {"T", "mT"}:
            return self._noted(Call(_Attribute(name), (value,)))
        raise CannotRecord(f"the attribute '{name}' of a tensor is looked at")

    @staticmethod
    def _length(shape: _Shape, index: Any) -> Any:
        if isinstance(index, int):
            return SizeOf(shape.ref, index)
        raise CannotRecord("a part of a tensor's shape is taken")

    @staticmethod
    def _check_no_arithmetic(args: Any, name: str) -> None:
        first = args[0] if args else None
        numbers = [x for x in args if isinstance(x, (SizeOf, _Shape))]
        if numbers and (isinstance(first, (SizeOf, _Shape)) or not any(_refs(args))):
            raise CannotRecord(f"sizes of tensors are computed with ({name})")


class _Shape:
    """The shape of a tensor, of which only single lengths can be written down."""

    def __init__(self, ref: Ref) -> None:
        self.ref = ref


class _Attribute:
    """A tensor that is an attribute of another."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.__name__ = name

    def __call__(self, operand: torch.Tensor) -> torch.Tensor:
        """Return it."""
        found: torch.Tensor = getattr(operand, self.name)
        return found


def _refs(args: Any) -> list[Ref]:
    found: list[Any] = []
    mapped(args, found.append)
    return [x for x in found if isinstance(x, Ref)]


def is_inplace(module: nn.Module) -> bool:
    """Return whether a layer is told to overwrite its operand."""
    inner = getattr(module, "module", module)
    return getattr(inner, "inplace", False) is True


def _in_place(name: str) -> bool:
    return name.endswith("_") and not name.endswith("__")
