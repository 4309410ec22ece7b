"""The plans that are run: the chosen one, what one would do by hand, and two that are worse."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stagewright.formulation.assemble import with_inputs
from stagewright.formulation.orders import topological_orders
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.run import Planned, plan_with_baselines, run_planner
from stagewright.model.evaluate import evaluate
from stagewright.model.plan import Certificate, Plan, Stage, Status
from stagewright.scenarios.reality.verdict import Kind

WORSE = (1.3, 1.6)
"""How many times the chosen plan's period the two worse cuts should have."""


@dataclass(frozen=True)
class Candidate:
    """A plan to run, and what it is there for."""

    kind: Kind
    planned: Planned

    @property
    def stages(self) -> str:
        """Its stages in short, with the number of their layers: ``24 core0 | 29 core1``."""
        groups = self.planned.problem.instance.cluster.groups
        return " | ".join(
            f"{len(stage.nodes)} "
            + " + ".join(g.gpu for g, n in zip(groups, stage.replicas, strict=True) if n)
            for stage in self.planned.plan.stages
        )


def candidates(problem: Problem, settings: Settings) -> tuple[Candidate, ...]:
    """Return single GPU, data-parallel, the plan of ``cpsat``, and two worse cuts.

    If the chosen plan is one of the first two it comes once, as the chosen one.
    """
    chosen = plan_with_baselines("cpsat", problem, settings)
    by_hand = [
        Candidate(kind, run_planner(planner, problem, settings))
        for kind, planner in ((Kind.SINGLE, "single-gpu"), (Kind.DATA_PARALLEL, "data-parallel"))
    ]
    found = [x for x in by_hand if _shape(x.planned) != _shape(chosen)]
    found.append(Candidate(Kind.CHOSEN, chosen))
    cuts = list(_cuts(problem))
    for factor in WORSE:
        aim = factor * chosen.evaluation.period_s
        cut = min(cuts, key=lambda x: abs(x.evaluation.period_s - aim))
        cuts.remove(cut)
        found.append(Candidate(Kind.WORSE, cut))
    return tuple(found)


def _shape(planned: Planned) -> list[tuple[frozenset[str], Sequence[int]]]:
    return [(frozenset(x.nodes), x.replicas) for x in planned.plan.stages]


def _cuts(problem: Problem) -> Iterator[Planned]:
    """Yield every plan of two stages that cuts a topological order once, each on one type."""
    instance = problem.instance
    groups = instance.cluster.groups
    order = topological_orders(instance)[0]
    names = [instance.nodes[v] for v in order]
    for g, h in itertools.permutations(range(len(groups)), 2):
        for at in range(1, len(names)):
            halves = ((names[:at], g), (names[at:], h))
            stages = [
                Stage(tuple(nodes), tuple(int(k == group) for k in range(len(groups))))
                for nodes, group in halves
            ]
            plan = Plan(with_inputs(instance, stages), "cut")
            evaluation = evaluate(instance, plan, problem.cost_model)
            period = evaluation.period_s
            certificate = Certificate(Status.FEASIBLE, period, None, 0.0, "cut")
            yield Planned(problem, plan, evaluation, certificate)
