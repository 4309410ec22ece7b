"""Measuring a network: warm-up, repeated steps, whole and layer by layer in turns."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stagewright.profile.clocks import Clock
from stagewright.profile.layered import run_layered
from stagewright.profile.network import backward, output_gradients, run_network
from stagewright.profile.recording import Call, Input, Recording, Ref
from stagewright.profile.values import as_loaded, mapped

Progress = Callable[[int, int], None]

CALIBRATIONS = 60
CHAINS = (8, 40)


@dataclass(frozen=True)
class Plan:
    """How often to run: steps that are not counted, and steps that are."""

    warm_up: int
    repeats: int


@dataclass(frozen=True)
class Times:
    """What was measured on one minibatch.

    Attributes
    ----------
    forward_ms, backward_ms
        Of each call in each repeat, corrected; shape (repeats, calls).
    step_forward_ms, step_backward_ms
        Of the whole network in each repeat; shape (repeats,).
    """

    forward_ms: NDArray[np.float64]
    backward_ms: NDArray[np.float64]
    step_forward_ms: NDArray[np.float64]
    step_backward_ms: NDArray[np.float64]


@dataclass(frozen=True)
class Correction:
    """What it costs to run a layer alone, beyond the layer, in milliseconds.

    Attributes
    ----------
    forward_ms
        Marks of the clock, and a processor that has done something else meanwhile; comes off
        every forward time.
    backward_ms
        The same, and starting and ending the autograd engine, which a whole step does once; comes
        off every backward time.
    """

    forward_ms: float
    backward_ms: float


def calibrate(clock: Clock, device: torch.device) -> Correction:
    """Measure what measuring costs, on networks of layers so small that little else is left.

    They are run whole and layer by layer, as the user's network is. What a layer more adds to the
    one and not to the other is not the layer's.
    """
    short, long = (_overheads(clock, device, length) for length in CHAINS)
    forward, back = np.maximum(long - short, 0.0) / (CHAINS[1] - CHAINS[0])
    return Correction(float(forward), float(back))


def _overheads(clock: Clock, device: torch.device, length: int) -> NDArray[np.float64]:
    """Return how much longer a chain takes layer by layer: forward and backward milliseconds."""
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(length))).to(device)
    calls = [Call(Input((0, 0)))]
    calls += [Call(layer, (Ref(k),)) for k, layer in enumerate(model)]
    inputs: Any = ((torch.ones(4, 4, device=device, requires_grad=True),), {})
    recording = Recording(tuple(calls), (Ref(length),))
    runs = _repeated(model, recording, inputs, Plan(CALIBRATIONS // 4, CALIBRATIONS), clock)
    return np.array(
        [
            np.median(runs.forward_ms.sum(axis=1)) - np.median(runs.step_forward_ms),
            np.median(runs.backward_ms.sum(axis=1)) - np.median(runs.step_backward_ms),
        ]
    )


def measure(
    model: nn.Module,
    recording: Recording,
    inputs: Any,
    plan: Plan,
    clock: Clock,
    correction: Correction,
    tell: Progress,
) -> Times:
    """Measure one minibatch.

    Whole steps and layered ones take turns, so that what changes on the machine meanwhile
    changes both. Every step gets its input anew; a sparse tensor brings no kernel maps along.
    """
    runs = _repeated(model, recording, inputs, plan, clock, tell)
    took = runs.backward_ms > 0
    return replace(
        runs,
        forward_ms=np.maximum(runs.forward_ms - correction.forward_ms, 0.0),
        backward_ms=np.where(took, np.maximum(runs.backward_ms - correction.backward_ms, 0.0), 0.0),
    )


def _repeated(
    model: nn.Module,
    recording: Recording,
    inputs: Any,
    plan: Plan,
    clock: Clock,
    tell: Progress = lambda done, total: None,  # noqa: ARG005 - nobody listens
) -> Times:
    """Run whole and layered steps in turns, and return their times as they are."""
    given = output_gradients(run_network(model, mapped(inputs, as_loaded)))
    rows: list[tuple[Sequence[float], Sequence[float], float, float]] = []
    with _no_collection():
        for repeat in range(plan.warm_up + plan.repeats):
            whole = _whole_step(model, inputs, given, clock)
            model.zero_grad(set_to_none=True)
            layered = run_layered(recording, mapped(inputs, as_loaded), given, clock)
            model.zero_grad(set_to_none=True)
            if repeat >= plan.warm_up:
                rows.append((layered.forward_ms, layered.backward_ms, *whole))
            tell(repeat + 1, plan.warm_up + plan.repeats)
    forward, back, step_forward, step_back = (np.array(x, float) for x in zip(*rows, strict=True))
    return Times(forward, back, step_forward, step_back)


def _whole_step(
    model: nn.Module, inputs: Any, given: Sequence[torch.Tensor | None], clock: Clock
) -> tuple[float, float]:
    """Run one whole step and return its forward and backward milliseconds."""
    fresh = mapped(inputs, as_loaded)
    start = clock.mark()
    outputs = run_network(model, fresh)
    middle = clock.mark()
    backward(outputs, given)
    end = clock.mark()
    clock.finish()
    return clock.ms(start, middle), clock.ms(middle, end)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python's garbage collector out of the times."""
    gc.collect()
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
