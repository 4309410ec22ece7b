"""One finished run, and its events in time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from stagewright.simulation.engine import Passes, Updates
from stagewright.simulation.machine import Machine
from stagewright.simulation.schedule import BACKWARD, FORWARD, Schedule, Step
from stagewright.simulation.timeline import Event, Gpu, Work

Timed = tuple[Step, float, float]
"""A step with its start and its end in seconds."""


@dataclass(frozen=True)
class Run:
    """What ran, and when everything happened.

    Attributes
    ----------
    passes, updates
        By stage, as the engine left them.
    """

    machine: Machine
    schedule: Schedule
    passes: tuple[Passes, ...]
    updates: tuple[Updates, ...]

    @cached_property
    def steps(self) -> tuple[tuple[Timed, ...], ...]:
        """The steps of each GPU with their times, by rank; an update without all-reduce is short.

        A backward pass includes running forward again.
        """
        return tuple(tuple(self._steps_of(gpu)) for gpu in self.machine.gpus)

    def _steps_of(self, gpu: Gpu) -> Iterator[Timed]:
        passes, updates = self.passes[gpu.stage], self.updates[gpu.stage]
        forward_s = self.machine.forward_s[gpu.rank]
        backward_s = self.machine.recompute_s(gpu.rank) + self.machine.backward_s[gpu.rank]
        end = 0.0
        for step in self.schedule.steps[gpu.rank]:
            kind, number = step
            if kind == FORWARD:
                start = passes.forward_s[number]
                end = start + forward_s
            elif kind == BACKWARD:
                start = passes.backward_s[number]
                end = start + backward_s
            elif updates.begun_s:
                start, end = updates.begun_s[number], updates.ended_s[number]
            else:
                start = end
            yield step, start, end

    def events(self, first: int, last: int) -> Iterator[Event]:
        """Yield what happens to minibatches ``first`` to ``last`` (inclusive), GPU by GPU.

        An all-reduce belongs to the GPU's minibatch before it.
        """
        for gpu in self.machine.gpus:
            yield from self._work(gpu, first, last)
            yield from self._transfers(gpu, first, last)

    def _work(self, gpu: Gpu, first: int, last: int) -> Iterator[Event]:
        recompute_s = self.machine.recompute_s(gpu.rank)
        latest = -1
        for (kind, number), start, end in self.steps[gpu.rank]:
            place = gpu.rank, gpu.stage, number
            if kind not in {FORWARD, BACKWARD}:
                if end > start and first <= latest <= last:
                    yield Event(Work.ALL_REDUCE, *place, start, end)
                continue
            latest = number if kind == BACKWARD else latest
            if not first <= number <= last:
                continue
            if kind == FORWARD:
                yield Event(Work.FORWARD, *place, start, end)
                continue
            if recompute_s > 0:
                yield Event(Work.RECOMPUTE, *place, start, start + recompute_s)
            yield Event(Work.BACKWARD, *place, start + recompute_s, end)

    def _transfers(self, gpu: Gpu, first: int, last: int) -> Iterator[Event]:
        """Yield what this GPU sends, if it takes time."""
        k = gpu.stage
        for kind, number in self.schedule.steps[gpu.rank]:
            if not first <= number <= last:
                continue
            if kind == FORWARD and k + 1 < len(self.passes):
                cut, work, to = self.passes[k], Work.ACTIVATION, self.passes[k + 1].rank[number]
                start, end = cut.sent_s[number], cut.arrived_s[number]
            elif kind == BACKWARD and k > 0:
                cut, work, to = self.passes[k - 1], Work.GRADIENT, self.passes[k - 1].rank[number]
                start, end = cut.returned_s[number], cut.back_s[number]
            else:
                continue
            if end > start:
                yield Event(work, gpu.rank, k, number, start, end, to)

    def fetches(self, rank: int) -> Iterator[tuple[float, float]]:
        """Yield (start, end) of the transfers over the cut before this GPU's stage."""
        gpu = self.machine.gpus[rank]
        if gpu.stage == 0:
            return
        cut = self.passes[gpu.stage - 1]
        for kind, number in self.schedule.steps[rank]:
            if kind == FORWARD:
                yield cut.sent_s[number], cut.arrived_s[number]
            elif kind == BACKWARD:
                yield cut.returned_s[number], cut.back_s[number]
