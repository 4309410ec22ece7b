"""Planning under ``max-load``: single constraints, what is joined beforehand, who refuses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brute_force import best_period_s
from builders import chain, diamond, graph_of, instance_of, layer, one_server
from random_instances import instances_for
from stagewright.formulation.max_load.block_graph import block_graph
from stagewright.formulation.max_load.ideals import every_ideal, prefixes
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.run import run_planner
from stagewright.model.costs import MaxLoad
from stagewright.model.errors import DoesNotApply, InfeasibleError
from stagewright.model.max_load import HOST
from stagewright.model.placement import Kept, Placement
from stagewright.model.rules import Recompute, Rules

SETTINGS = Settings(time_limit_s=30.0, workers=1)
exact = pytest.mark.parametrize("name", ["exact-dp", "cpsat"])


def problem_of(graph, cluster=None, rules=None, **slower):
    instance = instance_of(graph, cluster or one_server(3, 1000.0), rules, slower)
    return Problem(instance, MaxLoad())


def load_ms(name, problem):
    planned = run_planner(name, problem, SETTINGS)
    assert planned.evaluation.valid
    return planned.evaluation.period_s * 1000


FOUR = chain([4, 3, 2, 1], 0.0, 1.0)
LIMITS = {
    "three devices": (Rules(), 4),
    "two stages": (Rules(max_stages=2), 6),
    "two devices": (Rules(max_gpus=2), 6),
    "one stage": (Rules(max_stages=1), 10),
    "together": (Rules(placement=Placement(together=(("node1", "node2"),))), 7),
    "across": (Rules(placement=Placement(together=(("node1", "node3"),))), 9),
}


@exact
@pytest.mark.parametrize("case", LIMITS)
def test_limits(name, case):
    rules, expected = LIMITS[case]
    assert load_ms(name, problem_of(FOUR, rules=rules)) == pytest.approx(expected)


@exact
def test_every_device(name):
    """Three devices for two layers cannot all work."""
    rules = Rules(use_all=True)
    with pytest.raises(InfeasibleError):
        run_planner(name, problem_of(chain([4, 3]), rules=rules), SETTINGS)
    assert load_ms(name, problem_of(chain([4, 3, 2]), rules=rules)) == pytest.approx(4)


@exact
def test_price(name):
    """A fast device costs as much as the limit, and the slow ones half as much."""
    cluster = one_server({"TitanV": 2, "TitanXP": 2})
    groups = tuple(
        dataclasses.replace(g, price_per_hour=p)
        for g, p in zip(cluster.groups, (2.0, 1.0), strict=True)
    )
    priced = dataclasses.replace(cluster, groups=groups)
    loads = {
        limit: load_ms(
            name, problem_of(chain([4, 4]), priced, Rules(max_price_per_hour=limit), TitanXP=1.5)
        )
        for limit in (1.0, 2.0, 3.0, 4.0)
    }
    assert loads == pytest.approx({1.0: 12, 2.0: 6, 3.0: 6, 4.0: 4})


@exact
def test_forbidden(name):
    cluster = one_server({"TitanV": 1, HOST: 1})
    rules = Rules(placement=Placement(forbidden=(("node2", (0,)),)))
    free = problem_of(chain([5, 1]), cluster, CPU=10.0)
    assert load_ms(name, free) == pytest.approx(6)
    assert load_ms(name, problem_of(chain([5, 1]), cluster, rules, CPU=10.0)) == pytest.approx(10)


@exact
def test_transfers_count_into_the_load(name):
    """Cut after node1 each side pays 2·500 ms; whole it takes 900 ms."""
    assert load_ms(name, problem_of(chain([400, 500], 500.0))) == pytest.approx(900)
    assert load_ms(name, problem_of(chain([400, 500], 50.0))) == pytest.approx(600)


@settings(max_examples=40)
@given(st.data())
def test_any_rules_of_layers_and_counts(data):
    """Forbidden groups, layers that belong together and limits on counts, against brute force."""
    instance = data.draw(instances_for("max-load"))
    names = st.sampled_from(instance.nodes)
    groups = st.sets(st.integers(0, len(instance.cluster.groups) - 1), min_size=1)
    rules = Rules(
        max_gpus=data.draw(st.sampled_from([None, 1, 2, 3])),
        placement=Placement(
            forbidden=tuple(
                (node, tuple(sorted(data.draw(groups))))
                for node in data.draw(st.sets(names, max_size=2))
            ),
            together=tuple(
                map(tuple, data.draw(st.lists(st.lists(names, min_size=2), max_size=2)))
            ),
        ),
    )
    problem = Problem(instance.with_rules(rules), MaxLoad())
    expected = best_period_s(problem)
    for name in ("exact-dp", "cpsat"):
        try:
            assert load_ms(name, problem) == pytest.approx(1000 * (expected or 0), rel=1e-6), name
            assert expected is not None
        except InfeasibleError:
            assert expected is None, name


UNKNOWN = {
    "pinned layers": Rules(placement=Placement(stage=(("node1", 0),))),
    "a limit on moved layers": Rules(placement=Placement(kept=Kept((("node1",),), 0))),
    "recomputation": Rules(recompute=Recompute.AUTO),
}


@pytest.mark.parametrize("name", ["exact-dp", "cpsat", "linear-dp"])
@pytest.mark.parametrize("what", UNKNOWN)
def test_unknown_rules_are_refused(name, what):
    with pytest.raises(DoesNotApply, match=f"no planner knows {what}"):
        run_planner(name, problem_of(FOUR, rules=UNKNOWN[what]), SETTINGS)


@pytest.mark.parametrize("name", ["pipedream-dp", "sparsepipe-dp"])
def test_planners_that_replicate_refuse(name):
    with pytest.raises(DoesNotApply, match="it replicates stages"):
        run_planner(name, problem_of(FOUR), SETTINGS)


@exact
def test_a_gap_is_enough(name):
    """Whatever is left open, the bound stays below the best load."""
    problem = problem_of(diamond([4, 3, 2, 1], 100.0))
    best = run_planner("exact-dp", problem, SETTINGS).certificate
    found = run_planner(name, problem, Settings(gap=0.9, workers=1)).certificate
    assert best.objective_s is not None
    assert found.bound_s is not None
    assert found.bound_s <= best.objective_s * (1 + 1e-6)


class TestBlocks:
    def test_a_net_beyond_the_ceiling_is_not_cut(self):
        problem = problem_of(chain([1, 1, 1], [500.0, 5.0, 0.0]))
        assert block_graph(problem, 0.5).nodes == ((0, 1), (2,))
        assert len(block_graph(problem, 1.5)) == 3

    def test_with_two_hosts_it_may_be(self):
        cluster = one_server({"TitanV": 1, HOST: 2}, 1000.0)
        assert len(block_graph(problem_of(chain([1, 1], 500.0), cluster), 0.5)) == 2

    def test_idle_leaves_fold_up(self):
        """a and b feed m, c hangs on m and d on c; n works."""
        layers = [layer(x, 0.0, 0.0, 1.0) for x in "abcd"]
        graph = graph_of([*layers, layer("m", 1.0), layer("n", 1.0)], "a->m b->m m->c c->d m->n")
        assert len(block_graph(problem_of(graph), np.inf)) == 2
        assert len(block_graph(problem_of(graph, rules=Rules(use_all=True)), np.inf)) == 6

    def test_idle_layers_with_another_reader_stay(self):
        layers = [layer("a", 0.0, 0.0, 1.0), layer("m", 1.0), layer("n", 1.0)]
        assert len(block_graph(problem_of(graph_of(layers, "a->m a->n")), np.inf)) == 3


class TestIdeals:
    def test_as_many_as_there_are(self):
        graph = block_graph(problem_of(diamond([1, 1, 1, 1])), np.inf)
        assert [int(x) for x in every_ideal(graph).members.sum(axis=1)] == [0, 1, 2, 2, 3, 4]

    def test_too_many(self):
        graph = graph_of([layer(f"n{i}", 1.0) for i in range(30)])
        with pytest.raises(DoesNotApply, match="too many for an exact dynamic programme"):
            every_ideal(block_graph(problem_of(graph), np.inf))

    @pytest.mark.parametrize("i", [0, 1, 2, 3])
    def test_what_a_stage_shares(self, i):
        """node1's 100 bytes go to both, node2's 200 and node3's 10 to the last: 2A/β each."""
        graph = diamond([1, 1, 1, 1], [100.0, 200.0, 10.0, 0.0])
        space = prefixes(block_graph(problem_of(graph), np.inf), [0, 2, 1, 3])
        nets = {(0, 1, 2): 0.2, (1, 3): 0.4, (2, 3): 0.02}
        larger = np.arange(i + 1, 5)
        stages = [set(np.flatnonzero(space.members[j] & ~space.members[i])) for j in larger]
        by_hand = [
            sum(s for ends, s in nets.items() if stage & set(ends) and not stage.issuperset(ends))
            for stage in stages
        ]
        assert space.exchange_s(i, larger) == pytest.approx(by_hand)
