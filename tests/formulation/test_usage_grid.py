"""The arrays of least usages, against the model over the same cells and against exact-dp."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from random_instances import COST_MODELS, small_graphs, small_instances
from stagewright.formulation import usage_grid
from stagewright.formulation.cells import cells_by_class, cells_by_server
from stagewright.formulation.cut_space import all_ideals
from stagewright.formulation.exact_dp import ExactDp
from stagewright.formulation.path_model import PathModel, Verdict
from stagewright.formulation.priced_paths import PricedPaths, Wide
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.stage_columns import Columns, Pairs
from stagewright.formulation.usage_grid import UsageGrid
from stagewright.model.cluster import Cluster, GpuGroup

LIMITS = Settings(time_limit_s=60.0, workers=1)
CELLS = [cells_by_class, cells_by_server]


@st.composite
def small_racks(draw: st.DrawFn) -> Cluster:
    """Two to four servers of one or two kinds, with up to eight GPUs in all."""
    held = st.sampled_from([{"TitanV": 2}, {"TitanXP": 2}, {"TitanV": 1, "TitanXP": 1}])
    kinds = draw(st.lists(held, min_size=1, max_size=2))
    servers = [draw(st.sampled_from(kinds)) for _ in range(draw(st.sampled_from([3, 2, 4])))]
    groups = [GpuGroup(s, gpu, n) for s, gpus in enumerate(servers) for gpu, n in gpus.items()]
    inside, between = draw(st.sampled_from([(1e5, 1e4), (2e4, 2e4), (3e4, 2e3)]))
    places = range(len(servers))
    return Cluster(
        tuple(f"Server{s}" for s in places),
        tuple(groups),
        tuple(tuple(inside if s == t else between for t in places) for s in places),
        tuple(tuple(0.0 for _ in places) for _ in places),
    )


rack_problems = st.builds(
    Problem, small_instances(small_graphs(max_nodes=5), small_racks()), COST_MODELS["topology"]
).filter(Columns.apply)
shares = st.floats(0.15, 0.9)


def columns_at(problem: Problem, share: float) -> Columns:
    """All columns that keep a share of the time of all layers on the slowest GPU."""
    pairs = Pairs(problem, all_ideals(problem.instance))
    whole_s = max(float(x.sum()) for x in problem.instance.type_time_s.values())
    return Columns(problem, pairs, share * whole_s + 1e-9)


@pytest.mark.parametrize("cells_of", CELLS)
@settings(max_examples=20, deadline=None)
@given(problem=rack_problems, share=shares, seed=st.integers(0, 9))
def test_agrees_with_the_model(cells_of, problem, share, seed):
    columns = columns_at(problem, share)
    paths = PricedPaths(columns)
    prices = paths.best_prices()
    parts = paths.worth_a_look(prices)
    cells = cells_of(columns)
    limits = LIMITS.started()
    grid = UsageGrid(problem, columns, cells, *parts)
    everything = paths.worth_a_look(prices, 1e9)
    verdict = PathModel(problem, columns, *everything, cells).decide(limits, 60.0)
    assert grid.fill(limits) == (verdict == Verdict.KEPT)
    if verdict == Verdict.KEPT:
        path = grid.path(np.random.default_rng(seed))
        ends = [0, *(move.part.last for move in path)]
        assert [move.part.first for move in path] == ends[:-1]
        assert ends[-1] == len(columns.pairs.space) - 1
        taken = np.sum([move.counts for move in path], axis=0)
        assert min(taken) >= 0
        assert (taken <= [cell.total for cell in grid.cells]).all()
        for move in path:
            wide = isinstance(move.part, Wide)
            assert sum(move.counts) == (move.part.replicas if wide else sum(move.part.usage))


@settings(max_examples=15, deadline=None)
@given(problem=rack_problems)
def test_what_it_refutes_exact_dp_does_not_attain(problem):
    outcome = ExactDp().solve(problem, LIMITS.started())
    assert outcome.objective_s is not None
    pairs = Pairs(problem, all_ideals(problem.instance))
    for cells_of in CELLS:
        columns = Columns(problem, pairs, outcome.objective_s * (1 + 1e-9) + 1e-12)
        paths = PricedPaths(columns)
        prices = paths.best_prices()
        grid = UsageGrid(problem, columns, cells_of(columns), *paths.worth_a_look(prices))
        assert not prices.refuted
        assert grid.fill(LIMITS.started())


@given(problem=rack_problems)
def test_gives_up_where_there_is_too_much(problem):
    columns = columns_at(problem, 0.9)
    paths = PricedPaths(columns)
    parts = paths.worth_a_look(paths.best_prices())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(usage_grid, "MOST_WORK", 0)
        grid = UsageGrid(problem, columns, cells_by_server(columns), *parts)
        assert grid.too_large == bool(parts[0] or parts[1])
