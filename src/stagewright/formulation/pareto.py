"""Period against GPUs or price: what each GPU less, or each coin less, costs in time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.run import Planned, run_planner
from stagewright.model.errors import (
    InfeasibleError,
    InputError,
    NoPlanFound,
    StagewrightError,
)
from stagewright.model.plan import Status, price_per_hour
from stagewright.model.rules import Rules

CHEAPER = 1e-9
"""The next plan must be cheaper by this fraction; the evaluator lets rounding pass."""


class By(StrEnum):
    """What is traded for time."""

    GPUS = "gpus"
    PRICE = "price"


class End(StrEnum):
    """Why a sweep ended."""

    LEAST = "least"
    INFEASIBLE = "infeasible"
    NO_PLAN = "no-plan"
    TIME = "time-limit"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Point:
    """The fastest plan found within a limit.

    Attributes
    ----------
    limit
        At most so many GPUs, or this price per hour; ``None`` for the first point, which may use
        all that the problem allows.
    gpus, price_per_hour
        What the plan uses; the price is ``None`` where one is not known.
    """

    limit: float | None
    gpus: int
    price_per_hour: float | None
    planned: Planned

    @property
    def period_s(self) -> float:
        """Seconds per minibatch."""
        return self.planned.evaluation.period_s

    @property
    def proven(self) -> bool:
        """Whether no plan within the limit is faster."""
        return self.planned.certificate.status == Status.OPTIMAL

    def cost(self, by: By) -> float:
        """What the plan uses of what is traded."""
        return float(self.gpus) if by is By.GPUS else float(self.price_per_hour or 0.0)


@dataclass(frozen=True)
class Front:
    """Plans of which none is both as fast and as cheap as another.

    Attributes
    ----------
    by
        What is traded for time.
    points
        The fastest first.
    end
        Why there is no further point.
    """

    by: By
    points: tuple[Point, ...]
    end: End

    @property
    def proven(self) -> bool:
        """Whether the whole front is proven: every point, and that nothing lies below the last."""
        whole = self.end in {End.LEAST, End.INFEASIBLE}
        return whole and all(point.proven for point in self.points)


def pareto_front(
    planner: str,
    problem: Problem,
    settings: Settings,
    by: By = By.GPUS,
    total_time_limit_s: float | None = None,
    on_point: Callable[[Point], None] | None = None,
) -> Front:
    """Plan again and again, each time with less than the last plan used.

    Parameters
    ----------
    planner
        Its name. It has to know the rule on GPUs or on the price.
    settings
        The time limit is for each point. ``stop`` ends the sweep with the points so far.
    total_time_limit_s
        For all points together, in seconds.
    on_point
        Told every point when it is found, also one that a later point makes superfluous.

    Raises
    ------
    InputError
        If a price is missing.
    InfeasibleError, NoPlanFound
        If there is not even a first point.
    StagewrightError
        If the planner's plan breaks a rule.
    """
    if by is By.PRICE and any(g.price_per_hour is None for g in problem.instance.cluster.groups):
        raise InputError(
            "a sweep by price needs a price for every GPU group",
            hint="Add price_per_hour to each group of the cluster.yaml",
        )
    began = time.monotonic()
    points: list[Point] = []
    limit: float | None = None
    while True:
        left = settings.time_limit_s
        if total_time_limit_s is not None:
            left = min(left, total_time_limit_s - (time.monotonic() - began))
        if points and (settings.stop.is_set() or left <= 0):
            end = End.STOPPED if settings.stop.is_set() else End.TIME
            break
        try:
            point = _point(planner, problem, replace(settings, time_limit_s=left), by, limit)
        except (InfeasibleError, NoPlanFound) as error:
            if not points:
                raise
            proven = isinstance(error, InfeasibleError)
            stopped = End.STOPPED if settings.stop.is_set() else End.NO_PLAN
            end = End.INFEASIBLE if proven else stopped
            break
        points.append(point)
        if on_point is not None:
            on_point(point)
        limit = _below(point, by)
        if limit is None:
            end = End.LEAST
            break
    return Front(by, _undominated(points), end)


def _point(
    planner: str, problem: Problem, settings: Settings, by: By, limit: float | None
) -> Point:
    rules = problem.instance.rules
    instance = problem.instance.with_rules(_limited(rules, by, limit))
    planned = run_planner(planner, replace(problem, instance=instance), settings)
    if planned.evaluation.violations:
        raise StagewrightError(
            f"the plan of '{planner}' breaks a rule: {planned.evaluation.violations[0].message}. "
            "This planner does not know the rule; use --planner cpsat"
        )
    price = price_per_hour(instance.cluster, planned.plan)
    return Point(limit, planned.plan.gpu_count, price, planned)


def _limited(rules: Rules, by: By, limit: float | None) -> Rules:
    if limit is None:
        return rules
    if by is By.GPUS:
        return replace(rules, max_gpus=int(limit))
    return replace(rules, max_price_per_hour=limit)


def _below(point: Point, by: By) -> float | None:
    """Limit for the next point, or ``None`` if nothing can be below."""
    if by is By.GPUS:
        return point.gpus - 1 if point.gpus > 1 else None
    return point.cost(by) * (1 - CHEAPER) if point.cost(by) > 0 else None


def _undominated(points: Sequence[Point]) -> tuple[Point, ...]:
    """Leave out a point if a later one, which costs less, is as fast.

    That happens where a plan uses more than it needs, or is not the fastest.
    """
    kept: list[Point] = []
    for point in points:
        while kept and kept[-1].period_s >= point.period_s * (1 - 1e-9):
            kept.pop()
        kept.append(point)
    return tuple(kept)
