"""The arrays of least usages, against the model over the same cells, exact-dp and the evaluator."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import chain, cluster_of, instance_of
from random_instances import COST_MODELS, small_graphs, small_instances
from stagewright.formulation import usage_grid
from stagewright.formulation.assemble import with_inputs
from stagewright.formulation.cells import cells_by_class, cells_by_server
from stagewright.formulation.cut_space import all_ideals
from stagewright.formulation.exact_dp import ExactDp
from stagewright.formulation.path_model import PathModel, Verdict
from stagewright.formulation.priced_paths import PricedPaths, Wide
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.stage_columns import Columns, Pairs
from stagewright.formulation.usage_grid import Move, UsageGrid
from stagewright.formulation.usage_space import UNREACHED
from stagewright.model.cluster import Cluster
from stagewright.model.costs import Topology
from stagewright.model.evaluate import evaluate
from stagewright.model.instance import build_instance
from stagewright.model.plan import Plan

LIMITS = Settings(time_limit_s=60.0, workers=1)
CELLS = [cells_by_class, cells_by_server]


@st.composite
def small_racks(draw: st.DrawFn) -> Cluster:
    """Two to four servers of one or two kinds, with up to eight GPUs in all."""
    servers = draw(st.sampled_from([3, 2, 4]))
    mixed = {"TitanV": 1, "TitanXP": 1}
    held = [{"TitanV": 2}, {"TitanXP": 2}, mixed, {"TitanV": 1}]
    if servers == 2:
        held += [{"TitanV": 3}, {"TitanV": 2, "TitanXP": 1}]
    kinds = draw(st.lists(st.sampled_from(held), min_size=1, max_size=2))
    inside, between = draw(st.sampled_from([(1e5, 1e4), (2e4, 2e4), (3e4, 2e3), (1e3, 1e4)]))
    return cluster_of([draw(st.sampled_from(kinds)) for _ in range(servers)], inside, between)


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
    all_parts = paths.worth_a_look(prices, 1e9)
    verdict = PathModel(problem, columns, *all_parts, cells).decide(limits, 60.0)
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
            assert touched(columns, grid, move) >= needed(columns, move)


def needed(columns: Columns, move: Move) -> float:
    """Servers that a stage over several has to touch, or a run."""
    ends = columns.across[[move.part.first, move.part.last]]
    return max(2.0, float(ends.max())) if isinstance(move.part, Wide) else 1.0


def touched(columns: Columns, grid: UsageGrid, move: Move) -> int:
    """Most servers that can have a share in a move; a class may have as many as there are in it."""
    here: dict[tuple[int | None, int], int] = defaultdict(int)
    for cell, n in zip(grid.cells, move.counts, strict=True):
        here[cell.server, columns.resources[cell.resource].kind] += n
    sizes = {r.kind: len(r.servers) for r in columns.resources}
    return sum(min(n, sizes[kind] if s is None else 1) for (s, kind), n in here.items())


def everything(problem: Problem, columns: Columns, cells_of) -> UsageGrid:
    """The grid of all parts, whatever prices say."""
    paths = PricedPaths(columns)
    parts = paths.worth_a_look(paths.best_prices(), 1e9)
    return UsageGrid(problem, columns, cells_of(columns), *parts)


@settings(max_examples=25, deadline=None)
@given(problem=rack_problems, share=shares, seed=st.integers(0, 9))
def test_a_path_by_server_is_a_plan(problem, share, seed):
    cluster = problem.instance.cluster
    if not problem.cost_model.overlap or cluster.bandwidth[0, 0] < cluster.bandwidth[0, 1]:
        return
    columns = columns_at(problem, share)
    grid = everything(problem, columns, cells_by_server)
    assert grid.exact
    if grid.fill(LIMITS.started()):
        stages = grid.stages(grid.path(np.random.default_rng(seed)))
        plan = Plan(with_inputs(problem.instance, stages), "test")
        judged = evaluate(problem.instance, plan, problem.cost_model)
        assert judged.valid
        assert judged.period_s <= columns.period_s * (1 + 1e-9)


@pytest.mark.parametrize("cells_of", CELLS)
@pytest.mark.parametrize(
    ("held", "servers", "fits"),
    [
        ([2, 2], 2, True),
        ([3, 1], 2, False),
        ([2, 1, 1], 2, True),
        ([2, 2, 2], 3, True),
        ([4, 1, 1], 3, False),
        ([3, 2, 1], 3, False),
        ([2, 2, 1, 1], 3, True),
        ([1, 3, 1, 1], 3, False),
    ],
)
def test_stages_touch_as_many_servers_as_cuts_need(held, servers, fits, cells_of):
    """The first and the last layer take ``servers`` TitanV each, one from each of so many servers.

    Inside servers all-reduce is too slow, and the layer between them is slow on a TitanV.
    """
    cluster = cluster_of([{"TitanV": n, "TitanXP": 1} for n in held], inside=1.0, between=1e9)
    period_s = 1.01 / servers
    cut_bytes = (servers - 0.5) * period_s * 1e9 / 2 if servers > 2 else 0.0
    profiles = {
        "TitanV": chain([1000.0, 1e6, 1000.0], cut_bytes, 1e3),
        "TitanXP": chain([1e6, 1.0, 1e6], cut_bytes, 1e3),
    }
    problem = Problem(build_instance(profiles, cluster), Topology())
    columns = Columns(problem, Pairs(problem, all_ideals(problem.instance)), period_s)
    assert columns.across.tolist() == [1, *[servers if servers > 2 else 1] * 2, 1]
    assert everything(problem, columns, cells_of).fill(LIMITS.started()) == fits


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


@pytest.mark.parametrize("more", [0, 1])
def test_gives_up_where_there_are_more_gpus_than_it_can_count(more):
    cluster = cluster_of([{"TitanV": UNREACHED - 2}, {"TitanV": 1 + more}])
    problem = Problem(instance_of(chain([1.0]), cluster), Topology())
    columns = Columns(problem, Pairs(problem, all_ideals(problem.instance)), 1.0)
    assert UsageGrid(problem, columns, cells_by_server(columns), [], []).too_large == bool(more)
