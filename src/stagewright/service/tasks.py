"""What a worker is asked to do, and what it says, as JSON: the two processes share no objects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stagewright.formulation.problem import Problem
from stagewright.model.cost_model import CostModel
from stagewright.model.document import make_document, open_instance, save_instance
from stagewright.model.evaluate import evaluate
from stagewright.model.instance import Instance
from stagewright.model.plan import Certificate, Plan, Stage, Status
from stagewright.model.plan_schema import InstanceDocument, PlanDocument


@dataclass(frozen=True)
class Task:
    """One job as its worker needs it.

    Attributes
    ----------
    kind
        Whether to plan, or to compare planners.
    instance, cost_model
        The problem, as a plan document writes it.
    planners
        Who plans; of ``plan`` the only one.
    search
        Keywords of :class:`~stagewright.formulation.problem.Settings`.
    own
        Stages of a plan of the caller's own, to be set beside the planners.
    """

    kind: Literal["plan", "compare"]
    instance: dict[str, Any]
    cost_model: str
    planners: tuple[str, ...]
    search: dict[str, Any]
    own: list[dict[str, Any]] | None = None

    def dumps(self) -> str:
        """Return it as JSON."""
        return json.dumps(vars(self), allow_nan=False)

    @staticmethod
    def loads(text: str) -> Task:
        """Read what :meth:`dumps` wrote."""
        data = json.loads(text)
        return Task(**{**data, "planners": tuple(data["planners"])})

    def problem(self) -> Problem:
        """Return the problem."""
        saved = InstanceDocument.model_validate(self.instance)
        return Problem(*open_instance(saved, self.cost_model))


def save_problem(problem: Problem) -> dict[str, Any]:
    """Return an instance as plain data for a task."""
    return save_instance(problem.instance, problem.cost_model).model_dump(mode="json")


def save_stages(plan: Plan) -> list[dict[str, Any]]:
    """Return the stages of a plan as plain data; replicas are by group of the cluster."""
    return [
        {"nodes": list(x.nodes), "replicas": list(x.replicas), "recompute": x.recompute}
        for x in plan.stages
    ]


def load_stages(stages: Sequence[dict[str, Any]], planner: str) -> Plan:
    """Read what :func:`save_stages` wrote."""
    return Plan(
        tuple(Stage(tuple(x["nodes"]), tuple(x["replicas"]), x["recompute"]) for x in stages),
        planner,
    )


def cut_off_document(
    task: Task, stages: Sequence[dict[str, Any]], bound_s: float | None, wall_s: float
) -> PlanDocument:
    """Return the document of the best plan of a search that has not come to its end."""
    problem = task.problem()
    plan = load_stages(stages, task.planners[0])
    return make_document(
        problem.instance,
        plan,
        problem.cost_model,
        _certificate(problem.instance, plan, problem.cost_model, bound_s, wall_s),
        (None, None),
    )


def _certificate(
    instance: Instance, plan: Plan, cost_model: CostModel, bound_s: float | None, wall_s: float
) -> Certificate:
    period_s = evaluate(instance, plan, cost_model).period_s
    return Certificate(
        Status.FEASIBLE,
        period_s,
        None if bound_s is None else min(bound_s, period_s),
        wall_s,
        plan.planner,
    )
