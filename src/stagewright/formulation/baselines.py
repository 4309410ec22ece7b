"""What a person would do without a planner."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from stagewright.formulation.assemble import with_inputs
from stagewright.formulation.orders import topological_orders
from stagewright.formulation.problem import Outcome, Problem, Settings
from stagewright.model.evaluate import evaluate
from stagewright.model.plan import Plan, Stage, Status
from stagewright.model.rules import Recompute


def _unit(size: int, position: int) -> tuple[int, ...]:
    return tuple(int(g == position) for g in range(size))


def _best_whole(problem: Problem, name: str, replicas: Iterable[tuple[int, ...]]) -> Outcome:
    """Take the best way to run everything in one stage: one that is valid, or any."""
    instance = problem.instance
    found: list[tuple[bool, float, int, Plan]] = []
    for counts, recompute in itertools.product(replicas, instance.rules.recompute.choices):
        stages = with_inputs(instance, [Stage(instance.nodes, counts, recompute)])
        plan = Plan(stages, name)
        judged = evaluate(instance, plan, problem.cost_model)
        found.append((not judged.valid, judged.period_s, len(found), plan))
    _, period, _, plan = min(found)
    return Outcome(Status.FEASIBLE, plan, period)


@dataclass(frozen=True)
class SingleGpu:
    """Everything on the one GPU that is fastest."""

    name: str = "single-gpu"
    summary: str = "the whole network on the fastest single GPU"

    def check(self, problem: Problem) -> None:
        """Defined on every instance."""

    def solve(self, problem: Problem, settings: Settings) -> Outcome:
        """Try each group and keep the best that is valid, or the best at all."""
        del settings
        groups = len(problem.instance.cluster.groups)
        return _best_whole(problem, self.name, [_unit(groups, g) for g in range(groups)])


@dataclass(frozen=True)
class DataParallel:
    """Everything on every GPU."""

    name: str = "data-parallel"
    summary: str = "the whole network replicated on every GPU"

    def check(self, problem: Problem) -> None:
        """Defined on every instance."""

    def solve(self, problem: Problem, settings: Settings) -> Outcome:
        """One stage with all replicas."""
        del settings
        return _best_whole(problem, self.name, [problem.instance.cluster.counts])


@dataclass(frozen=True)
class EqualSplit:
    """One stage per GPU, each with an equal share of the work."""

    name: str = "equal-split"
    summary: str = "one stage per GPU, cut where equal shares of the time end"

    def check(self, problem: Problem) -> None:
        """Defined on every instance."""

    def solve(self, problem: Problem, settings: Settings) -> Outcome:
        """Cut the first topological order by running time on the first GPU type."""
        del settings
        instance = problem.instance
        order = topological_orders(instance)[0]
        gpus = [g for g, n in enumerate(instance.cluster.counts) for _ in range(n)]
        gpus = gpus[: instance.rules.max_stages][: instance.rules.max_gpus]
        recompute = instance.rules.recompute == Recompute.ALWAYS
        running = np.cumsum(instance.time_s[0][list(order)])
        middle = running - instance.time_s[0][list(order)] / 2
        total = float(running[-1]) or 1.0
        share = np.minimum((middle / total * len(gpus)).astype(int), len(gpus) - 1)
        stages: list[Stage] = []
        for number in sorted(set(share.tolist())):
            nodes = tuple(
                instance.nodes[v] for v, s in zip(order, share, strict=True) if s == number
            )
            unit = _unit(len(instance.cluster.groups), gpus[len(stages)])
            stages.append(Stage(nodes, unit, recompute))
        return Outcome(Status.FEASIBLE, Plan(with_inputs(instance, stages), self.name))
