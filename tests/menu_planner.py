"""A planner that chooses from a list of plans: sure to know every rule that the evaluator knows.

``from menu_planner import MenuPlanner``, and put it in the place of another one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stagewright.formulation.problem import Outcome, Problem, Settings
from stagewright.model.evaluate import evaluate
from stagewright.model.plan import Plan, Status


@dataclass
class MenuPlanner:
    """Takes the fastest plan of ``menu`` that breaks no rule; the first of those that tie.

    ``before`` is called with the settings of every run, and may end or slow it.
    """

    menu: Sequence[Plan]
    status: Status = Status.OPTIMAL
    before: Callable[[Settings], None] = lambda _: None
    runs: int = 0
    name: str = "menu"
    summary: str = "chooses from a list"

    def check(self, problem: Problem) -> None:
        """Apply always."""

    def solve(self, problem: Problem, settings: Settings) -> Outcome:
        """Evaluate the whole menu."""
        self.runs += 1
        self.before(settings)
        judged = [
            (plan, evaluate(problem.instance, plan, problem.cost_model)) for plan in self.menu
        ]
        valid = [(found.period_s, plan) for plan, found in judged if found.valid]
        if not valid:
            proven = self.status == Status.OPTIMAL
            status = Status.INFEASIBLE if proven else Status.UNKNOWN
            return Outcome(status, None, reason="nothing on the menu")
        period, plan = min(valid, key=lambda pair: pair[0])
        bound = period if self.status == Status.OPTIMAL else period / 2
        return Outcome(self.status, plan, period, bound)
