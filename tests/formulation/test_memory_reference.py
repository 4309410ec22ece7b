"""Memory on measured profiles: every rule of counting, GPUs of 4 to 16 GB, with and without
recomputing. A plan fits, by the evaluator's word, or there is a reason why none does."""

from __future__ import annotations

import dataclasses
import itertools
from functools import cache
from pathlib import Path

import pytest

from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.reasons.infeasible import explain_infeasible
from stagewright.formulation.run import NoPlanExists, Planned, run_planner
from stagewright.model.cluster import Cluster, GpuGroup, uniform_links
from stagewright.model.costs import Topology
from stagewright.model.instance import build_instance
from stagewright.model.profile import read_profile
from stagewright.model.rules import MemoryModel, Optimizer, Recompute, Rules, Versions

pytestmark = pytest.mark.reference

GIGABYTES = (4, 8, 12, 16)
CASES = [
    (versions, optimizer)
    for versions in (Versions.STASH, Versions.TWO_BW, Versions.FLUSH)
    for optimizer in (Optimizer.SGD, Optimizer.ADAM)
]
LIMITS = Settings(time_limit_s=60, workers=2)


@cache
def profiles(reference: Path):
    names = {"TitanV": "tv", "TitanXP": "txp"}
    return {
        gpu: read_profile(reference / "profiles" / f"minkvgg_b128_{short}.txt")
        for gpu, short in names.items()
    }


def problem(reference: Path, gigabytes: float, memory: MemoryModel, recompute: Recompute):
    groups = tuple(GpuGroup(0, gpu, 2, gigabytes * 1e9) for gpu in ("TitanV", "TitanXP"))
    cluster = Cluster(("Server0",), groups, *uniform_links([1e10], 1e10))
    rules = Rules(use_memory=True, memory=memory, recompute=recompute)
    return Problem(build_instance(profiles(reference), cluster, rules), Topology())


def answer(asked: Problem) -> Planned | None:
    """A plan, or ``None`` after its absence was explained."""
    try:
        planned = run_planner("cpsat", asked, LIMITS)
    except NoPlanExists as error:
        reasons = explain_infeasible(error.problem, error.planner, LIMITS)
        assert "memory" in reasons.demands
        assert reasons.need is not None
        assert reasons.need.needed_bytes > reasons.need.memory_bytes
        return None
    assert not planned.evaluation.violations
    for figures in planned.evaluation.stages:
        assert figures.memory_bytes <= asked.instance.cluster.groups[0].memory_bytes
    return planned


@pytest.mark.parametrize(("versions", "optimizer"), CASES)
def test_every_rule_gives_a_plan_that_fits_or_a_reason(reference, versions, optimizer):
    memory = MemoryModel(versions, optimizer)
    found = 0
    for gigabytes in GIGABYTES:
        kept = answer(problem(reference, gigabytes, memory, Recompute.NEVER))
        chosen = answer(problem(reference, gigabytes, memory, Recompute.AUTO))
        if kept is not None:
            assert chosen is not None
            within = kept.evaluation.period_s * (1 + 1e-6)
            assert chosen.certificate.bound_s <= within
            assert chosen.evaluation.period_s <= within
        found += chosen is not None
    assert found


def test_recomputing_makes_plans_where_there_were_none(reference):
    """At most 15 % above what the leanest plan needs that recomputes is too little without."""
    memory = MemoryModel(Versions.STASH, Optimizer.SGD)
    for gigabytes in (1 * 1.15**step for step in range(20)):
        try:
            run_planner("cpsat", problem(reference, gigabytes, memory, Recompute.AUTO), LIMITS)
        except NoPlanExists:
            continue
        break
    assert answer(problem(reference, gigabytes, memory, Recompute.NEVER)) is None


def test_more_memory_never_makes_the_period_longer(reference):
    memory = MemoryModel(Versions.TWO_BW, Optimizer.MOMENTUM)
    periods = []
    for gigabytes in GIGABYTES:
        planned = answer(problem(reference, gigabytes, memory, Recompute.AUTO))
        if planned is not None:
            periods.append(planned.evaluation.period_s)
    assert periods
    assert all(b <= a * (1 + 1e-6) for a, b in itertools.pairwise(periods))
    unlimited = problem(reference, 16, memory, Recompute.AUTO)
    rules = dataclasses.replace(unlimited.instance.rules, use_memory=False)
    free = run_planner(
        "cpsat",
        dataclasses.replace(unlimited, instance=unlimited.instance.with_rules(rules)),
        LIMITS,
    )
    assert free.evaluation.period_s <= periods[-1] * (1 + 1e-6)
