"""The plans that are run: the chosen one, what one would do by hand, and two that are worse."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stagewright.formulation.assemble import with_inputs
from stagewright.formulation.orders import topological_orders
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.run import Planned, plan_with_baselines, run_planner
from stagewright.model.evaluate import evaluate
from stagewright.model.plan import Certificate, Plan, Stage, Status
from stagewright.scenarios.reality.measured import Replicas
from stagewright.scenarios.reality.verdict import Kind

WORSE = (1.3, 1.6)
"""How many times the chosen plan's period the two worse cuts should have."""

APART = 1.2
"""Factor by which the predicted period of a worse cut should differ from that of every other plan:
twice what counts as a tie, so that a pair of plans has something to tell."""


@dataclass(frozen=True)
class Candidate:
    """A plan to run, what it is there for, and the seconds per minibatch to expect of it."""

    kind: Kind
    planned: Planned
    predicted_s: float

    @property
    def stages(self) -> str:
        """Its stages in short, with the number of their layers: ``24 core | 29 core``."""
        groups = self.planned.problem.instance.cluster.groups
        return " | ".join(
            f"{len(stage.nodes)} "
            + " + ".join(
                group.gpu for group, n in zip(groups, stage.replicas, strict=True) for _ in range(n)
            )
            for stage in self.planned.plan.stages
        )


def candidates(problem: Problem, settings: Settings, replicas: Replicas) -> tuple[Candidate, ...]:
    """Return single GPU, data-parallel, the plan of ``cpsat``, and two worse cuts.

    If the chosen plan is one of the first two it comes once, as the chosen one.

    Parameters
    ----------
    problem, settings
        What is to be planned, and how long to search.
    replicas
        What was measured of replicas beyond what the cost model knows; see :func:`_predicted_s`.
    """
    chosen = plan_with_baselines("cpsat", problem, settings)
    single, parallel = (
        run_planner(name, problem, settings) for name in ("single-gpu", "data-parallel")
    )
    by_hand = ((Kind.SINGLE, single), (Kind.DATA_PARALLEL, parallel))
    found = [(kind, x) for kind, x in by_hand if _shape(x) != _shape(chosen)]
    found.append((Kind.CHOSEN, chosen))
    plans = [Candidate(k, x, _predicted_s(x, replicas)) for k, x in found]
    cuts = [Candidate(Kind.WORSE, x, x.evaluation.period_s) for x in _cuts(problem)]
    for factor in WORSE:
        plans.append(_cut(cuts, factor * chosen.evaluation.period_s, plans))
        cuts.remove(plans[-1])
    return tuple(plans)


def _cut(cuts: Sequence[Candidate], aim_s: float, others: Sequence[Candidate]) -> Candidate:
    """Return the cut closest to a period among those that are (most) apart from other plans."""

    def off(cut: Candidate) -> tuple[float, float]:
        nearest = min(abs(math.log(cut.predicted_s / x.predicted_s)) for x in others)
        return max(0.0, math.log(APART) - nearest), abs(cut.predicted_s - aim_s)

    return min(cuts, key=off)


def _predicted_s(planned: Planned, replicas: Replicas) -> float:
    """Return the period of a plan; that of a replicated stage as replicas were measured.

    A cluster file states one bandwidth inside a server. gloo's all-reduce is slower than its
    messages, and a plan of one stage sends no others. The cost model knows each layer's mean time,
    and takes the later of two replicas to be the one that is slower on average.
    """
    problem, plan = planned.problem, planned.plan
    count = plan.stages[0].replica_count
    if len(plan.stages) > 1 or count == 1:
        return planned.evaluation.period_s
    cluster = dataclasses.replace(
        problem.instance.cluster, bandwidth_bytes_per_s=((replicas.all_reduce_bytes_per_s,),)
    )
    instance = dataclasses.replace(problem.instance, cluster=cluster)
    return evaluate(instance, plan, problem.cost_model).period_s + replicas.waiting_s / count


def _shape(planned: Planned) -> list[tuple[frozenset[str], Sequence[int]]]:
    return [(frozenset(x.nodes), x.replicas) for x in planned.plan.stages]


def _cuts(problem: Problem) -> Iterator[Planned]:
    """Yield every plan of two stages that cuts a topological order once, each on one GPU."""
    instance = problem.instance
    groups = instance.cluster.groups
    order = topological_orders(instance)[0]
    names = [instance.nodes[v] for v in order]
    gpus = [g for g, group in enumerate(groups) for _ in range(group.count)]
    for g, h in dict.fromkeys(itertools.permutations(gpus, 2)):
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
