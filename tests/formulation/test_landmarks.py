"""Landmarks: sets, the walk against trying every stage, and the bound against exhaustive search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from landmark_tables import any_ideals, blocks_of, totals_of, windows_of

from brute_force import best_period_s
from random_instances import flat_problem, small_rules
from stagewright.formulation import ideal_table, landmark_search
from stagewright.formulation.box_bound import Windows
from stagewright.formulation.bracket import Bracket
from stagewright.formulation.flat_costs import FlatCosts
from stagewright.formulation.ideal_table import tabulate
from stagewright.formulation.known_gpus import gpus_around
from stagewright.formulation.landmark_search import LandmarkSearch
from stagewright.formulation.landmark_sets import LandmarkSets
from stagewright.formulation.landmarks import Landmarks, OnlySets
from stagewright.formulation.nested_walk import NestedWalk, passed
from stagewright.formulation.nested_windows import Load, NestedWindows
from stagewright.formulation.partial_ideals import Grid
from stagewright.formulation.problem import Settings
from stagewright.model.evaluate import evaluate
from stagewright.model.plan import Plan

QUICK = settings(max_examples=40, deadline=None, phases=[Phase.generate])
FLAT = ("pipedream", "sparsepipe", "topology")
TOTAL_S, TOTAL_BYTES, SYNC = 10.0, 8.0, 0.25
BITS = 70
"""Landmarks, in two words."""


def words(sets: list[set[int]]) -> np.ndarray:
    marks = np.zeros((2, len(sets)), np.uint64)
    for column, members in enumerate(sets):
        for i in members:
            marks[i // 64, column] |= np.uint64(1 << i % 64)
    return marks


def family_of(sets: list[set[int]]) -> tuple[LandmarkSets, np.ndarray]:
    found = LandmarkSets.of(words(sets))
    assert found is not None
    return found


SETS = st.lists(st.sets(st.sampled_from([0, 1, 2, 63, 64, BITS - 1])), min_size=1, max_size=12)


def above(family: LandmarkSets) -> np.ndarray:
    """Whether steps lead from one set to another, shape (sets, sets)."""
    size = len(family)
    reached = np.zeros((size, size), dtype=bool)
    for level, steps in enumerate(family.steps):
        for s in steps:
            counts = np.diff(s.begins, append=len(s.lower))
            upper = family.bounds[level] + np.repeat(s.upper, counts)
            lower = family.bounds[s.source] + s.lower
            reached[lower, upper] = True
    for middle in range(size):
        reached |= reached[:, [middle]] & reached[[middle]]
    return reached


@QUICK
@given(SETS)
def test_steps_lead_from_each_set_to_all_that_contain_it(sets):
    family, place = family_of(sets)
    assert (family.marks[:, place] == words(sets)).all()
    inside = np.array([[a < b for b in sets] for a in sets])
    assert (above(family)[np.ix_(place, place)] == inside).all()
    assert (above(family.mirrored) == above(family)[::-1, ::-1].T).all()


def test_sets_are_not_sorted_out_once_time_is_over_or_where_they_are_many():
    assert LandmarkSets.of(words([{0}, {0, 1}]), expired=lambda: True) is None
    assert LandmarkSets.of(words([{0}, {0, 1}]), most=1) is None


@st.composite
def nested_windows(draw: st.DrawFn) -> NestedWindows:
    """A few windows of load and parameters with sets of landmarks."""
    sets = draw(SETS)
    numbers = st.integers(0, 40)
    load = [sorted(draw(st.tuples(numbers, numbers))) for _ in sets]
    held = [sorted(draw(st.tuples(numbers, numbers))) for _ in sets]
    columns = np.array([[*x, *y] for x, y in zip(load, held, strict=True)]).T / 40
    cut = np.array([draw(st.integers(0, 30)) for _ in sets]) / 10
    scale = np.array([TOTAL_S, TOTAL_S, TOTAL_BYTES, TOTAL_BYTES])[:, None]
    family, place = family_of(sets)
    order = np.argsort(place, kind="stable")
    windows = Windows(*(columns * scale), cut).take(order)
    unknown = np.zeros(len(sets))
    share = draw(st.sampled_from([0.0, 0.5, 0.7]))
    whole = Load(share, TOTAL_S, TOTAL_BYTES)
    return NestedWindows(family, whole, windows, place[order], order, unknown, unknown)


def literal(
    nested: NestedWindows, costs: FlatCosts, period_s: float, *, free: bool
) -> tuple[np.ndarray, bool]:
    """Reach of each window with 0 to all GPUs, and whether the end is reached, by every stage."""
    w, gpus = nested.windows, costs.gpus
    asked = costs.asked(w.cut_bytes, period_s)
    marks = nested.family.marks[:, nested.sets]
    reach = np.full((len(nested), gpus + 1), -np.inf)
    finished = False
    for g in range(1, gpus + 1):
        reach[:, g] = reach[:, g - 1]
        for m in range(1, min(g, costs.most) + 1):
            extra = SYNC * ((m - 1) / m - nested.load.share)

            def end(start: float, of: int | None, j: int | None, m=m, extra=extra) -> float:
                first = 0.0 if of is None else (w.most_bytes if extra > 0 else w.least_bytes)[of]
                last = TOTAL_BYTES
                if j is not None:
                    last = (w.least_bytes if extra > 0 else w.most_bytes)[j]
                return start + m * period_s - extra * (last - first)

            starts: list[int | None] = [None] if m == g else []
            starts += [i for i in range(len(nested)) if asked[i] <= m]
            for i in starts:
                start = 0.0 if i is None else reach[i, g - m]
                finished |= end(start, i, None) >= TOTAL_S
                for j in range(len(nested)):
                    nests = i is None or not (marks[:, i] & ~marks[:, j]).any()
                    able = asked[j] <= m or (i is None and free)
                    to = end(start, i, j)
                    if nests and able and to >= w.least_s[j]:
                        reach[j, g] = max(reach[j, g], min(to, w.most_s[j]))
    return reach, bool(finished)


@QUICK
@given(nested_windows(), st.sampled_from([0.7, 1.3, 2.1]), st.integers(2, 7), st.booleans())
def test_the_walk_reaches_what_trying_every_stage_does(nested, period_s, gpus, free):
    costs = FlatCosts(gpus, gpus, SYNC, 1.0, 0.0, "pipedream" if free else "topology", overlap=True)
    walk = NestedWalk(nested, costs, period_s, lambda: False, first_is_free=free)
    expected, finished = literal(nested, costs, period_s, free=free)
    assert walk.complete
    assert walk.finishes() == finished
    np.testing.assert_allclose(walk.for_all_gpus(), expected, rtol=1e-7)

    found = passed(nested, costs, period_s, lambda: False)
    assert (found is not None) == finished
    if found is not None:
        mirror = nested.mirrored()
        back, _ = literal(mirror, costs, period_s, free=False)
        slack = (expected + back[::-1, ::-1]).max(axis=1) - TOTAL_S
        order = np.argsort(found[1].rows)
        assert found[1].rows[order].tolist() == sorted(nested.rows[slack >= -1e-7].tolist())


@QUICK
@given(st.data(), st.integers(1, 3))
def test_rows_hold_the_landmarks_of_their_ideals(data, every):
    graph, ideals = any_ideals(data)
    landmarks = tuple(range(0, len(graph), every))
    grid = Grid(float(graph.time_s.sum()) + 1, float(graph.parameter_bytes.sum()) + 1, np.inf)
    table = tabulate(graph, graph.time_s[0], grid, lambda: False, landmarks=Landmarks(landmarks))
    assert table is not None
    expected = {tuple(ideal[list(landmarks)]) for ideal in ideals}
    members = table.members(np.arange(len(table.windows)))
    held = [tuple(ideal[list(landmarks)]) for ideal in members]
    assert set(held) == expected
    assert len(held) == len(expected)
    bits = (table.marks[0][:, None] >> np.arange(len(landmarks), dtype=np.uint64)) & np.uint64(1)
    assert (bits.astype(bool) == np.array(held).reshape(bits.shape)).all()


@QUICK
@given(st.data(), st.integers(1, 3), st.integers(0, 2))
def test_no_ideal_with_a_wanted_set_and_load_is_left_out(data, every, kept):
    graph, ideals = any_ideals(data)
    if len(ideals) == 0:
        return
    landmarks = tuple(range(0, len(graph), every))
    first = len(landmarks) - min(kept, len(landmarks) - 1)
    bit = np.uint64(1) << np.arange(len(landmarks), dtype=np.uint64)
    marks = (ideals[:, list(landmarks)] * bit).sum(axis=1, dtype=np.uint64)
    of_first = marks & np.uint64((1 << first) - 1)
    load_s, held = ideals @ graph.time_s[0], ideals @ graph.parameter_bytes
    some = data.draw(st.lists(st.integers(0, len(ideals) - 1), max_size=3))
    sets = np.unique(of_first[some])
    room_s = 1e-9 * float(graph.time_s.sum())
    ends = [data.draw(st.tuples(*[st.integers(0, len(ideals) - 1)] * 2)) for _ in sets]
    span = np.array([sorted((load_s[i], load_s[j])) for i, j in ends]).reshape(-1, 2)
    only = OnlySets(sets[None, :], first, span[:, 0] - room_s, span[:, 1] + room_s)
    range_of = dict(zip(sets.tolist(), zip(only.least_s, only.most_s, strict=True), strict=True))
    ranges = np.array([range_of.get(set_, (np.inf, -np.inf)) for set_ in of_first.tolist()])
    wanted = (ranges[:, 0] <= load_s) & (load_s <= ranges[:, 1])
    assert only.count(of_first[None, :], load_s, load_s) == wanted.sum()
    cells = data.draw(st.sampled_from([1, 5, 50]))
    grid = Grid(
        float(graph.time_s.sum()) / cells + 1e-9,
        float(graph.parameter_bytes.sum()) / cells + 1,
        np.inf,
    )
    marked = Landmarks(landmarks, only)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ideal_table, "FEW_ROWS", data.draw(st.sampled_from([0, 300])))
        patch.setattr(ideal_table, "MANY_AT_ONCE", data.draw(st.sampled_from([1, 1000])))
        table = tabulate(graph, graph.time_s[0], grid, lambda: False, landmarks=marked)
    assert table is not None
    windows, found = table.windows, table.marks[0]
    for i in np.flatnonzero(wanted):
        assert len(holding(windows, found, (load_s[i], held[i], int(marks[i])))) > 0
    # What is left has such a set, and may have such a load.
    for row, set_ in enumerate((found & np.uint64((1 << first) - 1)).tolist()):
        least_s, most_s = range_of[set_]
        assert windows.most_s[row] >= least_s - 2 * room_s
        assert windows.least_s[row] <= most_s + 2 * room_s


@pytest.mark.parametrize("cost_model", FLAT)
@pytest.mark.parametrize("ruled", [False, True], ids=["free", "rules"])
@settings(max_examples=25, deadline=None, phases=[Phase.generate])
@given(st.data())
def test_no_period_is_refuted_that_a_plan_keeps(cost_model, ruled, data):
    problem = flat_problem(data, cost_model, small_rules() if ruled else None)
    expected_s = None if problem is None else best_period_s(problem)
    if problem is None or expected_s is None:
        return
    ceiling_s = data.draw(st.sampled_from([1.02, 1.5, 4.0])) * expected_s + 1e-12
    limits = Settings(time_limit_s=5.0, workers=1).started()
    bracket = Bracket(problem, limits, ceiling_s, 0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(landmark_search, "HEAVY", (0.3, 0.05, 0.01))
        patch.setattr(landmark_search, "FEW_PLANS", data.draw(st.sampled_from([0, 2000])))
        patch.setattr(landmark_search, "SOONER", data.draw(st.sampled_from([0.0, 0.9])))
        patch.setattr(landmark_search, "FINE", data.draw(st.sampled_from([0.03, 1.0])))
        LandmarkSearch(bracket, blocks_of(problem, ceiling_s)).run()
    assert bracket.bound_s <= expected_s * (1 + 1e-9)
    if bracket.stages is not None:
        judged = evaluate(problem.instance, Plan(bracket.stages, "test"), problem.cost_model)
        assert judged.valid
        assert judged.period_s == pytest.approx(bracket.period_s, rel=1e-12)


def holding(windows: Windows, marks: np.ndarray, figures: tuple[float, float, int]) -> np.ndarray:
    """Rows that may hold an ideal with such load, parameters and landmarks."""
    load_s, held, members = figures
    return np.flatnonzero(
        (windows.least_s <= load_s + 1e-9)
        & (load_s <= windows.most_s + 1e-9)
        & (windows.least_bytes <= held + 1e-6)
        & (held <= windows.most_bytes + 1e-6)
        & (marks == np.uint64(members))
    )


@QUICK
@given(st.data(), st.sampled_from([0.05, 0.3]))
def test_finer_rows_know_the_gpus_of_every_window_that_shares_an_ideal(data, cell):
    graph, ideals = any_ideals(data)
    total_s, total_bytes = totals_of(graph)

    def table(landmarks: tuple[int, ...], size: float):
        grid = Grid(size * total_s + 1e-12, size * total_bytes + 1e-12, np.inf)
        marks = Landmarks(landmarks)
        found = tabulate(graph, graph.time_s[0], grid, lambda: False, landmarks=marks)
        assert found is not None
        return found

    coarse, finer = table((0,), cell), table((0, len(graph) - 1), cell / 10)
    windows = windows_of(coarse, graph)
    family = windows.family
    known_around = gpus_around(windows, finer, 1, lambda: False)
    assert known_around is not None
    before, after = known_around
    for ideal in ideals:
        first, last = int(ideal[0]), int(ideal[0]) + 2 * int(ideal[-1]) * (len(graph) > 1)
        figures = float(ideal @ graph.time_s[0]), float(ideal @ graph.parameter_bytes)
        known = holding(windows.windows, family.marks[0, windows.sets], (*figures, first))
        for row in holding(finer.windows, finer.marks[0], (*figures, last)):
            assert before[row] <= windows.before[known].min()
            assert after[row] <= windows.after[known].min()
