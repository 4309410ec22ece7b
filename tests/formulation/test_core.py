"""The core of an infeasible instance: contradictory, and no demand too many."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable

import pytest

from builders import chain, instance_of, one_server
from demands import FAMILIES, best_of_all, problem_with
from stagewright.formulation.cpsat.core import infeasible_core
from stagewright.formulation.cpsat.demands import demand_names
from stagewright.formulation.problem import Problem, Settings
from stagewright.model.costs import Topology
from stagewright.model.placement import Placement
from stagewright.model.rules import Recompute, Rules

SETTINGS = Settings(time_limit_s=60, workers=1)

WITHOUT: dict[str, Callable[[Rules], Rules]] = {
    "memory": lambda r: dataclasses.replace(r, use_memory=False),
    "recompute": lambda r: dataclasses.replace(r, recompute=Recompute.AUTO),
    "use-all": lambda r: dataclasses.replace(r, use_all=False),
    "straight-pipeline": lambda r: dataclasses.replace(r, straight_pipeline=False),
    "max-stages": lambda r: dataclasses.replace(r, max_stages=None),
    "max-replicas": lambda r: dataclasses.replace(r, max_replicas=None),
    "max-gpus": lambda r: dataclasses.replace(r, max_gpus=None),
    "max-price": lambda r: dataclasses.replace(r, max_price_per_hour=None),
    "kept": lambda r: dataclasses.replace(r, placement=dataclasses.replace(r.placement, kept=None)),
}


def without(rules: Rules, name: str) -> Rules:
    """The rules less one demand, by its name."""
    kind, _, node = name.partition(":")
    if not node:
        return WITHOUT[name](rules)
    old = rules.placement
    if kind == "pin":
        placement = dataclasses.replace(old, stage=tuple(x for x in old.stage if x[0] != node))
    else:
        kept = tuple(x for x in old.forbidden if x[0] != node)
        placement = dataclasses.replace(old, forbidden=kept)
    return dataclasses.replace(rules, placement=placement)


def relaxed(problem: Problem, names: set[str]) -> Problem:
    """The problem without some demands."""
    rules = problem.instance.rules
    for name in names:
        rules = without(rules, name)
    return Problem(problem.instance.with_rules(rules), problem.cost_model)


@pytest.mark.parametrize("family", ["memory", "limits", "pins", "forbidden", "kept", "everything"])
def test_core_is_contradictory_and_smallest(family: str) -> None:
    infeasible = 0
    for seed in (*range(20), 30):
        problem = problem_with(family, seed)
        core = infeasible_core(problem, SETTINGS)
        if best_of_all(problem) is not None:
            assert core == (), seed
            continue
        infeasible += 1
        names = set(demand_names(problem.instance))
        assert core
        assert set(core) <= names
        alone = relaxed(problem, names - set(core))
        assert best_of_all(alone) is None, (seed, core)
        for name in core:
            assert best_of_all(relaxed(alone, {name})) is not None, (seed, core, name)
    assert infeasible
    assert family in FAMILIES


def test_names_say_which_layer() -> None:
    placement = Placement(stage=(("node1", 0), ("node2", 1)), forbidden=(("node3", (0,)),))
    problem = Problem(
        instance_of(chain([1, 2, 3]), one_server(3), Rules(placement=placement)), Topology()
    )
    assert demand_names(problem.instance) == (
        "recompute",
        "pin:node1",
        "pin:node2",
        "forbid:node3",
    )
    assert infeasible_core(problem, SETTINGS) == ("forbid:node3",)


def test_stopped_before_it_began() -> None:
    stop = threading.Event()
    stop.set()
    problem = Problem(
        instance_of(chain([1, 2]), one_server(2), Rules(max_gpus=1, use_all=True)), Topology()
    )
    found = infeasible_core(problem, Settings(stop=stop))
    assert set(found) <= {"max-gpus", "use-all"}
