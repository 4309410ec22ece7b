"""``simulate``: run a plan minibatch by minibatch and look at it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from stagewright.model.instance import Instance
from stagewright.model.plan import Plan
from stagewright.model.rules import Optimizer, Versions
from stagewright.simulation.conditions import Conditions
from stagewright.simulation.engine import Engine
from stagewright.simulation.figures import gpu_figures
from stagewright.simulation.links import Wiring
from stagewright.simulation.machine import Machine, build_machine
from stagewright.simulation.measures import LEAST_STEADY, SteadyState, steady_state
from stagewright.simulation.memory import memory_curve
from stagewright.simulation.orders import Pace, make_schedule, windows
from stagewright.simulation.run import Run
from stagewright.simulation.schedule import BACKWARD, Schedule, check_schedule
from stagewright.simulation.timeline import Event, Gpu, GpuFigures, LinkFigures, MemoryCurve
from stagewright.simulation.waiting_engine import WaitingEngine

MOST_MINIBATCHES = 2000
MOST_PASSES = 100_000
"""Where the simulator chooses itself how many minibatches pass, it makes a run longer until it
has settled, up to so many minibatches, and so many on all GPUs together."""


@dataclass(frozen=True)
class Simulation:
    """A plan that was run.

    Attributes
    ----------
    run
        The raw times.
    conditions, pace
        How it ran; ``pace`` is ``None`` for a schedule from elsewhere.
    steady
        The stretch in which the pipeline was full; ``None`` where the run is too short.
    links
        Every link that carried something.
    versions, optimizer
        How memory is counted.
    """

    run: Run
    conditions: Conditions
    pace: Pace | None
    steady: SteadyState | None
    links: tuple[LinkFigures, ...]
    versions: Versions
    optimizer: Optimizer

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """The GPUs in use, by rank."""
        return self.run.machine.gpus

    @property
    def schedule(self) -> Schedule:
        """The steps of every GPU."""
        return self.run.schedule

    @cached_property
    def minibatches(self) -> int:
        """How many minibatches passed."""
        return self.schedule.minibatches

    @property
    def period_s(self) -> float | None:
        """Seconds per minibatch in steady state; ``None`` where the run is too short for one."""
        return None if self.steady is None else self.steady.period_s

    @cached_property
    def makespan_s(self) -> float:
        """Seconds from the first step to the last."""
        return max(steps[-1][2] for steps in self.run.steps if steps)

    @cached_property
    def fill_s(self) -> float:
        """Seconds until every GPU that has work has begun it."""
        return max(steps[0][1] for steps in self.run.steps if steps)

    @cached_property
    def drain_s(self) -> float:
        """Seconds from when the first GPU has done all its work until the end."""
        return self.makespan_s - min(steps[-1][2] for steps in self.run.steps if steps)

    def events(self, first: int = 0, last: int | None = None) -> Iterator[Event]:
        """Yield what happens to minibatches ``first`` to ``last`` (inclusive), GPU by GPU."""
        return self.run.events(first, self.minibatches - 1 if last is None else last)

    def memory(self, rank: int) -> MemoryCurve:
        """Return what a GPU holds over time."""
        work = self.run.machine.stages[self.gpus[rank].stage]
        return memory_curve(rank, work, self.versions, self.optimizer, self.run.steps[rank])

    @cached_property
    def gpu_figures(self) -> tuple[GpuFigures, ...]:
        """How each GPU spends the run, by rank."""
        return tuple(
            gpu_figures(
                self.run,
                gpu.rank,
                self.memory(gpu.rank),
                self.steady,
                overlap=self.conditions.overlap,
            )
            for gpu in self.gpus
        )


def simulate(
    instance: Instance,
    plan: Plan,
    conditions: Conditions | None = None,
    pace: Pace | None = None,
    minibatches: int | None = None,
) -> Simulation:
    """Run a plan.

    Parameters
    ----------
    conditions
        How the hardware runs it: :func:`~stagewright.simulation.conditions.conditions_of` a cost
        model.
    pace
        In which order minibatches pass, and how many are in flight; 1F1B with PipeDream's start-up
        count if not given.
    minibatches
        How many pass; as many as it takes to see a steady state if not given.

    Raises
    ------
    InputError
        If the plan is not whole, or a number is out of range.
    """
    conditions, pace = conditions or Conditions(), pace or Pace()
    machine = build_machine(instance, plan)
    if minibatches is not None:
        schedule = make_schedule(machine, minibatches, conditions, pace)
        return _simulate(instance, machine, conditions, pace, schedule)
    count = _enough(machine, pace)
    while True:
        schedule = make_schedule(machine, count, conditions, pace)
        simulation = _simulate(instance, machine, conditions, pace, schedule)
        settled = simulation.steady is not None and simulation.steady.settled
        count *= 2
        if settled or count > MOST_MINIBATCHES or count * len(machine.gpus) > MOST_PASSES:
            return simulation


def simulate_schedule(
    instance: Instance, plan: Plan, schedule: Schedule, conditions: Conditions | None = None
) -> Simulation:
    """Run a plan by a schedule of one's own.

    Raises
    ------
    InputError
        If the schedule does not fit the plan, or comes to a halt.
    """
    machine = build_machine(instance, plan)
    check_schedule(schedule, (gpu.stage for gpu in machine.gpus))
    return _simulate(instance, machine, conditions or Conditions(), None, schedule)


def _enough(machine: Machine, pace: Pace) -> int:
    """Minibatches that are likely to show a steady state: several times what is in flight."""
    window = windows(machine, pace.slack)[0]
    if pace.order.flushes:
        window = max(window, pace.group_of(machine))
    return max(64, 4 * LEAST_STEADY, 3 * window + 32)


def _simulate(
    instance: Instance,
    machine: Machine,
    conditions: Conditions,
    pace: Pace | None,
    schedule: Schedule,
) -> Simulation:
    wiring = Wiring(machine, instance.cluster, conditions)
    kind = Engine if conditions.overlap else WaitingEngine
    engine = kind(machine, wiring, schedule)
    engine.run()
    run = Run(machine, schedule, tuple(engine.passes), tuple(engine.updates))
    done = [
        [
            begun_s + machine.turn_s(rank) - machine.forward_s[rank]
            for begun_s, rank in zip(passes.backward_s, passes.rank, strict=True)
        ]
        for passes in run.passes
    ]
    end_s = max(steps[-1][2] for steps in run.steps if steps)
    links = tuple(
        LinkFigures(
            name, tuple(users), busy / schedule.minibatches, 0.0 if end_s <= 0 else busy / end_s
        )
        for name, users, busy in zip(wiring.names, wiring.users, engine.link_busy_s, strict=True)
    )
    memory = instance.rules.memory
    return Simulation(
        run,
        conditions,
        pace,
        steady_state(done, _in_flight(schedule)),
        links,
        memory.versions,
        memory.optimizer,
    )


def _in_flight(schedule: Schedule) -> int:
    """Minibatches that are in flight in stage 0 when its first backward pass begins."""
    count = 0
    for stage, steps in zip(schedule.stages, schedule.steps, strict=True):
        if stage == 0:
            kinds = [kind for kind, _ in steps]
            count += kinds.index(BACKWARD) if BACKWARD in kinds else 0
    return count
