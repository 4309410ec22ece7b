"""Why a plan is as fast as it is, why there is none, and what would help: worked out by hand."""

from __future__ import annotations

import dataclasses
import threading

import pytest

from builders import chain, cluster_of, instance_of, one_server, plan_of
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.reasons.changes import ChangeKind, one_more_gpu
from stagewright.formulation.reasons.demands import demands_of, limit_of, with_limit, without
from stagewright.formulation.reasons.explanation import explain_plan
from stagewright.formulation.reasons.infeasible import explain_infeasible
from stagewright.formulation.reasons.limits import Cause, find_limits
from stagewright.formulation.reasons.what_if import what_if
from stagewright.formulation.reasons.words import (
    change_words,
    cut_sentence,
    demand_words,
    infeasible_sentences,
    memory_sentence,
    need_sentence,
    stage_sentence,
)
from stagewright.formulation.run import NoPlanExists, run_planner
from stagewright.model.costs import Topology
from stagewright.model.evaluate import evaluate
from stagewright.model.placement import Kept, Placement
from stagewright.model.plan import Status
from stagewright.model.rules import MemoryModel, Optimizer, Rules, Versions

SETTINGS = Settings(time_limit_s=20.0, workers=1)


def problem_of(graph, cluster, rules=None, *, slower=None, **costs) -> Problem:
    return Problem(instance_of(graph, cluster, rules, slower), Topology(**costs))


def limits_of(problem: Problem, plan):
    return find_limits(problem, plan, evaluate(problem.instance, plan, problem.cost_model))


# --- what sets the period ------------------------------------------------------------------------


def test_a_layer_too_heavy_to_split():
    problem = problem_of(chain([1, 10, 1]), one_server(3))
    plan = plan_of(("node1", [1]), ("node2", [1]), ("node3", [1]))
    (limit,) = limits_of(problem, plan).stages
    assert (limit.stage, limit.cause) == (1, Cause.LAYER)
    assert stage_sentence(problem, plan, limit) == (
        "Stage 1 (node2; TitanV×1) takes the whole period: 10.00 ms of computing. node2 (Linear) "
        "alone takes all of the computing, and a layer cannot be split: only more or faster "
        "replicas help."
    )


def test_a_heavy_layer_in_a_stage_that_has_every_replica():
    problem = problem_of(chain([1, 4]), one_server(2))
    plan = plan_of(("node1 node2", [2]))
    (limit,) = limits_of(problem, plan).stages
    assert (limit.cause, limit.heaviest, limit.heaviest_share) == (Cause.LAYER, "node2", 0.8)
    assert "node2 (Linear) alone takes 80 % of the computing" in stage_sentence(
        problem, plan, limit
    )


def test_a_heavy_layer_in_a_stage_that_could_have_more_replicas_is_plain_computing():
    problem = problem_of(chain([1, 4]), one_server(2))
    plan = plan_of(("node1 node2", [1]))
    (limit,) = limits_of(problem, plan).stages
    assert limit.cause == Cause.COMPUTE
    assert stage_sentence(problem, plan, limit) == (
        "Stage 0 (2 layers, node1 … node2; TitanV×1) takes the whole period: 5.000 ms of computing."
    )


def test_a_cut():
    """2 × 5 MB over 1 GB/s are 10 ms; the stages compute for 1 ms."""
    problem = problem_of(chain([1, 1], [5e6, 0]), one_server(2))
    limits = limits_of(problem, plan_of(("node1", [1]), ("node2", [1])))
    assert limits.stages == ()
    (cut,) = limits.cuts
    assert cut_sentence(problem, cut) == (
        "The transfer from stage 0 to stage 1 takes the whole period: 10.00 ms for 5 MB of "
        "activations of node1 (Linear) and as much back, inside Server0."
    )


def test_a_cut_between_servers_names_them_and_the_largest_layer():
    graph = chain([1, 1, 1], [1e6, 4e6, 0])
    skip = dataclasses.replace(graph, edges=(*graph.edges, ("node1", "node3")))
    problem = problem_of(skip, cluster_of([{"V": 1}, {"V": 1}]))
    limits = limits_of(problem, plan_of(("node1 node2", [1, 0]), ("node3", [0, 1])))
    (cut,) = limits.cuts
    assert cut.layers == ("node2", "node1")
    assert cut_sentence(problem, cut) == (
        "The transfer from stage 0 to stage 1 takes the whole period: 10.00 ms for 5 MB of "
        "activations of 2 layers, most of it of node2 (Linear), and as much back, between Server0 "
        "and Server1."
    )


def test_a_cut_that_nothing_crosses_has_latency_only():
    graph = dataclasses.replace(chain([1, 1]), edges=())
    problem = problem_of(graph, cluster_of([{"V": 1}, {"V": 1}], latency_s=0.5))
    limits = limits_of(problem, plan_of(("node1", [1, 0]), ("node2", [0, 1])))
    (cut,) = limits.cuts
    assert "500.0 ms for 0 bytes of activations of no layer" in cut_sentence(problem, cut)


def test_an_all_reduce():
    """2 (m-1) P / (m² β) = 2 × 10 MB / (4 × 1 GB/s) = 5 ms, beside 1 ms / 2 of computing."""
    problem = problem_of(chain([0.5, 0.5], 0, [10e6, 0]), one_server(2))
    plan = plan_of(("node1 node2", [2]))
    (limit,) = limits_of(problem, plan).stages
    assert limit.cause == Cause.ALL_REDUCE
    assert stage_sentence(problem, plan, limit) == (
        "Stage 0 (2 layers, node1 … node2; TitanV×2) takes the whole period: 0.5000 ms of "
        "computing and 5.000 ms of all-reduce. Most of it is the all-reduce of 10 MB of "
        "parameters between 2 replicas."
    )


@pytest.fixture
def mixed():
    cluster = one_server({"TitanV": 2, "TitanXP": 1})
    return chain([2, 2]), cluster, plan_of(("node1 node2", [1, 1]))


def test_the_slower_type_sets_the_pace_of_a_mixed_stage(mixed):
    graph, cluster, plan = mixed
    problem = problem_of(graph, cluster, slower={"TitanXP": 2.0})
    (limit,) = limits_of(problem, plan).stages
    assert (limit.cause, limit.pace) == (Cause.COMPUTE, "TitanXP")
    assert stage_sentence(problem, plan, limit) == (
        "Stage 0 (2 layers, node1 … node2; TitanV×1 + TitanXP×1) takes the whole period: 4.000 ms "
        "of computing. TitanXP sets the pace: it needs 8.000 ms for one minibatch, TitanV "
        "4.000 ms."
    )


def test_nobody_sets_the_pace_where_replicas_run_at_their_own(mixed):
    graph, cluster, plan = mixed
    problem = problem_of(graph, cluster, slower={"TitanXP": 2.0}, dispatch="proportional")
    (limit,) = limits_of(problem, plan).stages
    assert limit.pace is None


def test_waiting_where_nothing_overlaps():
    problem = problem_of(chain([1, 1], [5e6, 0]), one_server(2), overlap=False)
    plan = plan_of(("node1", [1]), ("node2", [1]))
    limits = limits_of(problem, plan)
    (limit,) = limits.stages
    assert (limit.stage, limit.cause, limits.cuts) == (1, Cause.WAITING, ())
    assert stage_sentence(problem, plan, limit) == (
        "Stage 1 (node2; TitanV×1) takes the whole period: 1.000 ms of computing and 10.00 ms of "
        "waiting for its input. Most of it is waiting, as nothing overlaps (--no-overlap)."
    )


def test_everything_that_attains_the_period_is_named():
    problem = problem_of(chain([10, 10], [5e6, 0]), one_server(2))
    limits = limits_of(problem, plan_of(("node1", [1]), ("node2", [1])))
    assert [x.stage for x in limits.stages] == [0, 1]
    assert [x.stage for x in limits.cuts] == [0]


def test_nothing_limits_a_period_of_zero():
    problem = problem_of(chain([0, 0]), one_server(1))
    limits = limits_of(problem, plan_of(("node1 node2", [1])))
    assert (limits.period_s, limits.stages, limits.cuts) == (0, (), ())


@pytest.mark.parametrize(("memory", "binds"), [(1.0, True), (1.05, True), (1.06, False)])
def test_memory_binds_within_five_percent(memory, binds):
    """2 GB of activations, and weights and gradients of 1 GB each."""
    problem = problem_of(chain([1], 2e9, 1e9), one_server(1, memory_bytes=4e9 * memory))
    found = limits_of(problem, plan_of(("node1", [1]))).memory
    assert bool(found) == binds
    if memory == 1:
        assert memory_sentence(found[0]) == (
            "Memory binds: stage 0 needs 4.0 GB of the 4.0 GB of a TitanV."
        )


# --- what would help -----------------------------------------------------------------------------


def test_what_ifs_are_what_planning_the_changes_finds():
    graph = chain([4, 2, 3, 5], [3e6, 1e6, 2e6, 0], [1e6, 2e6, 4e6, 8e6])
    cluster = one_server({"TitanV": 1, "TitanXP": 2}, memory_bytes=40e6)
    problem = problem_of(graph, cluster, Rules(use_memory=True), slower={"TitanXP": 1.5})
    planned = run_planner("cpsat", problem, SETTINGS)
    explanation = explain_plan(planned, SETTINGS)
    assert explanation.complete
    assert {change_words(problem, x.change) for x in explanation.what_ifs} == {
        "one more TitanV",
        "one more TitanXP",
        "twice the bandwidth",
        "memory without limit",
        "stages that may recompute (--recompute auto)",
    }
    for found in explanation.what_ifs:
        anew = run_planner("cpsat", found.change.problem, SETTINGS).evaluation.period_s
        assert found.period_s == pytest.approx(anew, rel=1e-6)
        assert found.gain == pytest.approx(1 - anew / planned.evaluation.period_s, abs=1e-6)
        assert found.status == Status.OPTIMAL
    gains = [x.gain for x in explanation.what_ifs]
    assert gains == sorted(gains, reverse=True)


def test_a_second_gpu_halves_two_like_layers():
    planned = run_planner("cpsat", problem_of(chain([6, 6]), one_server(1)), SETTINGS)
    told = []
    (found,) = what_if(planned, SETTINGS, told.append)
    assert told == [found.change]
    assert (found.change.kind, found.change.subject) == (ChangeKind.GPU, "TitanV")
    assert found.period_s == pytest.approx(0.006)
    assert found.gain == pytest.approx(0.5)


def test_like_groups_get_one_more_gpu_once():
    alike = problem_of(chain([1]), cluster_of([{"V": 2, "P": 1}, {"V": 2, "P": 1}]))
    assert [(x.subject, x.server) for x in one_more_gpu(alike)] == [
        ("V", "Server0"),
        ("P", "Server0"),
    ]
    other = problem_of(chain([1]), cluster_of([{"V": 2}, {"V": 2}], inside=[1e9, 2e9]))
    assert [(x.subject, x.server) for x in one_more_gpu(other)] == [
        ("V", "Server0"),
        ("V", "Server1"),
    ]
    assert one_more_gpu(other)[1].problem.instance.cluster.counts == (2, 3)


def test_a_plan_stays_where_time_does_not_allow_a_new_one():
    """The old plan is allowed with more GPUs, so that no what-if is worse than it."""
    planned = run_planner("cpsat", problem_of(chain([6, 6]), one_server(1)), SETTINGS)
    hurried = dataclasses.replace(SETTINGS, time_limit_s=1e-3)
    for found in what_if(planned, hurried.started()):
        assert found.period_s is not None
        assert found.period_s <= planned.evaluation.period_s


def test_a_gpu_that_must_be_used_can_cost_time():
    """1 MB to and fro over 1 MB/s takes 2 s, for a pair of layers of 1 ms."""
    problem = problem_of(chain([1, 1], 1e6, 1e9), one_server(1, 1e6), Rules(use_all=True))
    planned = run_planner("cpsat", problem, SETTINGS)
    (found,) = what_if(planned, SETTINGS)
    assert found.period_s == pytest.approx(2.0)
    assert found.gain == pytest.approx(1 - 2.0 / 0.002)


def test_stop_ends_the_what_ifs():
    planned = run_planner("cpsat", problem_of(chain([6, 6]), one_server(1)), SETTINGS)
    stop = threading.Event()
    stop.set()
    explanation = explain_plan(planned, dataclasses.replace(SETTINGS, stop=stop))
    assert (explanation.what_ifs, explanation.complete) == ((), False)
    assert explanation.limits.stages


# --- why there is no plan ------------------------------------------------------------------------


def reasons_of(problem: Problem, planner: str = "cpsat"):
    """Explain why there is no plan, and check everything that is claimed by planning it."""
    with pytest.raises(NoPlanExists) as caught:
        run_planner(planner, problem, SETTINGS)
    assert caught.value.problem is problem
    reasons = explain_infeasible(problem, caught.value.planner, SETTINGS)
    for change in reasons.helps:
        assert run_planner("cpsat", change.problem, SETTINGS).evaluation.valid
    for change in reasons.fails:
        with pytest.raises(NoPlanExists):
            run_planner("cpsat", change.problem, SETTINGS)
    assert reasons.untried == ()
    return reasons


def helping(problem: Problem, reasons) -> list[str]:
    return [change_words(problem, change) for change in reasons.helps]


def heavy(memory_bytes: float, gpus: int = 1, **rules) -> Problem:
    """Three layers with 1 GB of activations and 0.5 GB of weights each."""
    cluster = one_server(gpus, memory_bytes=memory_bytes)
    return problem_of(chain([1, 1, 1], 1e9, 0.5e9), cluster, Rules(use_memory=True, **rules))


@pytest.mark.parametrize("planner", ["cpsat", "exact-dp"])
def test_one_gpu_too_small_for_the_whole_network(planner):
    """On one GPU: 3 GB of activations, weights and gradients of 1.5 GB each, 6 GB in all.

    On two, the first stage keeps two minibatches and two versions of the weights: with one layer
    2 + 3 × 0.5 GB, and the other two need 2 + 2 × 1 GB.
    """
    problem = heavy(2e9)
    reasons = reasons_of(problem, planner)
    assert infeasible_sentences(problem, reasons)[:4] == (
        "No plan meets this demand:",
        "- every stage fits the memory of its GPUs (--use-memory-constraint)",
        "Even the plan that needs the least memory does not fit: stage 0 (3 layers, "
        "node1 … node3; TitanV×1) needs 6.0 GB on TitanV (2.0 GB): parameters 3.0 GB (2 copies), "
        "activations 3.0 GB (1 minibatch in flight).",
        "There is a plan with any one of these changes:",
    )
    assert helping(problem, reasons) == ["6.0 GB of memory on each TitanV"]
    assert "one more TitanV" in [change_words(problem, x) for x in reasons.fails]


def test_one_more_gpu_is_enough():
    problem = heavy(4e9)
    assert helping(problem, reasons_of(problem)) == [
        "6.0 GB of memory on each TitanV",
        "one more TitanV",
    ]


def test_fewer_versions_are_enough_and_so_is_recomputing():
    """One layer a GPU: the first stage holds 2 × 1 GB of activations and 3 × 1 GB of parameters.

    Without stashed versions these are 2 × 1 GB; if it recomputes, it holds activations once, and
    what it reads is no layer's.
    """
    cluster = one_server(2, memory_bytes=4.2e9)
    problem = problem_of(chain([1, 1], 1e9, 1e9), cluster, Rules(use_memory=True))
    reasons = reasons_of(problem)
    assert helping(problem, reasons) == [
        "5.0 GB of memory on each TitanV",
        "stages that may recompute (--recompute auto)",
        "fewer versions of the weights (--versions flush)",
    ]
    assert need_sentence(problem, reasons.need).endswith(
        "stage 0 (node1; TitanV×1) needs 5.0 GB on TitanV (4.2 GB): parameters 3.0 GB (3 copies), "
        "activations 2.0 GB (2 minibatches in flight)."
    )


def test_memory_and_a_limit_on_stages_exclude_each_other():
    """Two stages would fit 4.5 GB, one needs 2 GB and 2 × 2 GB."""
    rules = Rules(use_memory=True, memory=MemoryModel(Versions.FLUSH), max_stages=1)
    cluster = one_server(2, memory_bytes=4.5e9)
    problem = problem_of(chain([1, 1], 1e9, 1e9), cluster, rules)
    reasons = reasons_of(problem)
    assert (set(reasons.demands), reasons.minimal) == ({"memory", "max-stages"}, True)
    assert helping(problem, reasons) == [
        "6.0 GB of memory on each TitanV",
        "at most 2 stages (--max-stages 2)",
    ]


def test_demands_that_exclude_each_other_without_memory():
    rules = Rules(use_all=True, straight_pipeline=True, max_stages=1)
    problem = problem_of(chain([1, 1, 1]), one_server(3), rules)
    reasons = reasons_of(problem)
    assert reasons.need is None
    assert infeasible_sentences(problem, reasons) == (
        "No plan meets these demands together:",
        "- every GPU is used (--use-all)",
        "- no stage is replicated (--straight-pipeline)",
        "- there may be at most 1 stage (--max-stages)",
        "There is a plan with any one of these changes:",
        "- without the demand that every GPU is used (--use-all)",
        "- without the demand that no stage is replicated (--straight-pipeline)",
        "- at most 3 stages (--max-stages 3)",
        "Proven not to help alone:",
        "- one more TitanV",
    )


def test_a_demand_that_is_not_to_blame_is_left_out():
    problem = heavy(2e9, max_stages=3, straight_pipeline=True)
    assert reasons_of(problem).demands == ("memory",)


@pytest.mark.parametrize(
    ("rules", "demands", "helps"),
    [
        (
            Rules(placement=Placement(stage=(("node1", 2),))),
            {"pin:node1"},
            ["without the demand that node1 (Linear) lies in stage 2"],
        ),
        (
            Rules(
                placement=Placement(
                    stage=(("node2", 0), ("node4", 1)), together=(("node4", "node2"),)
                )
            ),
            {"pin:node2", "pin:node4", "together:node4"},
            [
                "without the demand that node2 (Linear) lies in stage 0",
                "without the demand that node4 (Linear) lies in stage 1",
                "without the demand that node4 and node2 share a stage",
            ],
        ),
        (
            Rules(placement=Placement(forbidden=(("node2", (0,)),))),
            {"forbid:node2"},
            ["without the demand that node2 (Linear) is not on TitanV"],
        ),
        (
            Rules(
                max_stages=3,
                placement=Placement(
                    stage=(("node1", 0), ("node3", 0)),
                    kept=Kept((("node1",), ("node2",), ("node3",)), 1),
                ),
            ),
            {"pin:node3", "kept"},
            [
                "at most 2 layers in another stage (--max-moved 2)",
                "without the demand that node3 (Linear) lies in stage 0",
            ],
        ),
        (
            Rules(max_price_per_hour=1.0),
            {"max-price"},
            ["a price of at most 1.25 per hour (--max-price 1.25)"],
        ),
        (
            Rules(max_gpus=1, use_all=True),
            {"max-gpus", "use-all"},
            [
                "without the demand that every GPU is used (--use-all)",
                "at most 2 GPUs (--max-gpus 2)",
            ],
        ),
    ],
)
def test_demands_on_layers_counts_and_prices(rules, demands, helps):
    cluster = one_server(2)
    priced = tuple(dataclasses.replace(g, price_per_hour=1.25) for g in cluster.groups)
    cluster = dataclasses.replace(cluster, groups=priced)
    problem = problem_of(chain([1, 1, 1, 1]), cluster, rules)
    reasons = reasons_of(problem)
    assert (set(reasons.demands), reasons.minimal) == (demands, True)
    assert [x for x in helping(problem, reasons) if not x.startswith("one more")] == helps


def test_a_core_says_where_to_begin():
    asked = []

    def core(problem, settings):
        asked.append(settings.time_limit_s)
        return ("use-all", "straight-pipeline", "max-stages")

    rules = Rules(use_all=True, straight_pipeline=True, max_stages=1, use_memory=True)
    problem = problem_of(chain([1, 1, 1]), one_server(3, memory_bytes=1e9), rules)
    steps = []
    reasons = explain_infeasible(problem, "cpsat", SETTINGS, steps.append, core)
    assert reasons.demands == ("use-all", "straight-pipeline", "max-stages")
    assert 0 < asked[0] < SETTINGS.time_limit_s
    assert steps == [
        "which demands exclude each other",
        *(f"change {n + 1} of 4" for n in range(4)),
    ]


def test_stop_ends_the_search_for_reasons():
    stop = threading.Event()
    stop.set()
    problem = heavy(2e9, max_stages=2)
    reasons = explain_infeasible(problem, "cpsat", dataclasses.replace(SETTINGS, stop=stop))
    assert (reasons.minimal, reasons.need, reasons.helps, reasons.fails) == (False, None, (), ())
    lines = infeasible_sentences(problem, reasons)
    assert lines[0] == "No plan meets these demands together, and perhaps not even some of them:"
    assert "Not decided in time:" in lines


def test_two_types_need_memory_of_their_own():
    """TitanV takes what fits in none; both sizes are rounded up to what is printed."""
    cluster = one_server({"TitanV": 1, "TitanXP": 1})
    small = tuple(
        dataclasses.replace(g, memory_bytes=n)
        for g, n in zip(cluster.groups, (1.0e9, 2.0e9), strict=True)
    )
    cluster = dataclasses.replace(cluster, groups=small)
    rules = Rules(use_memory=True, memory=MemoryModel(Versions.FLUSH, Optimizer.ADAM))
    problem = problem_of(chain([1, 1], 0, [0.26e9, 0.6e9]), cluster, rules)
    reasons = reasons_of(problem)
    assert helping(problem, reasons) == [
        "1.1 GB of memory on each TitanV and 2.4 GB of memory on each TitanXP"
    ]


# --- demands by name -----------------------------------------------------------------------------

PLACED = Placement(
    stage=(("node1", 2),),
    forbidden=(("node2", (0,)), ("node3", (0, 1))),
    together=(("node1", "node2", "node3", "node4", "node5"),),
    kept=Kept((("node1",), ("node2",)), 1),
)


@pytest.fixture
def placed() -> Problem:
    rules = Rules(
        use_memory=True,
        max_replicas=2,
        max_gpus=3,
        max_price_per_hour=4.5,
        placement=PLACED,
    )
    cluster = cluster_of([{"V": 2}, {"P": 2}], memory_bytes=1e9)
    priced = tuple(dataclasses.replace(g, price_per_hour=1.5) for g in cluster.groups)
    cluster = dataclasses.replace(cluster, groups=priced)
    return problem_of(chain([1] * 5), cluster, rules)


def test_every_demand_has_a_name_and_words(placed):
    assert {name: demand_words(placed, name) for name in demands_of(placed)} == {
        "memory": "every stage fits the memory of its GPUs (--use-memory-constraint)",
        "max-replicas": "a stage may have at most 2 replicas (--max-replicas)",
        "max-gpus": "at most 3 GPUs may be used (--max-gpus)",
        "max-price": "the GPUs may cost at most 4.5 per hour (--max-price)",
        "kept": "at most 1 layer may move to another stage (--max-moved)",
        "pin:node1": "node1 (Linear) lies in stage 2",
        "forbid:node2": "node2 (Linear) is not on V in Server0",
        "forbid:node3": "node3 (Linear) is not on V in Server0 or P in Server1",
        "together:node1": "node1, node2, node3 and 2 more share a stage",
    }


def test_a_problem_without_a_demand_lacks_that_demand_only(placed):
    names = demands_of(placed)
    for name in names:
        assert demands_of(without(placed, name)) == tuple(x for x in names if x != name)


@pytest.mark.parametrize("name", ["max-replicas", "max-gpus", "max-price", "kept"])
def test_a_limit_can_be_raised(placed, name):
    raised = with_limit(placed, name, 7)
    assert limit_of(raised, name) == 7
    assert demands_of(raised) == demands_of(placed)
