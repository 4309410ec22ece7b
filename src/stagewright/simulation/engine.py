"""The simulator itself: GPUs follow their schedules, links carry one message at a time.

What a GPU does next is fixed by its schedule, so its times follow as soon as its inputs' times
are known, without any queue. Only messages compete: they ask for their links in the order of time,
which a heap keeps, and each link serves them in the order in which they reach it.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from stagewright.model.errors import InputError
from stagewright.simulation.links import Collective, Route, Wiring
from stagewright.simulation.machine import Machine
from stagewright.simulation.schedule import BACKWARD, FORWARD, Schedule

UNKNOWN = -1.0
"""Time of what has not happened yet."""

_LEAVE, _ENTER, _REDUCE = range(3)


@dataclass
class Passes:
    """What happens to each minibatch in one stage, and on the cut after it: times in seconds.

    Attributes
    ----------
    rank
        The GPU that takes it.
    forward_s, backward_s
        When the passes begin; a backward pass begins with forward again where the stage
        recomputes.
    sent_s, arrived_s
        When its activation leaves for the next stage, and has arrived there.
    returned_s, back_s
        When its gradient leaves the next stage, and has arrived here.
    """

    rank: list[int]
    forward_s: list[float]
    backward_s: list[float]
    sent_s: list[float]
    arrived_s: list[float]
    returned_s: list[float]
    back_s: list[float]


@dataclass
class Updates:
    """The all-reduces of one stage, where it has several replicas: when each began and ended."""

    begun_s: list[float] = field(default_factory=list)
    ended_s: list[float] = field(default_factory=list)


class Engine:
    """One run, in which computing overlaps transfers."""

    def __init__(self, machine: Machine, wiring: Wiring, schedule: Schedule) -> None:
        self._machine = machine
        self._steps = schedule.steps
        self._stage = schedule.stages
        self._last = len(machine.stages) - 1
        size = schedule.minibatches
        self.passes = [Passes([-1] * size, *_unknown(6, size)) for _ in machine.stages]
        for stage, steps, rank in zip(
            self._stage, self._steps, range(len(self._stage)), strict=True
        ):
            for kind, number in steps:
                if kind == FORWARD:
                    self.passes[stage].rank[number] = rank
        self.passes[self._last].back_s = [0.0] * size
        self.updates = [Updates() for _ in machine.stages]
        self.link_free_s: list[float] = []
        self.link_busy_s: list[float] = []
        self._wiring = wiring
        self._routes: dict[tuple[int, int], Route | None] = {}
        self._collectives = [wiring.collective(k) for k in range(len(machine.stages))]
        self._more_links()
        self._forward_s = machine.forward_s
        self._backward_s = tuple(
            machine.backward_s[g.rank] + machine.recompute_s(g.rank) for g in machine.gpus
        )
        self._at = [0] * len(self._stage)
        self._free_s = [0.0] * len(self._stage)
        self._joined = [False] * len(self._stage)
        self._gathered = [0] * len(machine.stages)
        self._gathered_s = [0.0] * len(machine.stages)
        self._heap: list[tuple[float, int, int, int, int, bool]] = []
        self._asked = 0

    def run(self) -> None:
        """Run to the end.

        Raises
        ------
        InputError
            If the schedule comes to a halt: GPUs wait for one another.
        """
        for rank in range(len(self._steps)):
            self._go_on(rank)
        heap = self._heap
        while heap:
            time, _, what, stage, number, forth = heapq.heappop(heap)
            if what == _LEAVE:
                self._leave(time, stage, number, forth)
            elif what == _ENTER:
                self._enter(time, stage, number, forth)
            else:
                self._reduce(time, stage)
        self._check_all_done()

    # --- GPUs ---------------------------------------------------------------------------------

    def _go_on(self, rank: int) -> None:
        """Let a GPU take its steps as far as their inputs are known."""
        steps = self._steps[rank]
        stage = self._stage[rank]
        at = self._at
        while at[rank] < len(steps):
            kind, number = steps[at[rank]]
            if kind == FORWARD:
                went = self._forward(rank, stage, number)
            elif kind == BACKWARD:
                went = self._backward(rank, stage, number)
            else:
                went = self._join(rank, stage)
            if not went:
                return
            at[rank] += 1

    def _forward(self, rank: int, stage: int, number: int) -> bool:
        begin = self._free_s[rank]
        if stage > 0:
            ready = self.passes[stage - 1].arrived_s[number]
            if ready < 0:
                return False
            begin = max(begin, ready)
        self.passes[stage].forward_s[number] = begin
        end = self._free_s[rank] = begin + self._forward_s[rank]
        if stage < self._last:
            self._ask(end, _LEAVE, stage, number, True)
        return True

    def _backward(self, rank: int, stage: int, number: int) -> bool:
        ready = self.passes[stage].back_s[number]
        if ready < 0:
            return False
        begin = max(self._free_s[rank], ready)
        self.passes[stage].backward_s[number] = begin
        end = self._free_s[rank] = begin + self._backward_s[rank]
        if stage > 0:
            self._ask(end, _LEAVE, stage - 1, number, False)
        return True

    def _join(self, rank: int, stage: int) -> bool:
        """Wait for the other replicas; the last one to come starts the all-reduce."""
        collective = self._collectives[stage]
        if not collective.links:
            return True
        if self._joined[rank]:  # woken by an arrival that it does not need yet
            return False
        self._joined[rank] = True
        self._gathered[stage] += 1
        self._gathered_s[stage] = max(self._gathered_s[stage], self._free_s[rank])
        if self._gathered[stage] == len(self._machine.stages[stage].ranks):
            self._ask(self._gathered_s[stage], _REDUCE, stage, 0, True)
        return False

    # --- links --------------------------------------------------------------------------------

    def _ask(self, time: float, what: int, stage: int, number: int, forth: bool) -> None:
        self._asked += 1
        heapq.heappush(self._heap, (time, self._asked, what, stage, number, forth))

    def _route(self, cut: int, number: int, forth: bool) -> Route | None:
        """Route of a message over a cut, activations forth, gradients back."""
        ends = self.passes[cut].rank[number], self.passes[cut + 1].rank[number]
        if not forth:
            ends = ends[1], ends[0]
        if ends not in self._routes:
            gpus = self._machine.gpus
            self._routes[ends] = self._wiring.route(cut, gpus[ends[0]], gpus[ends[1]])
            self._more_links()
        return self._routes[ends]

    def _more_links(self) -> None:
        more = [0.0] * (len(self._wiring.names) - len(self.link_free_s))
        self.link_free_s += more
        self.link_busy_s += more

    def _leave(self, time: float, cut: int, number: int, forth: bool) -> None:
        """A message asks for the link at its sender; it goes on through the other at once."""
        route = self._route(cut, number, forth)
        passes = self.passes[cut]
        if route is None:
            (passes.sent_s if forth else passes.returned_s)[number] = time
            self._arrive(time, cut, number, forth)
            return
        begin = max(time, self.link_free_s[route.leaves])
        (passes.sent_s if forth else passes.returned_s)[number] = begin
        self._occupy(route.leaves, begin, route.seconds)
        if route.enters == route.leaves:
            self._arrive(begin + route.seconds, cut, number, forth)
        elif begin > time:
            self._ask(begin, _ENTER, cut, number, forth)
        else:
            self._enter(begin, cut, number, forth)

    def _enter(self, time: float, cut: int, number: int, forth: bool) -> None:
        """The head of a message reaches the link at its receiver."""
        route = self._route(cut, number, forth)
        if route is None:
            raise AssertionError("a message without a route reached a link")
        begin = max(time, self.link_free_s[route.enters])
        self._occupy(route.enters, begin, route.seconds)
        self._arrive(begin + route.seconds, cut, number, forth)

    def _occupy(self, link: int, begin: float, seconds: float) -> None:
        self.link_free_s[link] = begin + seconds
        self.link_busy_s[link] += seconds

    def _arrive(self, time: float, cut: int, number: int, forth: bool) -> None:
        """The whole message is there from ``time`` on."""
        passes = self.passes[cut]
        (passes.arrived_s if forth else passes.back_s)[number] = time
        self._go_on(self.passes[cut + 1].rank[number] if forth else passes.rank[number])

    def _reduce(self, time: float, stage: int) -> None:
        """All replicas have come: run the all-reduce when all its links are free."""
        collective: Collective = self._collectives[stage]
        begin = max(time, *(self.link_free_s[link] for link in collective.links))
        end = begin + collective.seconds
        for link in collective.links:
            self._occupy(link, begin, collective.seconds)
        self.updates[stage].begun_s.append(begin)
        self.updates[stage].ended_s.append(end)
        self._gathered[stage] = 0
        self._gathered_s[stage] = 0.0
        ranks = self._machine.stages[stage].ranks
        for rank in ranks:
            self._at[rank] += 1
            self._free_s[rank] = end
            self._joined[rank] = False
        for rank in ranks:
            self._go_on(rank)

    def _check_all_done(self) -> None:
        for rank, steps in enumerate(self._steps):
            at = self._at[rank]
            if at < len(steps):
                kind, number = steps[at]
                step = f"{self._stage[rank]}{kind}{number}"
                raise InputError(
                    f"the schedule comes to a halt: GPU {rank} waits at {step} for ever, its step "
                    f"{at + 1} of {len(steps)}",
                    hint="Every step must come after what it needs, on all GPUs together",
                )


def _unknown(lists: int, size: int) -> list[list[float]]:
    return [[UNKNOWN] * size for _ in range(lists)]
