"""What a search knows of the least period: the best plan so far and the longest period refuted."""

from __future__ import annotations

from dataclasses import dataclass

from stagewright.formulation.fewest_gpus import NEXT, FewestGpus
from stagewright.formulation.problem import Problem, Progress, Settings
from stagewright.model.plan import Plan, Stage


@dataclass
class Bracket:
    """The bracket around the least period of a problem, and whom to tell when it narrows.

    Attributes
    ----------
    period_s, stages
        Best valid plan known; stages are ``None`` while it is the caller's own ceiling.
    bound_s
        No plan has a smaller period.
    """

    problem: Problem
    settings: Settings
    period_s: float
    bound_s: float
    stages: tuple[Stage, ...] | None = None

    @property
    def done(self) -> bool:
        """Whether the bracket is closed, or time is over."""
        closed = self.bound_s >= self.period_s * min(NEXT, 1 - self.settings.gap)
        return closed or self.settings.expired

    def keep(self, plan: Plan, period_s: float) -> None:
        """Remember a valid plan if it is the best so far."""
        if period_s < self.period_s:
            self.period_s, self.stages = period_s, plan.stages
            if self.settings.on_plan is not None:
                self.settings.on_plan(plan)
            self._tell()

    def take(self, search: FewestGpus) -> None:
        """Take over a search's best plan if it is better."""
        if search.stages is not None:
            self.keep(Plan(search.stages, "flat-search"), search.period_s)

    def refute(self, period_s: float) -> None:
        """Note that no plan keeps a period."""
        if period_s > self.bound_s:
            self.bound_s = period_s
            self._tell()

    def _tell(self) -> None:
        if self.settings.on_progress is not None:
            progress = Progress(self.settings.wall_s, self.period_s, self.bound_s)
            self.settings.on_progress(progress)
