"""Recording a network by watching one run of it: every layer, and every function of torch.

What the run looks at beyond tensors, such as their sizes, is written down as it was in this run.
A run whose course depends on the numbers in a tensor cannot be written down.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from stagewright.profile.leaves import Leaves
from stagewright.profile.recording import (
    Call,
    CannotRecord,
    Input,
    Recording,
    Ref,
    SizeOf,
    features_of,
)
from stagewright.profile.values import at, features, is_data, is_sparse, mapped, parts

DECIDES = frozenset({"__bool__", "__int__", "__float__", "__index__", "item", "tolist", "numpy"})
"""What turns the numbers of a tensor into a choice of the program."""

SPARSE_FUNCTIONS = ("cat", "mean", "var", "sum", "to_sparse", "to_sparse_all")
SPARSE_METHODS = ("__add__", "__iadd__", "__sub__", "__isub__", "__mul__", "__imul__")


class Length(int):
    """The length of a tensor along a dimension, which remembers where it came from."""

    source: SizeOf

    def __new__(cls, value: int, source: SizeOf) -> Length:
        """Make the number."""
        made = super().__new__(cls, value)
        made.source = source
        return made


class DependsOnData(Exception):
    """The course of the run depends on the numbers in a tensor."""


def watch(model: nn.Module, inputs: Any, is_leaf: Leaves) -> Recording:
    """Record one forward run.

    Raises
    ------
    CannotRecord
        If a tensor appears that no layer and no function of torch made.
    DependsOnData
        If the numbers in a tensor decide what runs.
    """
    watcher = _Watcher(model, is_leaf)
    for path, value in parts(inputs):
        watcher.note(Call(Input(path)), value)
    args, kwargs = inputs
    with watcher, watcher.modules_called(), watcher.sparse_operators():
        result = model(*args, **kwargs)
    outputs = [watcher.find(value) for _, value in parts(result)]
    if None in outputs:
        raise CannotRecord("the network returns a tensor that none of its layers made")
    return Recording(tuple(watcher.calls), tuple(x for x in outputs if x is not None))


class _Watcher(TorchFunctionMode):
    """Keeps the calls of a run, and which call made which tensor."""

    def __init__(self, model: nn.Module, is_leaf: Leaves) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self._is_leaf = is_leaf
        self._names = {module: name for name, module in model.named_modules()}
        self._made: dict[int, Ref] = {}
        self._features: dict[int, Ref] = {}
        self._alive: list[Any] = []  # so that no address is used twice
        self._inside = 0

    def note(self, call: Call, result: Any) -> None:
        """Write a call down, and who made the tensors that it gave."""
        position = len(self.calls)
        self.calls.append(call)
        self._alive.append(result)
        for path, part in parts(result):
            self._made[id(part)] = Ref(position, path)
            if is_sparse(part):
                self._features[id(features(part))] = Ref(position, path)

    def find(self, value: Any) -> Ref | None:
        """Return where a tensor comes from; features taken from a sparse one are a call."""
        known = self._made.get(id(value))
        if known is None and id(value) in self._features:
            self.note(Call(features_of, (self._features[id(value)],)), value)
            known = self._made[id(value)]
        return known

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run a function of torch, and write it down if it works on what layers made."""
        kwargs = kwargs or {}
        if self._inside:
            return func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name in DECIDES and args and self.find(args[0]) is not None:
            raise DependsOnData(_place())
        return self._called(func, args, kwargs, lambda: func(*args, **kwargs))

    def _called(
        self, target: Any, args: Any, kwargs: Any, run: Callable[[], Any], name: str = ""
    ) -> Any:
        """Run a target, and write the call down if its result is a tensor of the network."""
        self._inside += 1
        try:
            return self._written_down(target, args, kwargs, run, name)
        finally:
            self._inside -= 1

    def _written_down(
        self, target: Any, args: Any, kwargs: Any, run: Callable[[], Any], name: str
    ) -> Any:
        read, read_kwargs = mapped((args, kwargs), self._operand)
        first = features(args[0]) if args and is_data(args[0]) else None
        version = None if first is None else first._version  # noqa: SLF001
        result = run()
        overwrites = first is not None and first._version != version  # noqa: SLF001
        call = Call(target, tuple(read), dict(read_kwargs), name, overwrites)
        if not any(True for _ in parts(result)):
            return self._sized(call, result)
        if call.reads or any(features(x).requires_grad for _, x in parts(result)):
            if getattr(target, "__name__", "") == "__setitem__":
                raise CannotRecord("a part of a tensor is assigned")
            self.note(call, result)
        return result

    def _operand(self, value: Any) -> Any:
        """Return what a call reads instead of a value: where it comes from."""
        if isinstance(value, Length):
            return value.source
        if not is_data(value) or isinstance(value, nn.Parameter):
            return value
        known = self.find(value)
        if known is None and features(value).grad_fn is not None:
            raise CannotRecord(f"a tensor appears that no layer made{_place()}")
        return value if known is None else known

    @staticmethod
    def _sized(call: Call, result: Any) -> Any:
        """Return sizes of a tensor as numbers that remember the tensor."""
        refs = call.reads
        name = getattr(call.target, "__name__", "")
        if len(refs) != 1 or name not in {"__get__", "size", "__len__"}:
            return result
        if isinstance(result, torch.Size):
            return torch.Size(Length(x, SizeOf(refs[0], dim)) for dim, x in enumerate(result))
        dims = [x for x in call.leaves() if isinstance(x, int)]
        if name != "__get__" and type(result) is int and len(dims) <= 1:
            return Length(result, SizeOf(refs[0], dims[0] if dims else 0))
        return result

    @contextmanager
    def modules_called(self) -> Iterator[None]:
        """Write down the calls of layers while this lasts."""
        original = nn.Module.__call__
        watcher = self

        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if watcher._inside or not watcher._is_leaf(module):
                return original(module, *args, **kwargs)
            name = watcher._names.get(module, "")
            return watcher._called(
                module, args, kwargs, lambda: original(module, *args, **kwargs), name
            )

        nn.Module.__call__ = call
        try:
            yield
        finally:
            nn.Module.__call__ = original

    @contextmanager
    def sparse_operators(self) -> Iterator[None]:
        """Write down what is done with sparse tensors outside of modules while this lasts."""
        engine = sys.modules.get("MinkowskiEngine")
        with _replaced(engine, self._recorded):
            yield

    def _recorded(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return original(*args, **kwargs)
            return self._called(original, args, kwargs, lambda: original(*args, **kwargs))

        return call


def sparse_functions() -> dict[str, Callable[..., Any]]:
    """Return MinkowskiEngine's functions on sparse tensors by name; none where it is not in use."""
    engine = sys.modules.get("MinkowskiEngine")
    return {x: getattr(engine, x) for x in SPARSE_FUNCTIONS if hasattr(engine, x)}


@contextmanager
def _replaced(engine: Any, change: Callable[[Callable[..., Any]], Any]) -> Iterator[None]:
    """Replace MinkowskiEngine's functions, wherever a module names them, and operators."""
    undo: list[tuple[Any, str, Any]] = []
    try:
        if engine is not None:
            functional = engine.MinkowskiFunctional
            wanted = sparse_functions()
            wanted |= {
                k: v for k, v in vars(functional).items() if _is_function_of(functional, k, v)
            }
            by_id = {id(value): change(value) for value in wanted.values()}
            for module in list(sys.modules.values()):
                for key, value in list(getattr(module, "__dict__", {}).items()):
                    if id(value) in by_id and callable(value):
                        undo.append((module, key, value))
                        setattr(module, key, by_id[id(value)])
            for name in SPARSE_METHODS:
                found = getattr(engine.SparseTensor, name, None)
                if found is not None:
                    undo.append((engine.SparseTensor, name, engine.SparseTensor.__dict__.get(name)))
                    setattr(engine.SparseTensor, name, change(found))
        yield
    finally:
        for owner, name, value in reversed(undo):
            if value is None:
                delattr(owner, name)
            else:
                setattr(owner, name, value)


def _is_function_of(module: Any, name: str, value: Any) -> bool:
    own = getattr(value, "__module__", "") == module.__name__
    return own and callable(value) and not name.startswith("_")


def _place() -> str:
    """Return where in the user's code the run is, as ``, at FILE:LINE: CODE``."""
    for frame in reversed(traceback.extract_stack()):
        ours = "/stagewright/profile/" in frame.filename.replace("\\", "/")
        if not ours and "/torch/" not in frame.filename and "MinkowskiEngine" not in frame.filename:
            return f", at {frame.filename}:{frame.lineno}: {frame.line}"
    return ""


__all__ = ["DependsOnData", "at", "watch"]
