"""What a GPU holds over time: activations in flight, versions of the weights, gradients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from stagewright.model.rules import Optimizer, Versions
from stagewright.simulation.machine import StageWork
from stagewright.simulation.run import Timed
from stagewright.simulation.schedule import FORWARD, REDUCE
from stagewright.simulation.timeline import MemoryCurve

_STATES = {Optimizer.SGD: 0, Optimizer.MOMENTUM: 1, Optimizer.ADAM: 2}


class Holding:
    """The bytes that one GPU holds, step by step.

    A forward pass takes room for the stage's activations, its backward pass gives it back. A stage
    that recomputes keeps its input only, and has its activations while it computes. Under ``stash``
    a version of the weights stays as long as a minibatch in flight was computed with it. One
    gradient and the optimizer's state are always there. Buffers of transfers are not counted.
    """

    def __init__(self, work: StageWork, versions: Versions, optimizer: Optimizer) -> None:
        self._work = work
        self._versions = versions
        self._fixed = 1 + _STATES[optimizer]
        self._version_of: dict[int, int] = {}
        self._users: Counter[int] = Counter()
        self._current = 0

    def _held(self, computing: bool) -> float:
        work = self._work
        kept = work.input_bytes if work.recompute else work.activation_bytes
        extra = work.activation_bytes if work.recompute and computing else 0.0
        if self._versions is Versions.ONCE:
            input_bytes = work.input_bytes if work.recompute else 0.0
            return input_bytes + work.activation_bytes + work.parameter_bytes
        copies = self._fixed + self._weights()
        return len(self._version_of) * kept + extra + copies * work.parameter_bytes

    def _weights(self) -> int:
        """Versions of the weights that exist."""
        if self._versions is Versions.STASH:
            return len(self._users) + (self._current not in self._users)
        return 2 if self._versions is Versions.TWO_BW else 1

    def changes(self, steps: Sequence[Timed]) -> Iterator[tuple[float, float]]:
        """Yield (time, bytes held from then on)."""
        yield 0.0, self._held(computing=False)
        for (kind, number), start_s, end_s in steps:
            if kind == REDUCE:
                self._current += 1
                yield end_s, self._held(computing=False)
                continue
            if kind == FORWARD:
                self._version_of[number] = self._current
                self._users[self._current] += 1
            yield start_s, self._held(computing=True)
            if kind != FORWARD:
                version = self._version_of.pop(number)
                self._users[version] -= 1
                if not self._users[version]:
                    del self._users[version]
            yield end_s, self._held(computing=False)


def memory_curve(
    rank: int, work: StageWork, versions: Versions, optimizer: Optimizer, steps: Sequence[Timed]
) -> MemoryCurve:
    """Return what one GPU holds over time."""
    changes = np.array(list(Holding(work, versions, optimizer).changes(steps)))
    return MemoryCurve(rank, changes[:, 0], changes[:, 1])
