"""Planning changed problems within one time limit: every answer here is a checked fact."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.run import Planned, run_planner
from stagewright.model.errors import DoesNotApply, InfeasibleError, NoPlanFound

ANY_GAP = 1 - 1e-9
"""A search with this gap ends with its first plan."""

CLOSE = 1.01
"""A limit is the least if one that is 1 % lower is proven too low."""

NOTHING = 1e-4


@dataclass(frozen=True)
class Trial:
    """A plan that breaks no rule, or none; and whether it is proven that there is none."""

    planned: Planned | None
    excluded: bool = False


@dataclass(frozen=True)
class Least:
    """The least limit that allows a plan.

    Attributes
    ----------
    planned
        A plan under that limit.
    proven
        Whether everything below is proven too little (to the step of the search).
    """

    limit: float
    planned: Planned
    proven: bool


@dataclass(frozen=True)
class Trials:
    """A planner, and the settings whose time all its runs share."""

    planner: str
    settings: Settings

    @property
    def over(self) -> bool:
        """Whether time is over or somebody said stop."""
        return self.settings.expired

    def best(self, problem: Problem, shares: int) -> Trial:
        """Look for the best plan, in one of ``shares`` equal shares of the time that is left."""
        return self._run(problem, shares, self.settings.gap)

    def any(self, problem: Problem, shares: int) -> Trial:
        """Look for any plan."""
        return self._run(problem, shares, ANY_GAP)

    def _run(self, problem: Problem, shares: int, gap: float) -> Trial:
        if self.over:
            return Trial(None)
        left = self.settings.time_limit_s - self.settings.wall_s
        own = dataclasses.replace(
            self.settings,
            time_limit_s=left / shares,
            gap=gap,
            on_progress=None,
            on_plan=None,
            began=time.monotonic(),
        )
        try:
            planned = run_planner(self.planner, problem, own)
        except InfeasibleError:
            return Trial(None, excluded=True)
        except (DoesNotApply, NoPlanFound):
            return Trial(None)
        return Trial(planned if planned.evaluation.valid else None)

    def least(
        self,
        problem_at: Callable[[float], Problem],
        used: Callable[[Planned], float],
        too_low: float,
        first: Planned,
        middle: Callable[[float, float], float | None],
        shares: int = 2,
    ) -> Least:
        """Find the least limit that allows a plan, by bisection.

        Parameters
        ----------
        problem_at
            The problem under a limit.
        used
            The limit that a plan needs.
        too_low
            A limit that is proven too low.
        first
            Any plan under some limit.
        middle
            A limit between two others, or ``None`` if they are close enough.
        shares
            Each run may take one of so many shares of the time that is left.
        """
        low, best, proven = too_low, first, True
        high = used(first)
        while not self.over:
            limit = middle(low, high)
            if limit is None:
                return Least(high, best, proven)
            trial = self.any(problem_at(limit), shares)
            if trial.planned is not None:
                best = trial.planned
                high = min(limit, used(best))
            else:
                low = limit
                proven = proven and trial.excluded
        return Least(high, best, proven=False)


def by_ratio(low: float, high: float) -> float | None:
    """Middle of two limits as factors, to 1 %; a limit of 0 is far below any other."""
    return None if high <= low * CLOSE else math.sqrt(max(low, high * NOTHING) * high)


def by_count(low: float, high: float) -> float | None:
    """Middle of two whole numbers."""
    return None if high - low <= 1 else float((low + high) // 2)
