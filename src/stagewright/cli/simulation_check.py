"""``plan --check-by-simulation``: the plan's period as its formula says, and as it is simulated."""

from __future__ import annotations

import click

from stagewright.cli.render_simulation import show_check
from stagewright.formulation.problem import Problem
from stagewright.formulation.run import Planned
from stagewright.model.document import PlanDocument
from stagewright.model.errors import InputError
from stagewright.model.plan_schema import SimulationDocument
from stagewright.simulation import conditions_of
from stagewright.simulation.check import PeriodCheck, check_period
from stagewright.simulation.summary import check_summary


class PlanCheck:
    """A check to be run on the plan of one problem.

    Raises
    ------
    DoesNotApply
        At once, before anything is planned, if the cost model cannot be simulated.
    """

    def __init__(self, problem: Problem) -> None:
        self._conditions = conditions_of(problem.cost_model)
        self._check: PeriodCheck | None = None

    def run(self, planned: Planned, document: PlanDocument) -> PlanDocument:
        """Simulate the plan and return its document with the result.

        A plan that is too large to simulate is still a plan: the reason goes to stderr.
        """
        problem = planned.problem
        try:
            self._check = check_period(
                problem.instance,
                planned.plan,
                self._conditions,
                problem.cost_model.name,
                planned.evaluation.period_s,
            )
        except InputError as error:
            click.echo(f"stagewright: the plan was not checked by simulation: {error}", err=True)
            return document
        told = SimulationDocument.model_validate(check_summary(self._check))
        return document.model_copy(update={"simulation": told})

    def show(self) -> None:
        """Print the result, if there is one."""
        if self._check is not None:
            show_check(self._check)
