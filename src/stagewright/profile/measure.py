"""Measuring a network: warm-up, repeated steps, whole and layer by layer in turns."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stagewright.profile.clocks import Clock
from stagewright.profile.layered import run_layered
from stagewright.profile.network import backward, output_gradients, run_network
from stagewright.profile.recording import Recording
from stagewright.profile.values import as_loaded, mapped

Progress = Callable[[int, int], None]

CALIBRATIONS = 200
CHAIN = 20


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
    """What measuring a layer alone costs beyond the layer, in milliseconds.

    Attributes
    ----------
    mark_ms
        Between two marks of the clock with nothing in between; comes off every time.
    engine_ms
        Starting and ending the autograd engine, which a whole step does once; comes off every
        backward time, the mark included.
    """

    mark_ms: float
    engine_ms: float


def calibrate(clock: Clock, device: torch.device) -> Correction:
    """Measure what measuring costs.

    Backward through one view of a number, and through a chain of them, differ by what the views
    cost; the rest is what the engine takes to start and to end.
    """
    marks = [_between_marks(clock) for _ in range(CALIBRATIONS)]
    one, many = (
        median(_backward_through_views(clock, device, length) for _ in range(CALIBRATIONS))
        for length in (1, 1 + CHAIN)
    )
    return Correction(median(marks), max(0.0, one - (many - one) / CHAIN))


def _between_marks(clock: Clock) -> float:
    start = clock.mark()
    end = clock.mark()
    clock.finish()
    return clock.ms(start, end)


def _backward_through_views(clock: Clock, device: torch.device, length: int) -> float:
    result = torch.ones(1, device=device, requires_grad=True)
    for _ in range(length):
        result = result.view(1)
    gradient = torch.ones(1, device=device)
    start = clock.mark()
    torch.autograd.backward([result], [gradient])
    end = clock.mark()
    clock.finish()
    return clock.ms(start, end)


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
    return Times(
        np.maximum(forward - correction.mark_ms, 0.0),
        np.maximum(back - correction.engine_ms, 0.0),
        step_forward,
        step_back,
    )


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
