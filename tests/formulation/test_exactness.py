"""``cpsat`` and ``exact-dp`` find what brute force finds, whatever the options."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brute_force import best_period_s, every_plan
from random_instances import (
    COST_MODELS,
    instances_for,
    memory_rules,
    problems,
    small_clusters,
    small_graphs,
    small_instances,
    small_rules,
)
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.registry import PLANNER_NAMES
from stagewright.formulation.run import Planned, run_planner
from stagewright.model.errors import DoesNotApply, InfeasibleError, NoPlanFound
from stagewright.model.evaluate import Kind, evaluate
from stagewright.model.plan import Status
from stagewright.model.rules import Rules

SETTINGS = Settings(time_limit_s=60.0, workers=1)
MODEL_ALONE = Settings(
    time_limit_s=60.0, workers=1, without=frozenset({"flat-search", "rack-search"})
)
"""What ``cpsat`` finds without the searches that close most brackets before any solver."""
EXACT = ("exact-dp", "cpsat")
HEURISTICS = tuple(name for name in PLANNER_NAMES if name not in {*EXACT, "milp"})
UNKNOWN_RULES = {
    "linear-dp": set(),
    "pipedream-dp": {Kind.MEMORY},
    "sparsepipe-dp": {Kind.MEMORY},
    "data-parallel": {Kind.MEMORY, Kind.REPLICATED},
    "single-gpu": {Kind.MEMORY, Kind.IDLE},
    "equal-split": {Kind.MEMORY, Kind.IDLE},
}
"""What a heuristic's plan may violate: rules of which it knows nothing, or its own version."""


def same(found_s: float, expected_s: float) -> bool:
    return abs(found_s - expected_s) <= 1e-6 * expected_s + 1e-15


def answer(name: str, problem: Problem, limits: Settings = SETTINGS) -> Planned | None:
    """What the planner answers; ``None`` if it has proven that there is no plan."""
    try:
        return run_planner(name, problem, limits)
    except InfeasibleError:
        return None


def check_exact(problem: Problem) -> None:
    expected_s = best_period_s(problem)
    for name, limits in (*((x, SETTINGS) for x in EXACT), ("cpsat", MODEL_ALONE)):
        planned = answer(name, problem, limits)
        assert (planned is None) == (expected_s is None), name
        if planned is None or expected_s is None:
            continue
        certificate = planned.certificate
        assert not planned.evaluation.violations, name
        assert same(planned.evaluation.period_s, expected_s), name
        assert certificate.status == Status.OPTIMAL, name
        assert certificate.bound_s is not None
        assert certificate.bound_s <= planned.evaluation.period_s, name
        assert same(certificate.bound_s, expected_s), name


def check_heuristics(problem: Problem) -> None:
    best = answer("exact-dp", problem)
    for name in HEURISTICS:
        try:
            planned = run_planner(name, problem, SETTINGS)
        except (DoesNotApply, NoPlanFound):
            continue
        kinds = {violation.kind for violation in planned.evaluation.violations}
        assert kinds <= UNKNOWN_RULES[name] | _impossible(problem.instance.rules, name), name
        if not kinds:
            assert best is not None, name
            assert planned.evaluation.period_s >= best.evaluation.period_s * (1 - 1e-9), name


def _impossible(rules: Rules, name: str) -> set[Kind]:
    """A baseline is what it is, also under rules that forbid it."""
    return {Kind.STAGES} if name == "equal-split" and rules.max_stages is not None else set()


@pytest.mark.parametrize("cost_model", COST_MODELS)
class TestEveryCostModel:
    @settings(max_examples=30)
    @given(st.data())
    def test_no_rules(self, cost_model, data):
        check_exact(data.draw(problems(COST_MODELS[cost_model], instances_for(cost_model))))

    @settings(max_examples=25)
    @given(st.data())
    def test_any_rules(self, cost_model, data):
        instances = instances_for(cost_model, small_rules())
        check_exact(data.draw(problems(COST_MODELS[cost_model], instances)))

    @settings(max_examples=30)
    @given(st.data())
    def test_memory(self, cost_model, data):
        instances = instances_for(cost_model, memory_rules())
        check_exact(data.draw(problems(COST_MODELS[cost_model], instances)))

    @settings(max_examples=60)
    @given(st.data())
    def test_heuristics_are_valid_and_no_better(self, cost_model, data):
        instances = instances_for(cost_model, small_rules())
        check_heuristics(data.draw(problems(COST_MODELS[cost_model], instances)))


@settings(max_examples=40)
@given(problems(COST_MODELS["topology"], instances_for("topology", small_rules(), chain=True)))
def test_linear_dp_is_exact_on_chains(problem):
    best = answer("exact-dp", problem)
    try:
        planned = run_planner("linear-dp", problem, SETTINGS)
    except NoPlanFound:
        assert best is None
        return
    assert best is not None
    assert same(planned.evaluation.period_s, best.evaluation.period_s)


@settings(max_examples=15)
@given(
    problems(
        COST_MODELS["topology"],
        small_instances(small_graphs(max_nodes=4), small_clusters(max_servers=2), small_rules()),
    )
)
def test_brute_force_skips_nothing(problem):
    periods = [
        found.period_s
        for plan in every_plan(problem.instance)
        if (found := evaluate(problem.instance, plan, problem.cost_model)).valid
    ]
    assert best_period_s(problem) == min(periods, default=None)
