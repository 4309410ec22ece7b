"""The best plan by trying all of them: DESIGN's definitions and the evaluator, nothing else.

A plan is a growing chain of order ideals (sets closed under producers) whose differences are
the stages, and for each stage a replica vector within the group counts and whether it recomputes.
:func:`every_plan` lists them all; :func:`best_period_s` skips only what a cost term already shows
to be worse, and beginnings that break a rule which no further stage can mend.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from stagewright.formulation.problem import Problem
from stagewright.model.costs import CutTime
from stagewright.model.evaluate import evaluate
from stagewright.model.instance import Instance
from stagewright.model.plan import Plan, Stage
from stagewright.model.violations import limit_violations, placement_violations

Ideal = frozenset[int]
Replicas = tuple[int, ...]


def ideals_of(instance: Instance) -> list[Ideal]:
    """All sets of nodes that hold every producer of their members, by size."""
    found: set[Ideal] = {frozenset()}
    fresh = set(found)
    while fresh:
        fresh = {
            ideal | {v}
            for ideal in fresh
            for v in range(len(instance.nodes))
            if v not in ideal and ideal.issuperset(instance.producers[v])
        }
        found |= fresh
    return sorted(found, key=lambda ideal: (len(ideal), sorted(ideal)))


def replica_vectors(free: Replicas) -> list[Replicas]:
    """All ways to take at least one of the free GPUs."""
    vectors = itertools.product(*(range(n + 1) for n in free))
    return [vector for vector in vectors if any(vector)]


def every_plan(instance: Instance) -> Iterator[Plan]:
    """Every partition into stages, with every choice of replicas and of recomputing.

    Rules play no part, not even the one on recomputing.
    """
    ideals = ideals_of(instance)

    def extend(done: Ideal, free: Replicas, stages: tuple[Stage, ...]) -> Iterator[Plan]:
        if len(done) == len(instance.nodes):
            yield make_plan(instance, stages)
            return
        for ideal in ideals:
            if not done < ideal:
                continue
            for replicas, recompute in itertools.product(replica_vectors(free), (False, True)):
                left = tuple(n - m for n, m in zip(free, replicas, strict=True))
                stage = _stage(instance, ideal - done, replicas, recompute)
                yield from extend(ideal, left, (*stages, stage))

    yield from extend(frozenset(), instance.cluster.counts, ())


def make_plan(instance: Instance, stages: tuple[Stage, ...]) -> Plan:
    """The plan of these stages; input nodes join the first."""
    first, *rest = stages
    inputs = tuple(sorted(instance.graph.inputs))
    first = Stage(inputs + first.nodes, first.replicas, first.recompute)
    return Plan((first, *rest), "brute-force")


def best_period_s(problem: Problem) -> float | None:
    """Smallest period of any plan in which the evaluator finds nothing wrong."""
    search = _Search(problem, ideals_of(problem.instance))
    search.extend(_Partial(frozenset(), problem.instance.cluster.counts, (), 0.0))
    return search.best_s


def _stage(instance: Instance, nodes: Ideal, replicas: Replicas, recompute: bool) -> Stage:
    return Stage(tuple(instance.nodes[v] for v in sorted(nodes)), replicas, recompute)


@dataclass(frozen=True)
class _Partial:
    """The first stages of a plan; ``slowest_s`` is their largest stage or transfer time."""

    done: Ideal
    free: Replicas
    stages: tuple[Stage, ...]
    slowest_s: float


class _Search:
    """Depth first; a partial plan that is no better than the best plan is not continued."""

    def __init__(self, problem: Problem, ideals: list[Ideal]) -> None:
        self._problem = problem
        self._instance = problem.instance
        self._ideals = ideals
        self.best_s: float | None = None

    def extend(self, partial: _Partial) -> None:
        if len(partial.done) == len(self._instance.nodes):
            self._judge(partial.stages)
            return
        longer = [
            following
            for ideal in self._ideals
            if partial.done < ideal
            for replicas in replica_vectors(partial.free)
            if not (self._instance.rules.straight_pipeline and sum(replicas) > 1)
            for recompute in (False, True)
            for following in self._append(partial, ideal, replicas, recompute)
        ]
        longer.sort(key=lambda p: (p.slowest_s, -len(p.done)))
        for following in longer:
            if self.best_s is None or following.slowest_s < self.best_s:
                self.extend(following)

    def _append(
        self, partial: _Partial, ideal: Ideal, replicas: Replicas, recompute: bool
    ) -> Iterator[_Partial]:
        stage = _stage(self._instance, ideal - partial.done, replicas, recompute)
        stages = (*partial.stages, stage)
        if self._too_large(stages, is_last=len(ideal) == len(self._instance.nodes)):
            return
        if self._beyond_mending(stages):
            return
        slowest_s = max(partial.slowest_s, self._stage_s(partial, ideal, stage))
        if self.best_s is not None and slowest_s >= self.best_s:
            return
        left = tuple(n - m for n, m in zip(partial.free, replicas, strict=True))
        yield _Partial(ideal, left, stages, slowest_s)

    def _stage_s(self, partial: _Partial, ideal: Ideal, stage: Stage) -> float:
        """The stage's time or the transfer before it, whichever is longer."""
        instance, model = self._instance, self._problem.cost_model
        nodes = ideal - partial.done
        times = [
            sum(
                float(instance.type_time_s[group.gpu][v])
                + stage.recompute * float(instance.type_forward_s[group.gpu][v])
                for v in nodes
            )
            for group in instance.cluster.groups
        ]
        parameters = sum(float(instance.parameter_bytes[v]) for v in nodes)
        cost = model.stage(instance.cluster, times, parameters, stage.replicas)
        cut = self._cut(partial, stage.replicas)
        waits_s = 0.0 if model.overlap else cut.received_s
        return max(cost.compute_s + cost.sync_s + waits_s, cut.sent_s, cut.received_s)

    def _beyond_mending(self, stages: tuple[Stage, ...]) -> bool:
        """Whether limits are exceeded or layers misplaced: more stages only make that worse."""
        plan = make_plan(self._instance, stages)
        found = limit_violations(self._instance, plan)
        return bool(found or placement_violations(self._instance, plan))

    def _cut(self, partial: _Partial, replicas: Replicas) -> CutTime:
        if not partial.stages:
            return CutTime(0.0, 0.0)
        crossing = self._crossing(partial.done)
        return self._problem.cost_model.cut(
            self._instance.cluster,
            crossing,
            partial.stages[-1].replicas,
            replicas,
            earlier_is_first=len(partial.stages) == 1,
        )

    def _crossing(self, done: Ideal) -> float:
        return sum(
            float(self._instance.activation_bytes[v])
            for v in done
            if not done.issuperset(self._instance.consumers[v])
        )

    def _too_large(self, stages: tuple[Stage, ...], *, is_last: bool) -> bool:
        """Whether the last of the stages cannot fit, however few GPUs come behind it."""
        rules, stage = self._instance.rules, stages[-1]
        if not rules.use_memory:
            return False
        m = stage.replica_count
        nodes = [self._instance.index[node] for node in stage.nodes]
        activation = sum(float(self._instance.activation_bytes[v]) for v in nodes)
        parameters = sum(float(self._instance.parameter_bytes[v]) for v in nodes)
        in_flight = rules.memory.in_flight(m, m if is_last else m + 1)
        least = rules.memory.stage_bytes(activation, parameters, in_flight)
        if stage.recompute:
            done = frozenset(self._instance.index[x] for s in stages[:-1] for x in s.nodes)
            cut = self._crossing(done)
            least = rules.memory.recomputed_bytes(activation, parameters, in_flight, cut)
        least *= 1 - 1e-12
        return any(
            n > 0 and group.memory_bytes is not None and least > group.memory_bytes
            for group, n in zip(self._instance.cluster.groups, stage.replicas, strict=True)
        )

    def _judge(self, stages: tuple[Stage, ...]) -> None:
        plan = make_plan(self._instance, stages)
        found = evaluate(self._instance, plan, self._problem.cost_model)
        if found.valid and (self.best_s is None or found.period_s < self.best_s):
            self.best_s = found.period_s
