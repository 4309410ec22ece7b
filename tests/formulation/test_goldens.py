"""Against the answers of the published planners, and the optima that are known."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import pytest

from golden_clusters import REFERENCE, goldens, levels, spelled
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.registry import PLANNER_NAMES, get_planner
from stagewright.formulation.run import run_planner
from stagewright.model.costs import PipeDream, SparsePipe, Topology
from stagewright.model.errors import DoesNotApply
from stagewright.model.plan import Status
from stagewright.model.rules import Rules

pytestmark = pytest.mark.reference

PIPEDREAM = goldens("pipedream_dp.jsonl")
SPARSEPIPE = goldens("sparsepipe_dp.jsonl")


def test_the_goldens_are_all_there(reference: Path) -> None:
    """So that an empty parametrisation below cannot pass for parity."""
    assert reference == REFERENCE
    assert (len(PIPEDREAM), len(SPARSEPIPE)) == (254, 45)


@pytest.mark.parametrize(
    "golden",
    PIPEDREAM,
    ids=lambda g: f"{g['profile']}-n{g['n']}-b{g['b']}-r{g['ratio']}{''.join(g['extra'])}",
)
def test_pipedream_parity(golden: dict[str, Any]) -> None:
    extra = golden["extra"]
    rules = Rules(
        use_memory="--use_memory_constraint" in extra,
        straight_pipeline="--straight_pipeline" in extra,
    )
    instance = levels(golden["profile"], golden["n"], golden["b"], rules)
    memory = float(extra[extra.index("-s") + 1]) if "-s" in extra else 16e9
    groups = tuple(dataclasses.replace(g, memory_bytes=memory) for g in instance.cluster.groups)
    cluster = dataclasses.replace(instance.cluster, groups=groups)
    problem = Problem(dataclasses.replace(instance, cluster=cluster), Topology(golden["ratio"]))
    settings = Settings(fewer_machines="--use_fewer_machines" in extra)
    plan = get_planner("pipedream-dp").solve(problem, settings).plan
    assert plan is not None
    assert plan.claimed_period_s == pytest.approx(golden["pipeline_time"], rel=1e-9)


@pytest.mark.parametrize("golden", SPARSEPIPE, ids=lambda g: f"{g['cluster']}-{g['b']}")
def test_sparsepipe_parity(golden: dict[str, Any]) -> None:
    problem = Problem(spelled(golden["cluster"], golden["b"]), Topology())
    planned = run_planner("sparsepipe-dp", problem, Settings())
    assert planned.plan.claimed_period_s == pytest.approx(golden["pipeline_time"], rel=1e-9)
    assert planned.evaluation.valid


@pytest.mark.parametrize("name", ["inception_v3", "nasnetamobile", "nasnetalarge"])
@pytest.mark.parametrize("planner", ["pipedream-dp", "sparsepipe-dp"])
def test_exploding_antichains_are_refused_soon(reference: Path, planner: str, name: str) -> None:
    problem = Problem(levels(name, [4], [1e9], Rules()), Topology())
    began = time.monotonic()
    with pytest.raises(DoesNotApply, match=r"antichain states.*cpsat or linear-dp"):
        run_planner(planner, problem, Settings())
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("bandwidth", "period_s"), [(1e8, 0.240068), (1e9, 0.159478), (1e10, 0.152752)]
)
def test_known_optima_of_seven_gpus(reference: Path, bandwidth: float, period_s: float) -> None:
    problem = Problem(spelled("b64_4V3X", [bandwidth]), SparsePipe())
    for planner in ("cpsat", "exact-dp"):
        planned = run_planner(planner, problem, Settings(time_limit_s=60))
        assert planned.certificate.status == Status.OPTIMAL
        assert planned.evaluation.period_s == pytest.approx(period_s, abs=5e-7)


@pytest.mark.parametrize("cost_model", [Topology(), SparsePipe()])
@pytest.mark.parametrize("planner", ["cpsat", "exact-dp"])
def test_slow_links_leave_three_gpus_idle(
    reference: Path, planner: str, cost_model: Topology | SparsePipe
) -> None:
    planned = run_planner(planner, Problem(spelled("example", [1e8]), cost_model), Settings())
    assert planned.evaluation.period_s <= 0.005371 + 1e-12
    assert [stage.replicas for stage in planned.plan.stages] == [(1, 0)]
    assert planned.certificate.status == Status.OPTIMAL


def agree(problem: Problem) -> float:
    found = [run_planner(x, problem, Settings(time_limit_s=60)) for x in ("cpsat", "exact-dp")]
    assert [x.certificate.status for x in found] == [Status.OPTIMAL] * 2
    assert found[0].evaluation.period_s == pytest.approx(found[1].evaluation.period_s, rel=1e-6)
    return found[0].evaluation.period_s


@pytest.mark.parametrize(
    "golden",
    [g for g in SPARSEPIPE if "+" not in g["cluster"]],
    ids=lambda g: f"{g['cluster']}-{g['b']}",
)
def test_exact_planners_agree_on_one_server(golden: dict[str, Any]) -> None:
    agree(Problem(spelled(golden["cluster"], golden["b"]), SparsePipe()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "golden",
    [g for g in SPARSEPIPE if "+" in g["cluster"]],
    ids=lambda g: f"{g['cluster']}-{g['b']}",
)
def test_several_servers(golden: dict[str, Any]) -> None:
    problem = Problem(spelled(golden["cluster"], golden["b"]), Topology())
    best = agree(problem)
    for planner in PLANNER_NAMES:
        # milp would take its whole time limit; its plan is judged here, not its proof.
        limits = Settings(time_limit_s=5 if planner == "milp" else 60)
        try:
            other = run_planner(planner, problem, limits)
        except DoesNotApply:
            continue
        assert other.evaluation.period_s >= best * (1 - 1e-9), planner


@pytest.mark.slow
@pytest.mark.parametrize("bandwidth", [1e8, 1e9, 1e10])
@pytest.mark.parametrize("gpus", [4, 8])
@pytest.mark.parametrize("name", ["alexnet", "vgg16", "minkvgg_b64_RTX", "minkvgg_b128_tv"])
def test_exact_planners_agree_on_chains(
    reference: Path, name: str, gpus: int, bandwidth: float
) -> None:
    agree(Problem(levels(name, [gpus], [bandwidth], Rules()), PipeDream()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "gpus", "bandwidth", "period_s"),
    [("resnet50", 16, 1e10, 0.028165), ("inception_v3", 8, 1e9, 0.0934979)],
)
def test_branching_graphs_are_proven(
    reference: Path, name: str, gpus: int, bandwidth: float, period_s: float
) -> None:
    problem = Problem(levels(name, [gpus], [bandwidth], Rules()), PipeDream())
    planned = run_planner("cpsat", problem, Settings(time_limit_s=200))
    assert planned.evaluation.period_s <= period_s * (1 + 1e-9)
    assert planned.certificate.status == Status.OPTIMAL
