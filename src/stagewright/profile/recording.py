"""What a network does, written down: the calls of its layers, and what each of them reads."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from stagewright.profile.values import Path, at, mapped


@dataclass(frozen=True, slots=True)
class Ref:
    """The output of a call, or the part of it at ``path``."""

    call: int
    path: Path = ()


@dataclass(frozen=True, slots=True)
class SizeOf:
    """The length of a tensor along a dimension, as an argument of a call."""

    ref: Ref
    dim: int


@dataclass(frozen=True, slots=True)
class Input:
    """The target of the call that gives the network's input at ``path`` of its arguments."""

    path: Path


@dataclass(frozen=True, slots=True)
class Method:
    """A method that is looked up on its first operand."""

    name: str

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, operand: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the method."""
        return getattr(operand, self.name)(*args, **kwargs)


def features_of(value: Any) -> torch.Tensor:
    """Return the features of a sparse tensor."""
    found: torch.Tensor = value.F
    return found


Target = Callable[..., Any] | Input


@dataclass(frozen=True)
class Call:
    """One call of a layer or an operator.

    Attributes
    ----------
    target
        The module or the function; an :class:`Input` for what comes from outside.
    args, kwargs
        Its arguments; operands are :class:`Ref` and :class:`SizeOf`, parameters are themselves.
    name
        Path of the module in the network, or "".
    overwrites
        Whether it changes its first operand in place.
    """

    target: Target
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    overwrites: bool = False

    @property
    def module(self) -> nn.Module | None:
        """The module that is called, or None for an operator."""
        return self.target if isinstance(self.target, nn.Module) else None

    @property
    def is_input(self) -> bool:
        """Whether it gives an input of the network."""
        return isinstance(self.target, Input)

    def leaves(self) -> Iterator[Any]:
        """Yield everything in the arguments that is not a container, in order."""
        found: list[Any] = []
        mapped((self.args, self.kwargs), found.append)
        return iter(found)

    @property
    def reads(self) -> tuple[Ref, ...]:
        """What it reads, each once, in order of the arguments."""
        refs = (x.ref if isinstance(x, SizeOf) else x for x in self.leaves())
        return tuple(dict.fromkeys(x for x in refs if isinstance(x, Ref)))

    @property
    def parameters(self) -> tuple[nn.Parameter, ...]:
        """The weights that it uses, each once."""
        own = [] if self.module is None else list(self.module.parameters())
        own += [x for x in self.leaves() if isinstance(x, nn.Parameter)]
        return tuple(dict.fromkeys(own))

    def run(self, given: Callable[[Ref], Any]) -> Any:
        """Call the target, with operands looked up by ``given``."""
        if isinstance(self.target, Input):
            raise TypeError("an input is given, not run")
        args, kwargs = self.arguments(given)
        return self.target(*args, **kwargs)

    def arguments(self, given: Callable[[Ref], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with operands looked up by ``given``."""

        def resolved(leaf: Any) -> Any:
            if isinstance(leaf, SizeOf):
                return given(leaf.ref).size(leaf.dim)
            return given(leaf) if isinstance(leaf, Ref) else leaf

        args, kwargs = mapped((self.args, self.kwargs), resolved)
        return args, kwargs


@dataclass(frozen=True)
class Recording:
    """The calls of a network in the order in which they ran, and what it returned."""

    calls: tuple[Call, ...]
    outputs: tuple[Ref, ...]

    def replay(self, inputs: Any) -> list[Any]:
        """Run all calls once, with gradients through all of them, and return every value."""
        values: list[Any] = []

        def given(ref: Ref) -> Any:
            return at(values[ref.call], ref.path)

        for call in self.calls:
            if isinstance(call.target, Input):
                values.append(at(inputs, call.target.path))
            else:
                values.append(call.run(given))
        return values

    def results(self, values: Sequence[Any]) -> list[Any]:
        """Return the outputs of the network among the values of a replay."""
        return [at(values[x.call], x.path) for x in self.outputs]

    def without(self, aliases: dict[int, Ref]) -> Recording:
        """Return the recording without some calls, whose readers read something else instead."""
        place: dict[int, int] = {}
        kept: list[Call] = []

        def moved(ref: Ref) -> Ref:
            while ref.call in aliases:
                instead = aliases[ref.call]
                ref = Ref(instead.call, instead.path + ref.path)
            return Ref(place[ref.call], ref.path)

        def leaf(x: Any) -> Any:
            if isinstance(x, SizeOf):
                return SizeOf(moved(x.ref), x.dim)
            return moved(x) if isinstance(x, Ref) else x

        for position, call in enumerate(self.calls):
            if position not in aliases:
                place[position] = len(kept)
                args, kwargs = mapped((call.args, call.kwargs), leaf)
                kept.append(replace(call, args=args, kwargs=kwargs))
        return Recording(tuple(kept), tuple(moved(x) for x in self.outputs))

    def passed_through(self, values: Sequence[Any]) -> dict[int, Ref]:
        """Return the calls that compute nothing, with what they give.

        They gave back their operand as it was, such as ``nn.Identity``, or picked one of several
        outputs.
        """
        found: dict[int, Ref] = {}
        for position, call in enumerate(self.calls):
            first = next(iter(call.leaves()), None)
            if call.is_input or call.overwrites or not isinstance(first, Ref):
                continue
            operand = at(values[first.call], first.path)
            if values[position] is operand:
                found[position] = first
            elif call.target is operator.getitem and isinstance(operand, (tuple, list)):
                found[position] = Ref(first.call, (*first.path, call.args[1]))
        return found


class CannotRecord(Exception):
    """One way of recording does not fit the network; another may."""
