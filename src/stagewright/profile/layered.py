"""One training step, layer by layer: every call alone, forward and then backward.

Each layer is given what it reads cut off from what made it, so its backward pass is its own: it
starts from the gradient of its output and ends at its operands and weights. Operands that it
would overwrite are copied for it first, outside of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from stagewright.profile.clocks import Clock
from stagewright.profile.recording import Call, Recording, Ref
from stagewright.profile.values import as_received, at, features, is_sparse, mapped, parts

Within = Callable[[int], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Step:
    """Milliseconds of each call of one step, forward and backward."""

    forward_ms: tuple[float, ...]
    backward_ms: tuple[float, ...]


@dataclass(frozen=True)
class Fed:
    """What a call was given: the leaf that takes the gradient, for each thing that it reads."""

    leaves: dict[Ref, Any]


def run_layered(
    recording: Recording,
    inputs: Any,
    given: Sequence[torch.Tensor | None],
    clock: Clock,
    around_forward: Within = lambda _: nullcontext(),
    around_backward: Within = lambda _: nullcontext(),
) -> Step:
    """Run one step layer by layer.

    Parameters
    ----------
    recording, inputs
        The network, and ``(args, kwargs)``.
    given
        Gradient of each output, None for those that take none.
    clock
        What the times are taken with.
    around_forward, around_backward
        Called with the position of a call; what they return is entered while it runs.

    Returns
    -------
    Step
        Times of all calls; inputs take none.
    """
    step = _LayeredStep(recording, clock)
    step.forward(inputs, around_forward)
    step.backward(given, around_backward)
    return step.times()


class _LayeredStep:
    """A step that is being run."""

    def __init__(self, recording: Recording, clock: Clock) -> None:
        self.recording = recording
        self.clock = clock
        self.last_reader = _last_readers(recording)
        self.values: list[Any] = []
        self.fed: list[Fed] = []
        self.outputs: list[dict[tuple[int | str, ...], torch.Tensor]] = []
        self.marks: list[list[tuple[Any, Any]]] = [[], []]

    def forward(self, inputs: Any, around: Within) -> None:
        """Run all calls forward."""
        for position, call in enumerate(self.recording.calls):
            if call.is_input:
                self.values.append(at(inputs, call.target.path))  # type: ignore[union-attr]
                self.fed.append(Fed({}))
                self.marks[0].append((None, None))
            else:
                self._run(position, call, around)
            self.outputs.append(
                {
                    path: features(part)
                    for path, part in parts(self.values[position])
                    if features(part).requires_grad and not call.is_input
                }
            )
            for done in self.last_reader.get(position, ()):
                self.values[done] = None

    def _run(self, position: int, call: Call, around: Within) -> None:
        leaves = {ref: mapped(self._value(ref), _received) for ref in call.reads}
        fed = leaves
        if call.overwrites:
            first = next(x for x in call.leaves() if isinstance(x, Ref))
            fed = leaves | {first: _copied(leaves[first])}
        args, kwargs = call.arguments(fed.__getitem__)
        target: Any = call.target
        with around(position):
            start = self.clock.mark()
            result = target(*args, **kwargs)
            end = self.clock.mark()
        self.marks[0].append((start, end))
        self.values.append(result)
        self.fed.append(Fed(leaves))

    def _value(self, ref: Ref) -> Any:
        return at(self.values[ref.call], ref.path)

    def backward(self, given: Sequence[torch.Tensor | None], around: Within) -> None:
        """Run all calls backward, the last first."""
        collected: list[dict[tuple[int | str, ...], list[torch.Tensor]]] = [
            {} for _ in self.recording.calls
        ]
        for ref, gradient in zip(self.recording.outputs, given, strict=True):
            if gradient is not None:
                collected[ref.call].setdefault(ref.path, []).append(gradient)
        self.marks[1] = [(None, None)] * len(self.recording.calls)
        for position in reversed(range(len(self.recording.calls))):
            arrived = collected[position]
            outputs = self.outputs[position]
            known = [path for path in outputs if path in arrived]
            if known:
                ends = tuple(outputs[path] for path in known)
                with around(position):
                    start = self.clock.mark()
                    _run_engine(ends, tuple(_sum(arrived[path]) for path in known))
                    end = self.clock.mark()
                self.marks[1][position] = (start, end)
            outputs.clear()
            arrived.clear()
            self._hand_on(position, collected)

    def _hand_on(self, position: int, collected: list[dict[Any, list[torch.Tensor]]]) -> None:
        """Give the gradients of a call's operands to the calls that made them."""
        for ref, whole in self.fed[position].leaves.items():
            for path, part in parts(whole):
                leaf = features(part)
                if leaf.grad is not None:
                    collected[ref.call].setdefault((*ref.path, *path), []).append(leaf.grad)
                    leaf.grad = None
        self.fed[position].leaves.clear()

    def times(self) -> Step:
        """Return the times, when all of them are known."""
        self.clock.finish()
        forward, backward = (
            tuple(0.0 if start is None else self.clock.ms(start, end) for start, end in marks)
            for marks in self.marks
        )
        return Step(forward, backward)


def _last_readers(recording: Recording) -> dict[int, list[int]]:
    """Return, for each call, the calls whose values nobody reads after it."""
    last: dict[int, int] = {}
    for position, call in enumerate(recording.calls):
        last[position] = position
        for ref in call.reads:
            last[ref.call] = position
    found: dict[int, list[int]] = {}
    for made, read in last.items():
        found.setdefault(read, []).append(made)
    return found


def _received(value: Any) -> Any:
    return as_received(value) if isinstance(value, torch.Tensor) or is_sparse(value) else value


def _copied(value: Any) -> Any:
    """Return what may be overwritten in place of a leaf; gradients still reach the leaf."""
    if not is_sparse(value):
        return value.clone() if isinstance(value, torch.Tensor) else value
    import MinkowskiEngine  # noqa: PLC0415

    return MinkowskiEngine.SparseTensor(
        value.F.clone(),
        coordinate_map_key=value.coordinate_map_key,
        coordinate_manager=value.coordinate_manager,
    )


def _run_engine(ends: tuple[torch.Tensor, ...], gradients: tuple[torch.Tensor, ...]) -> None:
    """Run backward as ``torch.autograd.backward`` does after it has checked its arguments.

    The checks take longer than a small layer does.
    """
    engine = torch.autograd.Variable._execution_engine  # noqa: SLF001
    engine.run_backward(
        ends, gradients, False, False, (), allow_unreachable=True, accumulate_grad=True
    )


def _sum(gradients: list[torch.Tensor]) -> torch.Tensor:
    total = gradients[0]
    for gradient in gradients[1:]:
        total = total + gradient
    return total
