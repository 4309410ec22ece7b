"""Running a suite: how soon a planner's plans are good, and proven."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from importlib.metadata import version

from stagewright.formulation.problem import Progress, Settings
from stagewright.formulation.run import run_planner
from stagewright.model.errors import DoesNotApply, InfeasibleError, NoPlanFound
from stagewright.scenarios.suites import Case

MARKS = (0.01, 0.001, 1e-6)
"""Gaps whose times are noted; the last is what counts as proven."""


@dataclass(frozen=True)
class Row:
    """What a planner answered on one case.

    Attributes
    ----------
    period_s, bound_s, wall_s
        Of the certificate; ``None`` without a plan.
    reached_s
        Seconds until each gap of :data:`MARKS` was reached; ``None`` if it was not.
    published_s
        The published planner's answer.
    remark
        Why there is no plan.
    """

    case: str
    planner: str
    period_s: float | None
    bound_s: float | None
    wall_s: float
    reached_s: tuple[float | None, ...]
    published_s: float | None
    remark: str = ""

    @property
    def gap(self) -> float | None:
        """How far the plan can be from the best, as a fraction of its period."""
        if self.period_s is None or self.bound_s is None:
            return None
        return 0.0 if self.period_s <= 0 else max(0.0, 1 - self.bound_s / self.period_s)

    @property
    def ratio(self) -> float | None:
        """Period over the published planner's; below 1 is better."""
        if self.period_s is None or not self.published_s:
            return None
        return self.period_s / self.published_s


@dataclass
class _Watch:
    """Notes when each gap is reached."""

    reached_s: dict[float, float] = field(default_factory=dict)

    def __call__(self, progress: Progress) -> None:
        if not progress.period_s or progress.bound_s is None:
            return
        self.note(1 - progress.bound_s / progress.period_s, progress.wall_s)

    def note(self, gap: float, wall_s: float) -> None:
        for mark in MARKS:
            if gap <= mark:
                self.reached_s.setdefault(mark, wall_s)


def certify(cases: Iterable[Case], planners: Iterable[str], settings: Settings) -> Iterator[Row]:
    """Run every planner on every case, one solve at a time."""
    names = list(planners)
    for case in cases:
        problem = case.problem()
        for name in names:
            watch = _Watch()
            try:
                planned = run_planner(name, problem, replace(settings, on_progress=watch))
            except (DoesNotApply, InfeasibleError, NoPlanFound) as error:
                none = (None,) * len(MARKS)
                yield Row(case.name, name, None, None, 0.0, none, case.published_s, str(error))
                continue
            certificate = planned.certificate
            if certificate.gap is not None:
                watch.note(certificate.gap, certificate.wall_s)
            yield Row(
                case.name,
                name,
                planned.evaluation.period_s,
                certificate.bound_s,
                certificate.wall_s,
                tuple(watch.reached_s.get(mark) for mark in MARKS),
                case.published_s,
            )
            if settings.stop.is_set():
                return


def machine() -> str:
    """What ran it, in one line."""
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"OR-Tools {version('ortools')}"
    )
