"""The demands of a user by name: which there are, and the problem without one of them.

The names are those of the assumptions of ``cpsat``: ``memory``, ``use-all``, ``max-stages``, …,
``kept``, and ``pin:node5``, ``forbid:node3``, ``together:node7`` for demands on single layers
(a set of layers goes by its first). Whether stages recompute is no demand here: without a limit
on memory it excludes no plan.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from stagewright.formulation.problem import Problem
from stagewright.formulation.reasons.changes import with_rules
from stagewright.formulation.run import Planned
from stagewright.model.placement import Placement
from stagewright.model.rules import Rules

MEMORY = "memory"
KEPT = "kept"
TOGETHER = "together"

LIFTED: dict[str, dict[str, Any]] = {
    MEMORY: {"use_memory": False},
    "use-all": {"use_all": False},
    "straight-pipeline": {"straight_pipeline": False},
    "max-stages": {"max_stages": None},
    "max-replicas": {"max_replicas": None},
    "max-gpus": {"max_gpus": None},
    "max-price": {"max_price_per_hour": None},
}
"""Demands on the plan as a whole, and the rules without each."""


def demands_of(problem: Problem) -> tuple[str, ...]:
    """Names of all demands of a problem."""
    rules, placement = problem.instance.rules, problem.instance.rules.placement
    known = any(g.memory_bytes is not None for g in problem.instance.cluster.groups)
    in_force = {
        MEMORY: rules.use_memory and known,
        "use-all": rules.use_all,
        "straight-pipeline": rules.straight_pipeline,
        "max-stages": rules.max_stages is not None,
        "max-replicas": rules.max_replicas is not None,
        "max-gpus": rules.max_gpus is not None,
        "max-price": rules.max_price_per_hour is not None,
        KEPT: placement.kept is not None,
    }
    names = [name for name, holds in in_force.items() if holds]
    names += [f"pin:{node}" for node, _ in placement.stage]
    names += [f"forbid:{node}" for node, _ in placement.forbidden]
    names += [f"{TOGETHER}:{nodes[0]}" for nodes in placement.together if nodes]
    return tuple(dict.fromkeys(names))


def without(problem: Problem, demand: str) -> Problem:
    """Return the problem without one demand; the same problem if it has no such demand."""
    rules = problem.instance.rules
    if demand in LIFTED:
        return with_rules(problem, dataclasses.replace(rules, **LIFTED[demand]))
    placement = _without(rules.placement, demand)
    return with_rules(problem, dataclasses.replace(rules, placement=placement))


def _without(placement: Placement, demand: str) -> Placement:
    family, _, node = demand.partition(":")
    if demand == KEPT:
        return dataclasses.replace(placement, kept=None)
    if family == "pin":
        rest = tuple(x for x in placement.stage if x[0] != node)
        return dataclasses.replace(placement, stage=rest)
    if family == "forbid":
        left = tuple(x for x in placement.forbidden if x[0] != node)
        return dataclasses.replace(placement, forbidden=left)
    if family == TOGETHER:
        sets = tuple(x for x in placement.together if node not in x)
        return dataclasses.replace(placement, together=sets)
    return placement


LIMITS = ("max-stages", "max-replicas", "max-gpus", "max-price", KEPT)
"""Demands with a number that can be raised."""


def limit_of(problem: Problem, demand: str) -> float:
    """Return the number of one of :data:`LIMITS`."""
    rules = problem.instance.rules
    kept = rules.placement.kept
    limit = {
        "max-stages": rules.max_stages,
        "max-replicas": rules.max_replicas,
        "max-gpus": rules.max_gpus,
        "max-price": rules.max_price_per_hour,
        KEPT: None if kept is None else kept.most_moved,
    }[demand]
    return float("inf") if limit is None else limit


def with_limit(problem: Problem, demand: str, limit: float) -> Problem:
    """Return the problem with another number for one of :data:`LIMITS`."""
    rules = problem.instance.rules
    return with_rules(problem, _limited(rules, demand, limit))


def _limited(rules: Rules, demand: str, limit: float) -> Rules:
    if demand == "max-price":
        return dataclasses.replace(rules, max_price_per_hour=limit)
    if demand == KEPT and rules.placement.kept is not None:
        kept = dataclasses.replace(rules.placement.kept, most_moved=int(limit))
        return dataclasses.replace(rules, placement=dataclasses.replace(rules.placement, kept=kept))
    field = demand.replace("-", "_")
    changed: dict[str, Any] = {field: int(limit)}
    return dataclasses.replace(rules, **changed)


def used_of(problem: Problem, demand: str, planned: Planned) -> float:
    """Return the least number of one of :data:`LIMITS` that allows a plan."""
    stages = planned.plan.stages
    if demand == "max-stages":
        return len(stages)
    if demand == "max-replicas":
        return max(stage.replica_count for stage in stages)
    if demand == "max-gpus":
        return planned.plan.gpu_count
    if demand == "max-price":
        prices = problem.instance.cluster.prices_per_hour
        return sum(
            price * n for stage in stages for price, n in zip(prices, stage.replicas, strict=True)
        )
    kept, known = problem.instance.rules.placement.kept, problem.instance.index
    placed = [[node for node in stage.nodes if node in known] for stage in stages]
    return 0 if kept is None else kept.moved(placed)
