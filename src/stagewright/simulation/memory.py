"""What a GPU holds over time: activations in flight, versions of the weights, gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stagewright.model.rules import Optimizer, Versions
from stagewright.simulation.machine import StageWork
from stagewright.simulation.run import Timed
from stagewright.simulation.schedule import FORWARD, REDUCE
from stagewright.simulation.timeline import MemoryCurve

_STATES = {Optimizer.SGD: 0, Optimizer.MOMENTUM: 1, Optimizer.ADAM: 2}


class Holding:
    """What one GPU holds from each change on: one when a pass begins, one when a step ends.

    Attributes
    ----------
    time_s
        When it changes, shape (changes,), as all others; at first at 0.
    computing
        Whether a pass is under way.
    in_flight
        Minibatches that have begun their forward pass and not ended their backward pass.
    stashed
        Versions of the weights that one of them was computed with, or that are the current one.
    """

    def __init__(self, steps: Sequence[Timed]) -> None:
        kinds = [kind for (kind, _), _, _ in steps]
        number = np.array([number for (_, number), _, _ in steps], dtype=np.int64)
        forward = np.array([kind == FORWARD for kind in kinds], dtype=bool)
        update = np.array([kind == REDUCE for kind in kinds], dtype=bool)
        backward = ~(forward | update)
        # Where in the changes each step ends, and begins; an update only ends.
        end = np.cumsum(np.where(update, 1, 2))
        begin = np.where(update, end, end - 1)
        size = 1 + (int(end[-1]) if len(steps) else 0)
        self.time_s = np.zeros(size)
        self.time_s[begin] = [start_s for _, start_s, _ in steps]
        self.time_s[end] = [end_s for _, _, end_s in steps]
        self.computing = np.zeros(size, dtype=bool)
        self.computing[begin[~update]] = True
        self.in_flight = _count(size, begin[forward], end[backward])
        # A version is made by an update; it goes with the next one, or with its last minibatch.
        made = np.concatenate([[0], end[update]])
        gone = np.concatenate([end[update], [size]])
        version_of = np.zeros(1 + number.max(initial=0), dtype=np.int64)
        version_of[number[forward]] = np.cumsum(update)[forward]
        np.maximum.at(gone, version_of[number[backward]], end[backward])
        self.stashed = _count(size, made, gone)


def _count(size: int, more: NDArray[np.int64], fewer: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count up and down at the changes given, shape (size,)."""
    up, down = (np.bincount(at, minlength=size + 1)[:size] for at in (more, fewer))
    return np.cumsum(up - down)


def memory_curve(
    rank: int, work: StageWork, versions: Versions, optimizer: Optimizer, steps: Sequence[Timed]
) -> MemoryCurve:
    """Return what one GPU holds over time.

    A forward pass takes room for the stage's activations, its backward pass gives it back. A stage
    that recomputes keeps its input only, and has its activations while it computes. Under ``stash``
    a version of the weights stays as long as a minibatch in flight was computed with it. One
    gradient and the optimizer's state are always there. Buffers of transfers are not counted.
    """
    holding = Holding(steps)
    time_s = holding.time_s
    if versions is Versions.ONCE:
        kept = work.input_bytes if work.recompute else 0.0
        once = kept + work.activation_bytes + work.parameter_bytes
        return MemoryCurve(rank, time_s, np.full(len(time_s), once))
    kept = work.input_bytes if work.recompute else work.activation_bytes
    extra = work.activation_bytes if work.recompute else 0.0
    weights: NDArray[np.int64] | int = 1
    if versions is Versions.STASH:
        weights = holding.stashed
    elif versions is Versions.TWO_BW:
        weights = 2
    held_bytes = holding.in_flight * kept + holding.computing * extra
    copies = 1 + _STATES[optimizer] + weights
    return MemoryCurve(rank, time_s, held_bytes + copies * work.parameter_bytes)
