"""The small interface that every planner satisfies."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from stagewright.model.costs import CostModel
from stagewright.model.instance import Instance
from stagewright.model.plan import Plan, Status


@dataclass(frozen=True)
class Problem:
    """What is to be planned, and under which cost model a plan is judged."""

    instance: Instance
    cost_model: CostModel


@dataclass(frozen=True, slots=True)
class Progress:
    """The best plan and the best bound so far, in seconds per minibatch."""

    wall_s: float
    period_s: float | None
    bound_s: float | None


TECHNIQUES = (
    "warm-start",
    "contraction",
    "bounds",
    "flat-search",
    "ideal-tables",
    "landmarks",
    "stretches",
    "rack-search",
)
"""What ``cpsat`` does beside handing the plain model to the solver; see docs/benchmarks.md."""


@dataclass(frozen=True)
class Settings:
    """Limits and switches of a planning run.

    Attributes
    ----------
    time_limit_s
        Stop after so many seconds with the best plan so far.
    gap
        Stop when the plan is proven to be within this fraction of the best.
    workers, seed
        Threads of the solver, and its random seed. One worker is deterministic.
    solver
        Which solver ``milp`` runs: highs, scip, or gurobi and others where licensed.
    fewer_machines
        Let ``pipedream-dp`` leave machines idle (its ``--use_fewer_machines``).
    tidy
        Among plans of the same period, take one with the fewest GPUs, then with the least
        traffic between servers.
    on_progress
        Called whenever the best plan or the bound improves.
    on_plan
        Called with plans as they are found, so that one remains if the search is cut off. A later
        one need not be better.
    without
        Techniques that ``cpsat`` is to do without (:data:`TECHNIQUES`), to measure what they bring.
    stop
        Set it to make a planner return the best plan so far.
    began
        When the run began, on the monotonic clock.
    """

    time_limit_s: float = 60.0
    gap: float = 0.0
    workers: int = 8
    seed: int = 0
    solver: str = "highs"
    fewer_machines: bool = False
    tidy: bool = False
    on_progress: Callable[[Progress], None] | None = None
    on_plan: Callable[[Plan], None] | None = None
    without: frozenset[str] = frozenset()
    stop: threading.Event = field(default_factory=threading.Event)
    began: float = field(default_factory=time.monotonic)

    def started(self, share: float = 1.0) -> Settings:
        """Return the same settings with the clock at zero and a share of the time that is left."""
        left = self.time_limit_s - (time.monotonic() - self.began if share < 1 else 0.0)
        return replace(self, time_limit_s=max(0.0, left * share), began=time.monotonic())

    @property
    def wall_s(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.began

    @property
    def expired(self) -> bool:
        """Whether to end with the best plan so far: time is over, or somebody said stop."""
        return self.stop.is_set() or self.wall_s > self.time_limit_s


@dataclass(frozen=True)
class Outcome:
    """What a planner answers.

    Attributes
    ----------
    status
        What it has proven.
    plan
        ``None`` if it found none.
    objective_s
        The period that the planner computed for its plan under the problem's cost model, or
        ``None`` if it works under a model of its own.
    bound_s
        A proven lower bound on the period of every plan, or ``None``.
    reason
        Why there is no plan, in words.
    second
        What is known of the second objective, in words.
    """

    status: Status
    plan: Plan | None
    objective_s: float | None = None
    bound_s: float | None = None
    reason: str = ""
    second: str = ""


class Planner(Protocol):
    """Anything that makes a plan."""

    @property
    def name(self) -> str:
        """What the command line calls it."""

    @property
    def summary(self) -> str:
        """What it is, in one line."""

    def check(self, problem: Problem) -> None:
        """Raise :class:`~stagewright.model.errors.DoesNotApply` if it cannot answer."""

    def solve(self, problem: Problem, settings: Settings) -> Outcome:
        """Make a plan."""
