"""Landmarks beyond the first table: deeper ones, many landmarks, and what they are good for."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from landmark_tables import blocks_of, totals_of, windows_of

from brute_force import best_period_s
from builders import graph_of, instance_of, layer, one_server
from random_instances import flat_problem
from stagewright.formulation import landmark_search, nested_walk
from stagewright.formulation.bracket import Bracket
from stagewright.formulation.cut_space import all_ideals
from stagewright.formulation.fewest_gpus import FewestGpus
from stagewright.formulation.flat_costs import FlatCosts
from stagewright.formulation.ideal_table import tabulate
from stagewright.formulation.known_gpus import gpus_around
from stagewright.formulation.landmark_search import LandmarkSearch
from stagewright.formulation.landmarks import Landmarks
from stagewright.formulation.nested_walk import NestedWalk, passed
from stagewright.formulation.nested_windows import NestedWindows
from stagewright.formulation.partial_ideals import Grid
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.table_search import TableSearch
from stagewright.model.costs import PipeDream
from stagewright.model.graph import Layer

LIMITS = Settings(time_limit_s=20.0, workers=1)


def branches(lengths: tuple[int, ...], gpus: int, bandwidth: float, seed: int) -> Problem:
    """Chains side by side between a first and a last layer; some layers have many parameters."""
    rng = np.random.default_rng(seed)
    names = [[f"{chain}_{i}" for i in range(n)] for chain, n in enumerate(lengths)]

    def any_layer(name: str) -> Layer:
        time_ms, activation = float(rng.integers(1, 9)), float(rng.integers(1, 4)) * 1e6
        return layer(name, time_ms, 0.0, activation, float(rng.choice([0, 0, 8, 30])) * 1e6)

    inner = [any_layer(x) for chain in names for x in chain]
    first, last = (layer(x, 1.0, 0.0, 1e6) for x in ("first", "last"))
    edges = [f"{u}->{v}" for c in names for u, v in itertools.pairwise(["first", *c, "last"])]
    graph = graph_of([first, *inner, last], " ".join(edges))
    return Problem(instance_of(graph, one_server(gpus, bandwidth)), PipeDream())


def best_s(problem: Problem) -> float:
    search = FewestGpus(problem, all_ideals(problem.instance), LIMITS.started())
    search.search(1e3, 1e-6)
    assert search.stages is not None
    return search.period_s


def test_no_deeper_table_refutes_a_period_that_a_plan_keeps(monkeypatch):
    """Without plans, periods are tried above the best one, where a wrong refusal shows."""
    depths: list[int] = []
    narrow = LandmarkSearch._narrow

    def noted(self, level, windows, period_s, depth):
        depths.append(depth)
        return narrow(self, level, windows, period_s, depth)

    monkeypatch.setattr(LandmarkSearch, "_narrow", noted)
    monkeypatch.setattr(LandmarkSearch, "_plan", lambda *_: None)
    monkeypatch.setattr(landmark_search, "HEAVY", (0.3,))
    monkeypatch.setattr(landmark_search, "DEEPEST", 4)

    @settings(max_examples=60, deadline=None, phases=[Phase.generate])
    @given(st.data())
    def tried(data):
        cost_model = data.draw(st.sampled_from(["pipedream", "sparsepipe", "topology"]))
        problem = flat_problem(data, cost_model)
        expected_s = None if problem is None else best_period_s(problem)
        if problem is None or expected_s is None:
            return
        ceiling_s = data.draw(st.sampled_from([1.05, 1.5, 4.0])) * expected_s + 1e-12
        bracket = Bracket(problem, LIMITS.started(), ceiling_s, 0.0)
        LandmarkSearch(bracket, blocks_of(problem, ceiling_s)).run()
        assert bracket.bound_s <= expected_s * (1 + 1e-9)

    tried()
    assert max(depths) >= 3


@pytest.mark.parametrize("seed", [1, 2])
def test_eighty_landmarks_refute_nothing_that_a_plan_keeps(monkeypatch, seed):
    """More landmarks than a word has bits, all from the coarse table on or added to it later."""
    problem = branches((40, 40), 6, 1e9, seed)
    expected_s = best_s(problem)
    monkeypatch.setattr(landmark_search, "HEAVY", (0.06, 0.0)[:seed])
    monkeypatch.setattr(landmark_search, "LEAST", 0.0)
    monkeypatch.setattr(LandmarkSearch, "_plan", lambda *_: None)
    bracket = Bracket(problem, LIMITS.started(), 1.02 * expected_s, 0.0)
    LandmarkSearch(bracket, blocks_of(problem)).run()
    assert 0.9 * expected_s < bracket.bound_s <= expected_s * (1 + 1e-9)


@pytest.mark.parametrize("first", [63, 64, 65])
def test_rows_know_the_gpus_of_windows_with_landmarks_in_two_words(first):
    problem = branches((40, 40), 6, 1e9, 0)
    graph = blocks_of(problem)
    total_s, total_bytes = totals_of(graph)
    landmarks = tuple(range(1, 1 + first))
    grid = Grid(2 * total_s, 2 * total_bytes, np.inf)
    tables = [
        tabulate(graph, graph.time_s[0], grid, lambda: False, landmarks=Landmarks(x))
        for x in (landmarks, tuple(range(1, 81)))
    ]
    coarse, finer = tables
    assert coarse is not None
    assert finer is not None
    windows = windows_of(coarse, graph)
    found = gpus_around(windows, finer, first, lambda: False)
    assert found is not None
    held = coarse.members(windows.rows)[:, list(landmarks)]
    needs = zip(held, windows.before, windows.after, strict=True)
    of_set = {tuple(x): (before, after) for x, before, after in needs}
    members = finer.members(np.arange(len(finer.windows)))[:, list(landmarks)]
    assert len(of_set) == len(windows)
    for i, x in enumerate(members):
        assert (found[0][i], found[1][i]) == of_set[tuple(x)]


@pytest.mark.parametrize(
    ("lengths", "gpus", "bandwidth", "seed", "alone"),
    [((3,) * 5, 12, 1e9, 1, 0.91), ((3,) * 5, 24, 3e9, 0, 0.69), ((4,) * 4, 24, 3e9, 0, 0.8)],
)
def test_landmarks_raise_the_bound_where_ideals_do_not_nest(lengths, gpus, bandwidth, seed, alone):
    problem = branches(lengths, gpus, bandwidth, seed)
    expected_s = best_s(problem)
    graph = blocks_of(problem)
    tables, landmarks = (
        Bracket(problem, LIMITS.started(), 1.0001 * expected_s, 0.5 * expected_s) for _ in range(2)
    )
    for _ in TableSearch(tables, graph).rounds():
        pass
    LandmarkSearch(landmarks, graph).run()
    assert tables.bound_s == pytest.approx(alone * expected_s, rel=0.01)
    assert 0.998 * expected_s < landmarks.bound_s <= expected_s * (1 + 1e-9)


@pytest.mark.parametrize("classes", [(1, 3), (1,), (1, 2, 5)])
def test_stages_with_about_so_many_replicas_reach_no_less(monkeypatch, classes):
    problem = branches((3, 4, 3), 12, 1e9, 4)
    expected_s = best_s(problem)
    nested = all_windows(problem)
    costs = FlatCosts.of(problem)
    alone = NestedWalk(nested, costs, 1.1 * expected_s, lambda: False, first_is_free=False)
    monkeypatch.setattr(nested_walk, "CLASSES", classes)
    together = NestedWalk(nested, costs, 1.1 * expected_s, lambda: False, first_is_free=False)
    assert (together.for_all_gpus() >= alone.for_all_gpus() - 1e-12).all()
    assert together.finishes()
    assert alone.finishes()


def all_windows(problem: Problem) -> NestedWindows:
    """All ideals, told apart by all blocks."""
    graph = blocks_of(problem)
    total_s, total_bytes = totals_of(graph)
    marks = Landmarks(tuple(range(len(graph))))
    grid = Grid(2 * total_s, 2 * total_bytes, np.inf)
    table = tabulate(graph, graph.time_s[0], grid, lambda: False, landmarks=marks)
    assert table is not None
    none = np.zeros(len(table.windows))
    return windows_of(table, graph, (none, none))


@pytest.mark.parametrize("seed", range(4))
def test_windows_that_walks_pass_keep_their_sets_and_decide_shorter_periods_alike(seed):
    problem = branches((3, 3, 3, 3), 12, 1e9, seed)
    nested = all_windows(problem)
    costs = FlatCosts.of(problem)
    expected_s = best_s(problem)
    found = passed(nested, costs, 1.01 * expected_s, lambda: False)
    assert found is not None
    left = found[1]
    marks = dict(zip(nested.rows.tolist(), nested.family.marks[:, nested.sets].T, strict=True))
    for row, mark in zip(left.rows.tolist(), left.family.marks[:, left.sets].T, strict=True):
        assert (marks[row] == mark).all()
    assert len(left.family) < 0.5 * len(nested.family)
    for share in (0.9, 0.99, 0.999, 1.0, 1.005):
        again = passed(left, costs, share * expected_s, lambda: False)
        assert (again is None) == (passed(nested, costs, share * expected_s, lambda: False) is None)


@pytest.mark.parametrize("calls", [0, 1, 3, 8, 20, 60, 200])
def test_time_that_ends_half_way_proves_nothing(monkeypatch, calls):
    problem = branches((3,) * 5, 12, 1e9, 1)
    expected_s = best_s(problem)
    left = iter(range(calls))
    monkeypatch.setattr(LandmarkSearch, "_expired", lambda _: next(left, None) is None)
    monkeypatch.setattr(LandmarkSearch, "_plan", lambda *_: None)
    bracket = Bracket(problem, LIMITS.started(), 1.5 * expected_s, 0.0)
    LandmarkSearch(bracket, blocks_of(problem)).run()
    assert bracket.bound_s <= expected_s * (1 + 1e-9)


def test_a_walk_that_time_ends_refutes_nothing():
    problem = branches((3, 3, 3), 12, 1e9, 1)
    nested = all_windows(problem)
    costs = FlatCosts.of(problem)
    period_s = 1.01 * best_s(problem)
    whole, ended = passed(nested, costs, period_s, lambda: False), 0
    assert whole is not None
    for calls in range(60):
        left = iter(range(calls))
        found = passed(nested, costs, period_s, lambda left=left: next(left, None) is None)
        assert found is not None
        if len(found[1]) > len(whole[1]):
            ended += 1
            assert found[1] is nested
    assert 10 < ended < 60
