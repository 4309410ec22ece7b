"""Every rule three ways: not binding, impossible, and binding; then all of them at random.

What is impossible becomes possible, and binding, once the other demand is dropped. Brute force
says what the best period is; it knows the rules from the evaluator alone.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache

import pytest
from hypothesis import given, settings

from brute_force import best_period_s, every_plan
from builders import graph_of, instance_of, layer, one_server
from random_instances import (
    COST_MODELS,
    constrained_instances,
    problems,
    with_memory,
    with_prices,
)
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.run import Planned, run_planner
from stagewright.model.costs import Topology
from stagewright.model.errors import DoesNotApply, InfeasibleError
from stagewright.model.evaluate import evaluate
from stagewright.model.instance import Instance
from stagewright.model.placement import Kept, Placement
from stagewright.model.plan import Status
from stagewright.model.rules import MemoryModel, Recompute, Rules, Versions

PLANNERS = {"exact-dp": 60, "cpsat": 20, "milp": 4}
"""The planners that prove their plans the best under every rule, and random examples for each."""

SETTINGS = Settings(time_limit_s=60.0, workers=1)


def same(found_s: float, expected_s: float) -> bool:
    return abs(found_s - expected_s) <= 1e-6 * expected_s + 1e-15


def answer(name: str, problem: Problem) -> Planned | None:
    """What the planner answers; ``None`` if it has proven that there is no plan."""
    try:
        return run_planner(name, problem, SETTINGS)
    except InfeasibleError:
        return None


def check(name: str, problem: Problem, expected_s: float | None) -> None:
    planned = answer(name, problem)
    assert (planned is None) == (expected_s is None)
    if planned is None or expected_s is None:
        return
    assert not planned.evaluation.violations
    assert same(planned.evaluation.period_s, expected_s)
    assert planned.certificate.status == Status.OPTIMAL
    assert planned.certificate.bound_s is not None
    assert same(planned.certificate.bound_s, expected_s)


# --- one network, and one thing at a time ----------------------------------------------------


def network(
    parameter_bytes: float = 1e6, *, slower: float = 1.5, forward_ms: float = 10.0
) -> Instance:
    """A branch and a join on three GPUs of two types that have their price."""
    graph = graph_of(
        [
            layer("a", forward_ms, 20.0, 2e6, parameter_bytes),
            layer("b", 2 * forward_ms, 40.0, 1e6, parameter_bytes),
            layer("c", forward_ms / 2, 10.0, 1e6, parameter_bytes),
            layer("d", 3 * forward_ms, 30.0, 3e6, parameter_bytes),
            layer("e", forward_ms, 15.0, 1e6, parameter_bytes),
        ],
        "a->b a->c b->d c->d d->e",
    )
    cluster = with_prices(one_server({"TitanV": 2, "TitanXP": 1}, 1e9), [2.0, 0.5])
    return instance_of(graph, cluster, slower={"TitanXP": slower})


def with_bytes(instance: Instance, memory_bytes: float) -> Instance:
    """So much memory on every GPU, counted for a synchronous pipeline."""
    sizes = [memory_bytes] * len(instance.cluster.groups)
    rules = Rules(use_memory=True, memory=MemoryModel(Versions.FLUSH))
    return dataclasses.replace(instance, cluster=with_memory(instance.cluster, sizes), rules=rules)


def hungry() -> Instance:
    """Four layers with large activations; the first stage of two holds each layer's twice."""
    layers = [layer(f"n{i}", 10.0, 20.0, size) for i, size in enumerate([8e6, 8e6, 8e6, 1e6])]
    return instance_of(graph_of(layers, "n0->n1 n1->n2 n2->n3"), one_server(2, 1e9))


def under(instance: Instance, placement: Placement | None = None, **changes: object) -> Instance:
    """The instance under rules that are changed so."""
    placed = placement or Placement()
    return instance.with_rules(
        dataclasses.replace(instance.rules, placement=placed, **changes)  # type: ignore[arg-type]
    )


Pair = tuple[Instance, Instance]


@dataclass(frozen=True)
class Family:
    """Instances for one rule: without and with it where there are two.

    ``loose`` changes nothing, ``binding`` costs something, ``impossible`` asks too much.
    """

    loose: Pair
    impossible: Instance
    binding: Pair


PLAIN = network()
HEAVY = network(parameter_bytes=1e9)
LOPSIDED = network(slower=30.0)
ROOMY, TIGHT = with_bytes(hungry(), 1e9), with_bytes(hungry(), 16.5e6)
SECOND = (("e", 1),)
BEST, IN_USE = (("a", "c"), ("b", "d", "e")), (("a", "b", "c", "d"), ("e",))

FAMILIES = {
    "memory": Family(
        loose=(PLAIN, with_bytes(PLAIN, 1e9)),
        impossible=with_bytes(PLAIN, 7e6),
        binding=(PLAIN, with_bytes(PLAIN, 8e6)),
    ),
    "use-all": Family(
        loose=(PLAIN, under(PLAIN, use_all=True)),
        impossible=under(LOPSIDED, use_all=True, max_gpus=2),
        binding=(LOPSIDED, under(LOPSIDED, use_all=True)),
    ),
    "straight-pipeline": Family(
        loose=(HEAVY, under(HEAVY, straight_pipeline=True)),
        impossible=under(PLAIN, straight_pipeline=True, use_all=True, max_stages=2),
        binding=(PLAIN, under(PLAIN, straight_pipeline=True)),
    ),
    "max-stages": Family(
        loose=(PLAIN, under(PLAIN, max_stages=2)),
        impossible=under(PLAIN, Placement(stage=SECOND), max_stages=1),
        binding=(PLAIN, under(PLAIN, max_stages=1)),
    ),
    "max-replicas": Family(
        loose=(PLAIN, under(PLAIN, max_replicas=2)),
        impossible=under(PLAIN, max_replicas=1, use_all=True, max_stages=2),
        binding=(PLAIN, under(PLAIN, max_replicas=1)),
    ),
    "max-gpus": Family(
        loose=(PLAIN, under(PLAIN, max_gpus=3)),
        impossible=under(PLAIN, Placement(stage=SECOND), max_gpus=1),
        binding=(PLAIN, under(PLAIN, max_gpus=1)),
    ),
    "max-price": Family(
        loose=(PLAIN, under(PLAIN, max_price_per_hour=4.5)),
        impossible=under(PLAIN, Placement(forbidden=(("c", (1,)),)), max_price_per_hour=0.5),
        binding=(PLAIN, under(PLAIN, max_price_per_hour=0.5)),
    ),
    "recompute-auto": Family(
        loose=(ROOMY, under(ROOMY, recompute=Recompute.AUTO)),
        impossible=TIGHT,
        binding=(ROOMY, under(TIGHT, recompute=Recompute.AUTO)),
    ),
    "recompute-always": Family(
        loose=(network(forward_ms=0.0), under(network(forward_ms=0.0), recompute=Recompute.ALWAYS)),
        impossible=under(with_bytes(PLAIN, 9e6), recompute=Recompute.ALWAYS),
        binding=(PLAIN, under(PLAIN, recompute=Recompute.ALWAYS)),
    ),
    "forbidden": Family(
        loose=(PLAIN, under(PLAIN, Placement(forbidden=(("d", (1,)), ("e", (1,)))))),
        impossible=under(PLAIN, Placement(forbidden=(("d", (0,)), ("d", (1,))))),
        binding=(PLAIN, under(PLAIN, Placement(forbidden=(("d", (0,)),)))),
    ),
    "pinned": Family(
        loose=(PLAIN, under(PLAIN, Placement(stage=(("a", 0), ("d", 1))))),
        impossible=under(PLAIN, Placement(stage=(("b", 0), ("e", 0), ("c", 1)))),
        binding=(PLAIN, under(PLAIN, Placement(stage=(("b", 0), ("e", 0))))),
    ),
    "pinned-last": Family(
        loose=(HEAVY, under(HEAVY, Placement(stage=(("e", 2),)))),
        impossible=under(PLAIN, Placement(stage=(("e", 3),))),
        binding=(PLAIN, under(PLAIN, Placement(stage=(("e", 2),)))),
    ),
    "together": Family(
        loose=(PLAIN, under(PLAIN, Placement(together=(("a", "c"), ("e", "b"))))),
        impossible=under(PLAIN, Placement(together=(("a", "d"), ("d", "e")), stage=SECOND)),
        binding=(PLAIN, under(PLAIN, Placement(together=(("a", "d"), ("d", "e"))))),
    ),
    "kept": Family(
        loose=(PLAIN, under(PLAIN, Placement(kept=Kept(BEST, 0)))),
        impossible=under(PLAIN, Placement(kept=Kept(IN_USE, 0)), max_gpus=1),
        binding=(PLAIN, under(PLAIN, Placement(kept=Kept(IN_USE, 0)))),
    ),
}


@cache
def best_s(family: str, case: str) -> float | None:
    """The best period under a rule by brute force."""
    return best_period_s(problem_of(family, case))


def problem_of(family: str, case: str) -> Problem:
    """The problem under the rule."""
    found: Instance | Pair = getattr(FAMILIES[family], case)
    return Problem(found[1] if isinstance(found, tuple) else found, Topology())


@pytest.mark.parametrize("family", FAMILIES)
class TestFamilies:
    def test_the_cases_are_what_they_are_called(self, family):
        loose, binding = FAMILIES[family].loose, FAMILIES[family].binding
        assert loose[0].rules != loose[1].rules
        loose_s, free_s = (best_period_s(Problem(x[0], Topology())) for x in (loose, binding))
        assert same(best_s(family, "loose"), loose_s)
        assert best_s(family, "impossible") is None
        assert best_s(family, "binding") > free_s * (1 + 1e-3)

    @pytest.mark.parametrize("case", ["loose", "impossible", "binding"])
    @pytest.mark.parametrize("name", PLANNERS)
    def test_the_planner_agrees(self, name, family, case):
        check(name, problem_of(family, case), best_s(family, case))


# --- everything at once ----------------------------------------------------------------------


@pytest.mark.parametrize("cost_model", COST_MODELS)
@pytest.mark.parametrize("name", PLANNERS)
def test_any_mixture_of_rules(name, cost_model):
    answered = 0

    @settings(max_examples=PLANNERS[name])
    @given(problem=problems(COST_MODELS[cost_model], constrained_instances(cost_model)))
    def agrees(problem):
        nonlocal answered
        try:
            check(name, problem, best_period_s(problem))
        except DoesNotApply:  # proportional dispatch is no MILP, and milp knows no max-load
            return
        answered += 1

    agrees()
    applies = (name, cost_model) != ("milp", "max-load")
    assert answered >= PLANNERS[name] // 4 * applies


@settings(max_examples=30)
@given(problem=problems(COST_MODELS["topology"], constrained_instances("topology", max_nodes=3)))
def test_brute_force_skips_nothing(problem):
    periods = [
        found.period_s
        for plan in every_plan(problem.instance)
        if (found := evaluate(problem.instance, plan, problem.cost_model)).valid
    ]
    assert best_period_s(problem) == min(periods, default=None)
