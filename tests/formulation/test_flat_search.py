"""The bracket on one flat cluster, against exhaustive search; boxes against all their ideals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from brute_force import best_period_s
from builders import chain, graph_of, instance_of, layer, one_server
from random_instances import flat_problem, small_rules
from stagewright.formulation import (
    fewest_gpus,
    flat_search,
    ideal_table,
    reachable_pairs,
    table_plans,
    table_search,
)
from stagewright.formulation.box_bound import Windows
from stagewright.formulation.cut_orders import narrow_order
from stagewright.formulation.cut_space import CutSpace, all_ideals, family
from stagewright.formulation.fewest_gpus import FewestGpus, fewest_replicas
from stagewright.formulation.flat_search import FlatSearch
from stagewright.formulation.ideal_boxes import Box, BoxTree
from stagewright.formulation.ideal_table import tabulate
from stagewright.formulation.partial_ideals import Grid
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.rates import rates_of
from stagewright.formulation.reduced_graph import reduce_graph
from stagewright.formulation.run import run_planner
from stagewright.formulation.stretch import Stretches
from stagewright.formulation.stretch_search import StretchSearch
from stagewright.formulation.table_plans import TablePlans
from stagewright.model.cluster import Cluster, GpuGroup
from stagewright.model.cost_model import CostModel
from stagewright.model.costs import PipeDream, SparsePipe, Topology
from stagewright.model.evaluate import evaluate
from stagewright.model.instance import build_instance
from stagewright.model.plan import Plan, Stage
from stagewright.model.rules import Rules

FLAT = ("pipedream", "sparsepipe", "topology")
QUICK = settings(max_examples=25, deadline=None, phases=[Phase.generate])


def bracket(problem: Problem, expected_s: float, few_ideals: tuple[int, int]) -> FlatSearch:
    limits = Settings(time_limit_s=5.0, workers=1).started()
    search = FlatSearch(problem, limits, 4 * expected_s + 1e-12, 0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flat_search, "FEW_IDEALS", few_ideals[0])
        patch.setattr(flat_search, "MANY_IDEALS", few_ideals[1])
        patch.setattr(fewest_gpus, "FEW_IDEALS", 3)
        for name, few in (("FEW_ROWS", 3), ("MOST_ROWS", 2), ("TINY", 0)):
            patch.setattr(table_search, name, few)
        for name, few in (("MOST_ROWS", 2), ("MOST_PAIRS", 20)):
            patch.setattr(table_plans, name, few)
        search.run()
    return search


@pytest.mark.parametrize(
    "few_ideals",
    [(0, 0), (0, 1500), (1500, 1500)],
    ids=["tables and boxes", "orders and all ideals", "all ideals"],
)
@pytest.mark.parametrize("cost_model", FLAT)
class TestBracket:
    @QUICK
    @given(st.data())
    def test_closes_on_the_optimum(self, cost_model, few_ideals, data):
        problem = flat_problem(data, cost_model)
        if problem is None:
            return
        expected_s = best_period_s(problem)
        assert expected_s is not None
        found = bracket(problem, expected_s, few_ideals)
        assert found.bound_s <= expected_s * (1 + 1e-9)
        if found.stages is not None:
            judged = evaluate(problem.instance, Plan(found.stages, "test"), problem.cost_model)
            assert judged.valid
            assert judged.period_s == pytest.approx(found.period_s, rel=1e-12)
        # Waiting for the smaller of two stages is more than the recursion knows of.
        knows_all = problem.cost_model.overlap or cost_model != "topology"
        if knows_all and expected_s > 1e-9:
            assert found.period_s == pytest.approx(expected_s, rel=1e-6)
            assert found.bound_s == pytest.approx(expected_s, rel=2e-6)

    @QUICK
    @given(st.data())
    def test_no_rule_makes_the_bound_wrong(self, cost_model, few_ideals, data):
        problem = flat_problem(data, cost_model, small_rules())
        if problem is None:
            return
        expected_s = best_period_s(problem)
        if expected_s is not None:
            found = bracket(problem, expected_s, few_ideals)
            assert found.bound_s <= expected_s * (1 + 1e-9)


def like_gpus(count: int, times_ms: list[float], activation: float, parameters: float) -> Problem:
    """A chain on one server of GPUs of one type at 1 GB/s."""
    cluster = Cluster(("Server0",), (GpuGroup(0, "A", count),), ((1e9,),), ((0.0,),))
    graph = chain(times_ms, activation, parameters)
    return Problem(build_instance({"A": graph}, cluster), PipeDream())


def tree_of(problem: Problem) -> BoxTree:
    rates = rates_of(problem.cost_model, problem.instance.cluster)
    graph = reduce_graph(problem.instance, rates, float("inf"))
    return BoxTree(graph, graph.time_s[0])


def held(tree: BoxTree, box: Box, ideals: np.ndarray) -> np.ndarray:
    """The ideals of the whole graph, as rows over blocks, that lie in the box."""
    inside = ~(box.inside & ~ideals).any(axis=1)
    return ideals[inside & ~(box.outside & ideals).any(axis=1)]


def cut_bytes(tree: BoxTree, ideal: np.ndarray) -> int:
    return sum(
        int(t.n_bytes)
        for t in tree.graph.tensors
        if ideal[t.source] and not all(ideal[w] for w in t.targets)
    )


@QUICK
@given(st.data())
def test_boxes_know_the_least_cut_and_the_work_of_their_ideals(data):
    problem = flat_problem(data, "pipedream")
    assert problem is not None
    tree = tree_of(problem)
    order = [layer for block in tree.graph.blocks for layer in block]
    ideals = all_ideals(problem.instance).members[:, order]
    boxes = [tree.whole()]
    for _ in range(6):
        box = boxes.pop(0)
        mine = held(tree, box, ideals)
        least = min(cut_bytes(tree, ideal) for ideal in mine)
        assert box.cut_bytes == least == cut_bytes(tree, box.cheapest)
        work = mine @ tree.time_s
        assert box.least_s == pytest.approx(work.min())
        assert box.most_s == pytest.approx(work.max())
        halves = tree.split(box)
        assert bool(halves) != box.single
        if halves:
            sizes = [len(held(tree, half, ideals)) for half in halves]
            assert sum(sizes) == len(mine)
            assert min(sizes) > 0
        boxes += halves
        if not boxes:
            break


def rows_with(
    ideal: np.ndarray, windows: Windows, tree: BoxTree, lower: np.ndarray | None = None
) -> np.ndarray:
    """Rows in whose ranges an ideal lies, with its figures beyond a lower one if there is one."""
    beyond = ideal if lower is None else ideal & ~lower
    work, held = beyond @ tree.time_s, beyond @ tree.graph.parameter_bytes
    return np.flatnonzero(
        (windows.least_s <= work * (1 + 1e-9) + 1e-15)
        & (work <= windows.most_s * (1 + 1e-9) + 1e-15)
        & (windows.least_bytes <= held + 1e-6)
        & (held <= windows.most_bytes + 1e-6)
        & (windows.cut_bytes <= cut_bytes(tree, ideal))
    )


@QUICK
@given(
    st.data(),
    st.sampled_from([1e-9, 0.02, 0.3]),
    st.sampled_from([0.2, 1.0]),
    st.sampled_from([1, 4, ideal_table.MANY_AT_ONCE]),
)
def test_a_table_holds_every_ideal_and_an_ideal_for_each_row(data, cell, kept, at_once):
    """However many blocks of a chain are decided at once."""
    problem = flat_problem(data, "pipedream")
    assert problem is not None
    tree = tree_of(problem)
    graph = tree.graph
    total_s, total_bytes = float(graph.time_s.sum()), float(graph.parameter_bytes.sum())
    most = kept * sum(t.n_bytes for t in graph.tensors)
    grid = Grid(cell * total_s + 1e-15, cell * total_bytes + 1e-15, most)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ideal_table, "MANY_AT_ONCE", at_once)
        table = tabulate(graph, graph.time_s[0], grid, lambda: False)
    assert table is not None
    windows = table.windows
    order = [layer for block in graph.blocks for layer in block]
    ideals = all_ideals(problem.instance).members[1:-1][:, order]
    cheap = [ideal for ideal in ideals if cut_bytes(tree, ideal) <= most]

    assert all(len(rows_with(ideal, windows, tree)) for ideal in cheap)
    members = table.members(np.arange(len(windows)))
    for row, ideal in enumerate(members):
        assert any((ideal == known).all() for known in cheap)
        assert cut_bytes(tree, ideal) == windows.cut_bytes[row] == table.found.cut_bytes[row]
        assert row in rows_with(ideal, windows, tree)
    np.testing.assert_allclose(table.found.least_s, members @ graph.time_s[0], atol=1e-12)
    np.testing.assert_allclose(table.found.least_bytes, members @ graph.parameter_bytes)
    assert table.found.most_s is table.found.least_s
    assert table.found.most_bytes is table.found.least_bytes


def test_of_too_many_rows_those_with_most_room_stay_in_each_step_of_work(monkeypatch):
    problem = like_gpus(4, [1.0] * 4, 1.0, 1.0)
    search = FlatSearch(problem, Settings().started(), 1.0, 0.0)
    total_s = 10.0
    plans = TablePlans(search, tree_of(problem).graph, total_s)
    work_s = np.linspace(0.0, total_s, 4000)
    cuts = Windows(work_s, work_s, work_s, work_s, np.ones(4000))
    slack = np.sin(np.arange(4000) * 7.0)
    everything = plans._spread(cuts, slack)
    assert everything.tolist() == np.flatnonzero(slack >= 0).tolist()
    monkeypatch.setattr(plans, "_most_rows", 100)
    rows = plans._spread(cuts, slack)
    assert 25 <= len(rows) <= 100
    assert np.mean(slack[rows]) > 0.95
    gaps = np.diff(np.sort(work_s[rows]), prepend=0.0, append=total_s)
    assert gaps.max() < total_s / 10


@QUICK
@given(st.data(), st.sampled_from([1e-9, 0.05]), st.sampled_from([0.3, 1.0]))
def test_a_stretch_holds_the_ideals_between_two(data, cell, kept):
    problem = flat_problem(data, "pipedream")
    assert problem is not None
    tree = tree_of(problem)
    graph, time_s = tree.graph, tree.graph.time_s[0]
    order = [layer for block in graph.blocks for layer in block]
    ideals = all_ideals(problem.instance).members[:, order]
    lower = ideals[data.draw(st.integers(0, len(ideals) - 1))]
    larger = ideals[~(lower & ~ideals).any(axis=1)]
    upper = larger[data.draw(st.integers(0, len(larger) - 1))]
    between = larger[~(larger & ~upper).any(axis=1)]
    most = kept * sum(t.n_bytes for t in graph.tensors)
    total_s, total_bytes = float(time_s.sum()), float(graph.parameter_bytes.sum())
    grid = Grid(cell * total_s + 1e-15, cell * total_bytes + 1e-15, most)
    table = Stretches(graph, time_s).table(lower, upper, grid, lambda: False)
    if table is None:
        assert (lower == upper).all()
        return
    windows = table.windows

    for ideal in between:
        if cut_bytes(tree, ideal) <= most and not (ideal == upper).all():
            assert len(rows_with(ideal, windows, tree, lower))
    for row, ideal in enumerate(table.ideals(np.arange(len(windows)))):
        assert any((ideal == known).all() for known in between)
        assert cut_bytes(tree, ideal) == windows.cut_bytes[row] <= most
        assert row in rows_with(ideal, windows, tree, lower)


def test_tensors_that_leave_a_stretch_count_from_the_middle_of_a_chain():
    layers = [layer(f"n{i}", 1.0, 0.0, 10.0**i, 1.0) for i in range(5)]
    graph = graph_of(layers, "n0->n1 n1->n2 n2->n3 n3->n4 n2->n4")
    tree = tree_of(Problem(instance_of(graph, one_server(2)), PipeDream()))
    lower, upper = np.arange(5) < 1, np.arange(5) < 4
    table = Stretches(tree.graph, tree.time_s).table(
        lower, upper, Grid(1e-9, 1e-9, np.inf), lambda: False
    )
    assert table is not None
    ideals = table.ideals(np.arange(3))
    assert sorted(ideals.sum(axis=1)) == [1, 2, 3]
    assert table.windows.cut_bytes.tolist() == [cut_bytes(tree, x) for x in ideals]


def started_badly(cost_model: CostModel, times_ms: list[float], gpus: int) -> FlatSearch:
    """A bracket whose best plan has stages of equally many layers, one replica each."""
    graph = chain(times_ms, 1e5, 1e6)
    cluster = Cluster(("Server0",), (GpuGroup(0, "A", gpus),), ((1e9,),), ((0.0,),))
    problem = Problem(build_instance({"A": graph}, cluster), cost_model)
    names = [x.id for x in graph.layers]
    each = len(names) // gpus
    stages = tuple(
        Stage(tuple(names[k * each : (k + 1) * each if k < gpus - 1 else None]), (1,))
        for k in range(gpus)
    )
    plan = Plan(stages, "test")
    period_s = evaluate(problem.instance, plan, problem.cost_model).period_s
    search = FlatSearch(problem, Settings(workers=1).started(), period_s * 2, 0.0)
    search.keep(plan, period_s)
    return search


@pytest.mark.parametrize("cost_model", [PipeDream(), SparsePipe(), Topology()], ids=FLAT)
def test_cutting_stretches_anew_ends_in_the_best_plan_of_a_chain(cost_model):
    times_ms = [1.0 + 0.25 * k + (7 * k) % 5 for k in range(40)]
    search = started_badly(cost_model, times_ms, 5)
    best = run_planner("exact-dp", search.problem, Settings(workers=1)).evaluation.period_s
    assert search.period_s > 1.1 * best
    near = StretchSearch(search, tree_of(search.problem).graph)
    periods = [search.period_s]
    for _ in range(12):
        gained = near.improve()
        assert gained == pytest.approx(1 - search.period_s / periods[-1])
        periods.append(search.period_s)
    assert periods == sorted(periods, reverse=True)
    assert search.period_s == pytest.approx(best, rel=2e-3)
    assert search.stages is not None
    judged = evaluate(
        search.problem.instance, Plan(search.stages, "test"), search.problem.cost_model
    )
    assert judged.valid
    assert judged.period_s == pytest.approx(search.period_s)


def test_one_stage_has_no_stretches():
    search = started_badly(PipeDream(), [1.0, 2.0], 1)
    assert StretchSearch(search, tree_of(search.problem).graph).improve() == 0


@QUICK
@given(st.data(), st.sampled_from([0.1, 0.25, 0.4]))
def test_narrow_orders_are_topological(data, share):
    problem = flat_problem(data, "pipedream")
    assert problem is not None
    tree = tree_of(problem)
    base = tree.order_like({v: v for v in range(len(problem.instance.nodes))})
    order = narrow_order(tree, base, share)
    assert sorted(order) == sorted(base)
    place = {b: i for i, b in enumerate(order)}
    assert all(place[u] < place[v] for u, v in tree.graph.edges)


@QUICK
@given(st.data())
def test_a_family_of_all_ideals_decides_like_all_ideals(data):
    problem = flat_problem(data, "pipedream")
    assert problem is not None
    expected_s = best_period_s(problem)
    assert expected_s is not None
    space = all_ideals(problem.instance)
    search = FewestGpus(problem, family(problem.instance, space.members), Settings().started())
    if expected_s > 1e-9:
        assert search.keeps(expected_s * (1 + 1e-9)) is True
        assert search.keeps(expected_s * (1 - 1e-6)) is False


def family_and_periods(data, cost_model) -> tuple[Problem, CutSpace, list[float]] | None:
    """A problem, some of its ideals, and periods near its best one; ``None`` if there is none."""
    problem = flat_problem(data, cost_model)
    expected_s = best_period_s(problem) if problem is not None else None
    if problem is None or expected_s is None or expected_s < 1e-9:
        return None
    ideals = all_ideals(problem.instance).members
    kept = data.draw(st.lists(st.booleans(), min_size=len(ideals), max_size=len(ideals)))
    factors = data.draw(st.lists(st.floats(0.9, 4.0), min_size=2, max_size=6))
    space = family(problem.instance, ideals[np.array(kept)])
    return problem, space, [expected_s * x for x in factors]


@pytest.mark.parametrize("cost_model", FLAT)
@QUICK
@given(st.data())
def test_pairs_that_the_walk_leaves_decide_like_all_pairs(cost_model, data):
    drawn = family_and_periods(data, cost_model)
    if drawn is None:
        return
    problem, space, periods_s = drawn
    among_all = [
        FewestGpus(problem, space, Settings().started()).keeps(period_s) for period_s in periods_s
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fewest_gpus, "FEW_IDEALS", 0)
        patch.setattr(reachable_pairs, "AT_ONCE", data.draw(st.sampled_from([1, 3, 1000])))
        patch.setattr(reachable_pairs, "DENSE", data.draw(st.sampled_from([0.0, 0.1, 1.0])))
        search = FewestGpus(problem, space, Settings().started())
        assert [search.keeps(period_s) for period_s in periods_s] == among_all
        thinned = FewestGpus(problem, space, Settings().started(), most_pairs=4)
        for period_s, possible in zip(periods_s, among_all, strict=True):
            assert possible or not thinned.keeps(period_s)


@pytest.mark.parametrize(
    ("problem", "period_s"),
    [
        # Replicas would exchange a gigabyte; GPUs are left over all the same.
        (like_gpus(4, [1.0] * 40, 1e3, 1e9), 25e-3),
        # The cut asks for two replicas, of which the first stage has only one.
        (like_gpus(3, [10.0] * 3, 7.5e6, 1e6), 11.1e-3),
    ],
    ids=["one replica where there could be more", "a first stage that sends for free"],
)
def test_the_walk_leaves_stages_of_one_replica(problem, period_s):
    space = family(problem.instance, all_ideals(problem.instance).members)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fewest_gpus, "FEW_IDEALS", 0)
        search = FewestGpus(problem, space, Settings().started())
        assert search.keeps(period_s) is True
    assert search.stages is not None
    assert len(search.stages) > 1
    assert search.stages[0].replica_count == 1


def test_what_a_refused_period_left_out_comes_back_for_a_longer_one(monkeypatch):
    problem = like_gpus(4, [1.0] * 40, 1e3, 1e9)
    space = family(problem.instance, all_ideals(problem.instance).members)
    monkeypatch.setattr(fewest_gpus, "FEW_IDEALS", 0)
    search = FewestGpus(problem, space, Settings().started())
    assert search.keeps(9.9e-3) is False
    monkeypatch.setattr(reachable_pairs, "DENSE", 0.0)  # now all pairs are taken
    assert search.keeps(10.0001e-3) is True


def test_a_refusal_among_some_pairs_proves_nothing():
    problem = like_gpus(4, [1.0] * 40, 1e3, 1e9)
    space = family(problem.instance, all_ideals(problem.instance).members)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fewest_gpus, "FEW_IDEALS", 0)
        thinned = FewestGpus(problem, space, Settings().started(), most_pairs=3)
        kept = thinned.keeps(10.0001e-3)
        whole = FewestGpus(problem, space, Settings().started())
        assert whole.keeps(9.9e-3) is False
        assert whole.keeps(10.0001e-3) is True
    assert kept is False
    assert thinned.refuted_s == 0
    assert whole.refuted_s == 9.9e-3


@pytest.mark.parametrize("cost_model", FLAT)
@QUICK
@given(st.data())
def test_what_a_kept_period_leaves_out_decides_no_shorter_one(cost_model, data):
    drawn = family_and_periods(data, cost_model)
    if drawn is None:
        return
    problem, space, periods_s = drawn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fewest_gpus, "FEW_PAIRS", 0)
        patch.setattr(fewest_gpus, "FEW_IDEALS", data.draw(st.sampled_from([0, 1000])))
        search = FewestGpus(problem, space, Settings().started())
        patch.setattr(fewest_gpus, "AT_ONCE", data.draw(st.sampled_from([1, 5, 1000])))
        found = [search.keeps(x) for x in sorted(periods_s, reverse=True)]
        again = [search.keeps(x) for x in sorted(periods_s, reverse=True)]
    fresh = [
        FewestGpus(problem, space, Settings().started()).keeps(x)
        for x in sorted(periods_s, reverse=True)
    ]
    assert found == again == fresh
    narrowed = set(zip(search._first.tolist(), search._last.tolist(), strict=True))
    assert len(narrowed) == len(search._first), "no pair comes twice"


def test_where_nothing_takes_time_and_no_plan_is_valid_the_search_ends():
    graph = chain([0.0], 0.0, 1.0)
    cluster = Cluster(
        ("Server0",), (GpuGroup(0, "TitanV", 4, memory_bytes=1.0),), ((1e3,),), ((0.0,),)
    )
    rules = Rules(use_memory=True)
    problem = Problem(build_instance({"TitanV": graph}, cluster, rules), PipeDream())
    search = FewestGpus(problem, all_ideals(problem.instance), Settings().started())
    search.search(1.0, 0.0)
    assert search.stages is None
    assert search.refuted_s == 0.0


@given(st.floats(0.1, 10), st.floats(0, 50), st.floats(0, 20), st.integers(1, 12))
def test_fewest_replicas_is_the_least_that_keeps_the_period(period, compute, sync, least):
    """Against trying every number: (T + S(m-1)/m) / m <= p."""
    total, wait = np.array([compute + sync]), np.array([sync])
    found = float(fewest_replicas(period, total, wait, np.array([float(least)]))[0])

    def keeps(m: int, slack: float) -> bool:
        return (compute + sync * (m - 1) / m) / m <= period * slack

    assert keeps(int(found), 1 + 1e-6)
    earlier = range(least, int(found))
    assert not any(keeps(m, 1 - 1e-6) for m in earlier)
