"""Recomputing only where it is needed."""

from __future__ import annotations

from dataclasses import replace

from stagewright.formulation.problem import Problem
from stagewright.model.evaluate import evaluate
from stagewright.model.plan import Plan


def keep_activations(problem: Problem, plan: Plan) -> Plan:
    """Return ``plan`` with every stage keeping its activations that may and can.

    A stage that is not the slowest may recompute at no cost to the period; nobody wants that. A
    stage's choice touches no other stage's time or memory, so one pass is enough.
    """
    if False not in problem.instance.rules.recompute.choices:
        return plan
    for k, stage in enumerate(plan.stages):
        if not stage.recompute:
            continue
        stages = list(plan.stages)
        stages[k] = replace(stage, recompute=False)
        other = replace(plan, stages=tuple(stages))
        if evaluate(problem.instance, other, problem.cost_model).valid:
            plan = other
    return plan
