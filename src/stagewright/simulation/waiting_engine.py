"""The simulator without overlap: a GPU computes nothing while its stage's input is under way."""

from __future__ import annotations

from stagewright.simulation.engine import _LEAVE, UNKNOWN, Engine
from stagewright.simulation.links import Wiring
from stagewright.simulation.machine import Machine
from stagewright.simulation.schedule import Schedule


class WaitingEngine(Engine):
    """One run in which a GPU fetches its activations and returns its gradients itself.

    Before a forward pass it waits for the transfer of its input, after a backward pass for the
    transfer of the gradient to the stage before. The other end of a transfer goes on computing.
    """

    def __init__(self, machine: Machine, wiring: Wiring, schedule: Schedule) -> None:
        super().__init__(machine, wiring, schedule)
        self._made_s = [[UNKNOWN] * schedule.minibatches for _ in machine.stages]
        self._fetching = [-1] * len(machine.gpus)

    def _forward(self, rank: int, stage: int, number: int) -> bool:
        begin = self._free_s[rank]
        if stage > 0:
            arrived = self.passes[stage - 1].arrived_s[number]
            if arrived < 0:
                self._fetch(rank, stage, number)
                return False
            begin = max(begin, arrived)
        self.passes[stage].forward_s[number] = begin
        end = self._free_s[rank] = begin + self._forward_s[rank]
        self._made_s[stage][number] = end
        if stage < self._last:
            self._go_on(self.passes[stage + 1].rank[number])
        return True

    def _fetch(self, rank: int, stage: int, number: int) -> None:
        """Ask for the input, once, when it is made and this GPU is free."""
        made = self._made_s[stage - 1][number]
        if made >= 0 and self._fetching[rank] != number:
            self._fetching[rank] = number
            self._ask(max(made, self._free_s[rank]), _LEAVE, stage - 1, number, True)

    def _backward(self, rank: int, stage: int, number: int) -> bool:
        if self.passes[stage].backward_s[number] < 0:
            went = super()._backward(rank, stage, number)
            return went and stage == 0
        back = self.passes[stage - 1].back_s[number]
        if back < 0:
            return False
        self._free_s[rank] = back
        return True

    def _arrive(self, time: float, cut: int, number: int, forth: bool) -> None:
        super()._arrive(time, cut, number, forth)
        if not forth:
            self._go_on(self.passes[cut + 1].rank[number])
