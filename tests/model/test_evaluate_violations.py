"""Everything that can be wrong with a plan is found, alone and together."""

from __future__ import annotations

import dataclasses
import math

import pytest
from branching_plan import PLAN, branching_instance
from pytest import approx  # noqa: PT013 - it is written in every line here

from builders import chain, instance_of, one_server, plan_of
from stagewright.model.costs import Topology
from stagewright.model.evaluate import Kind, evaluate, over_memory
from stagewright.model.instance import Instance
from stagewright.model.placement import Kept, Placement
from stagewright.model.plan import Plan
from stagewright.model.rules import Recompute, Rules


def violations(plan: Plan, rules: Rules | None = None) -> list[tuple[str, int | None, str]]:
    found = evaluate(branching_instance(rules), plan, Topology())
    assert found.valid == (not found.violations)
    return [(v.kind.value, v.stage, v.message) for v in found.violations]


def test_the_plan_worked_out_above_is_valid():
    assert violations(PLAN) == []


def test_a_plan_need_not_name_the_inputs_nor_use_every_gpu():
    assert violations(plan_of(("a b c d e", [1, 0]))) == []


VIOLATIONS = {
    "missing": (
        plan_of(("a b c d", [1, 0])),
        ("missing", None, "'e' is in no stage"),
    ),
    "repeated": (
        plan_of(("a b", [1, 0]), ("b c d e", [0, 1])),
        ("repeated", None, "'b' is in 2 stages"),
    ),
    "unknown": (
        plan_of(("a b c d e ghost", [1, 0])),
        ("unknown", 0, "stage 0 names 'ghost', which is not a layer"),
    ),
    "dropped": (
        plan_of(("a b c", [1, 0]), ("d e u", [1, 0])),
        ("unknown", 1, "stage 1 names 'u', which is not a layer"),
    ),
    "empty": (
        plan_of(("a b c", [1, 0]), ("", [1, 0]), ("d e", [0, 1])),
        ("empty", 1, "stage 1 holds no layers"),
    ),
    "late input": (
        plan_of(("a b c", [1, 0]), ("x d e", [1, 0])),
        ("input", 1, "input 'x' is in stage 1, not in stage 0"),
    ),
    "not convex": (
        plan_of(("a b d", [1, 0]), ("c e", [1, 0])),
        (
            "not-convex",
            1,
            "'d' in stage 0 needs 'c', which is in the later stage 1: the stages "
            "are not convex sets in pipeline order",
        ),
    ),
    "no GPU": (
        plan_of(("a b c", [1, 0]), ("d e", [0, 0])),
        ("replicas", 1, "stage 1 has no GPU"),
    ),
    "too many GPUs": (
        plan_of(("a b c", [2, 0]), ("d e", [1, 0])),
        ("replicas", None, "3 × TitanV in Server0 in use, of 2"),
    ),
}


@pytest.mark.parametrize(("plan", "violation"), VIOLATIONS.values(), ids=VIOLATIONS)
def test_a_plan_with_one_thing_wrong_has_that_one_violation(plan, violation):
    assert violations(plan) == [violation]


RULES = {
    "straight pipeline": (
        Rules(straight_pipeline=True),
        [("replicated", 1, "stage 1 has 2 replicas in a straight pipeline")],
    ),
    "at most two stages": (
        Rules(max_stages=2),
        [("stages", None, "3 stages, though at most 2 are allowed")],
    ),
    "at most three stages": (Rules(max_stages=3), []),
    "at most one replica": (
        Rules(max_replicas=1),
        [("replicated", 1, "stage 1 has 2 replicas, though at most 1 are allowed")],
    ),
    "at most three GPUs": (
        Rules(max_gpus=3),
        [("gpus", None, "4 GPUs, though at most 3 are allowed")],
    ),
    "always recompute": (
        Rules(recompute=Recompute.ALWAYS),
        [
            ("recompute", k, f"stage {k} does not recompute, though the rule is 'always'")
            for k in range(3)
        ],
    ),
    "pinned": (
        Rules(placement=Placement(stage=(("d", 0),))),
        [("pinned", 2, "'d' is in stage 2, though pinned to stage 0")],
    ),
    "forbidden": (
        Rules(placement=Placement(forbidden=(("a", (0, 1)),))),
        [("forbidden", 0, "'a' is on TitanV in Server0, where it is forbidden")],
    ),
    "together": (
        Rules(placement=Placement(together=(("a", "e"),))),
        [("apart", None, "a, e belong together but lie in 2 stages")],
    ),
    "kept": (
        Rules(placement=Placement(kept=Kept((("a", "b", "c", "d", "e"),), 0))),
        [("moved", None, "3 layers move, though at most 0 may")],
    ),
}


@pytest.mark.parametrize(("rules", "expected"), RULES.values(), ids=RULES)
def test_a_plan_is_held_to_the_rules(rules, expected):
    assert violations(PLAN, rules) == expected


def test_a_plan_above_the_price_is_a_violation():
    cluster = one_server(2)
    groups = tuple(dataclasses.replace(g, price_per_hour=1.5) for g in cluster.groups)
    priced = dataclasses.replace(cluster, groups=groups)
    plan = plan_of(("node1", [2]))
    for limit, expected in ((3.0, []), (2.9, ["3 per hour, though at most 2.9 is allowed"])):
        instance = instance_of(chain([1]), priced, Rules(max_price_per_hour=limit))
        found = evaluate(instance, plan, Topology()).violations
        assert [v.message for v in found] == expected
        assert all(v.kind == Kind.PRICE for v in found)


def test_an_idle_gpu_is_a_violation_where_all_are_to_be_used():
    plan = plan_of(("a b c d e", [1, 2]))
    assert violations(plan, Rules(use_all=True)) == [
        ("idle", None, "1 × TitanV in Server0 idle, though every GPU is to be used")
    ]
    assert violations(PLAN, Rules(use_all=True)) == []


@pytest.mark.parametrize("replicas", [[-1, 0], [3, -1]])
def test_a_negative_count_is_a_violation_even_where_the_sum_fits(replicas):
    plan = plan_of(("a b c", replicas), ("d e", [1, 1]))
    kinds = {(kind, stage) for kind, stage, _ in violations(plan)}
    assert ("replicas", 0) in kinds


def test_counts_for_too_few_or_too_many_groups_are_a_violation():
    for replicas in ([1], [1, 0, 0]):
        assert violations(plan_of(("a b c d e", replicas)))


def test_a_plan_of_no_stages_misses_every_node():
    found = violations(Plan((), "by-hand"))
    assert [message for _, _, message in found] == [f"'{x}' is in no stage" for x in "abcde"]


def test_a_node_twice_in_one_stage_is_repeated():
    assert [kind for kind, _, _ in violations(plan_of(("a b b c d e", [1, 0])))] == ["repeated"]


def test_every_violation_of_a_plan_is_listed():
    plan = plan_of(("x a d ghost", [2, 0]), ("b b", [1, 0]), ("", [0, 0]))
    rules = Rules(straight_pipeline=True, max_stages=2, use_all=True)
    assert {kind for kind, _, _ in violations(plan, rules)} == {
        "missing",
        "repeated",
        "unknown",
        "empty",
        "not-convex",
        "replicas",
        "replicated",
        "stages",
        "idle",
    }


def test_every_kind_of_violation_is_tested_in_this_file():
    tested = {violation[0] for _, violation in VIOLATIONS.values()}
    tested |= {kind for _, expected in RULES.values() for kind, _, _ in expected}
    assert tested | {"idle", "memory", "price"} == {kind.value for kind in Kind}


def test_a_wrong_plan_still_gets_figures():
    found = evaluate(branching_instance(), plan_of(("a b", [1, 0]), ("c d", [0, 0])), Topology())
    assert found.stages[0].compute_s == approx(0.007)
    assert found.stages[1].compute_s == math.inf
    assert found.period_s == math.inf


# --- memory ---------------------------------------------------------------------------------

# One node, one GPU, one minibatch in flight, stash and SGD: 1 * 4e9 + (1 + 1) * 3e9 = 10e9 bytes.


def needs_10_gb(memory_bytes: float | None, *, use_memory: bool = True) -> Instance:
    cluster = one_server(2, memory_bytes=memory_bytes)
    return instance_of(chain([1], 4e9, 3e9), cluster, Rules(use_memory=use_memory))


def test_a_stage_over_memory_says_which_bytes():
    (violation,) = evaluate(needs_10_gb(9.9e9), plan_of(("node1", [1])), Topology()).violations
    assert (violation.kind, violation.stage) == (Kind.MEMORY, 0)
    assert violation.message == (
        "stage 0 needs 10.0 GB on TitanV (9.9 GB): 2 × 3.00 GB of parameters, "
        "1 × 4.00 GB of activations"
    )


def test_a_stage_may_fill_the_memory_exactly():
    assert evaluate(needs_10_gb(10e9), plan_of(("node1", [1])), Topology()).valid


def test_memory_is_not_checked_unless_the_rules_say_so():
    instance = needs_10_gb(1.0, use_memory=False)
    assert evaluate(instance, plan_of(("node1", [1])), Topology()).valid


def test_memory_that_is_not_known_is_not_exceeded():
    assert evaluate(needs_10_gb(None), plan_of(("node1", [1])), Topology()).valid


def test_replicas_do_not_share_memory():
    found = evaluate(needs_10_gb(9.9e9), plan_of(("node1", [2])), Topology())
    assert [v.kind for v in found.violations] == [Kind.MEMORY]


def test_only_the_groups_in_use_are_checked():
    instance = needs_10_gb(10e9)
    plan = plan_of(("node1", [1]))
    (figures,) = evaluate(instance, plan, Topology()).stages
    assert over_memory(instance, plan.stages[0], figures, 0) == []
    small = needs_10_gb(1e9)
    assert len(over_memory(small, plan.stages[0], figures, 0)) == 1
    assert over_memory(small, plan_of(("node1", [0])).stages[0], figures, 0) == []
