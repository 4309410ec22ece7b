"""Both published recursions against a slow transcription of their description."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import published_literal as literal
from builders import chain, cluster_of, diamond, graph_of, instance_of, layer, one_server
from random_instances import GPU_TYPES, profiles_of, small_graphs, with_memory
from stagewright.formulation.antichain_states import bits, published_states
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.run import Planned, run_planner
from stagewright.model.cluster import Cluster, level_cluster
from stagewright.model.costs import Topology
from stagewright.model.errors import DoesNotApply, NoPlanFound
from stagewright.model.graph import LayerGraph
from stagewright.model.instance import Instance, build_instance
from stagewright.model.rules import Rules

Levels = list[tuple[int, float]]

any_graph = small_graphs(max_nodes=7)
any_chain = small_graphs(max_nodes=8, chain=True)
BANDWIDTHS = (1e5, 3e3, 500.0)
bandwidths = st.sampled_from(BANDWIDTHS)


@st.composite
def levels(draw: st.DrawFn, fewest: int, most: int, inner: int, count: int) -> Levels:
    """Between ``fewest`` and ``most`` levels of up to ``count`` machines, the fastest inmost.

    No two have the same bandwidth, and no outer level has one machine: those are no levels.
    """
    chosen = draw(
        st.lists(bandwidths, min_size=fewest, max_size=most, unique=True).map(
            lambda drawn: sorted(drawn, reverse=True)
        )
    )
    counts = [draw(st.integers(2 if outer else inner, count)) for outer in range(len(chosen))]
    return list(zip(counts, chosen, strict=True))


options = st.builds(
    literal.Options,
    ratio=st.sampled_from([1.0, None, 0.5, 4.0]),
    straight=st.booleans(),
    memory_bytes=st.sampled_from([None, None, 300.0, 1000.0, 4000.0]),
)


def planned(name: str, instance: Instance, given: literal.Options) -> Planned | None:
    """What the planner answers; ``None`` if it finds no plan."""
    cluster = instance.cluster
    if given.memory_bytes is not None:
        cluster = with_memory(cluster, [given.memory_bytes] * len(cluster.groups))
    rules = Rules(use_memory=given.memory_bytes is not None, straight_pipeline=given.straight)
    problem = Problem(build_instance(instance.profiles, cluster, rules), Topology(given.ratio))
    try:
        return run_planner(name, problem, Settings(fewer_machines=given.fewer_machines))
    except NoPlanFound:
        return None


def check(found: Planned | None, expected_s: float | None) -> None:
    assert (found is None) == (expected_s is None)
    if found is not None and expected_s is not None:
        assert found.plan.claimed_period_s == pytest.approx(expected_s, rel=1e-9, abs=1e-15)
        assert not found.evaluation.violations or found.problem.instance.rules.use_memory


def planner_order(graph: LayerGraph) -> list[literal.Antichain] | None:
    """The planner's states in its order; ``None`` if two of them look alike."""
    space = published_states(graph)
    layers = literal.kept_graph(graph)
    by_frontier = {literal.augment(layers, state): state for state in literal.state_graph(graph)}
    frontiers = [frozenset(space.nodes[v] for v in bits(mask)) for mask in space.frontier]
    if len(by_frontier) != len(frontiers) or len(set(frontiers)) != len(frontiers):
        return None
    return [by_frontier[nodes] for nodes in frontiers]


def levels_instance(graph: LayerGraph, levels: Levels) -> Instance:
    cluster = level_cluster("TitanV", [n for n, _ in levels], [b for _, b in levels])
    return build_instance({"TitanV": graph}, cluster)


@given(any_graph)
@example(diamond())
@example(graph_of([layer("a"), layer("b"), layer("c"), layer("d")], "a->c b->c b->d"))
def test_states(graph):
    space = published_states(graph)
    expected = literal.States.of(graph)

    def names(masks: tuple[int, ...]) -> list[literal.Antichain]:
        return [frozenset(space.nodes[v] for v in bits(mask)) for mask in masks]

    found = list(zip(names(space.done), names(space.frontier), strict=True))
    listed = list(zip(expected.done, expected.frontier, strict=True))
    assert sorted(map(_sorted, found)) == sorted(map(_sorted, listed))
    if len(set(listed)) == len(listed):
        place = {pair: j for j, pair in enumerate(listed)}
        for j, pair in enumerate(found):
            before = {place[found[k]] for k in space.reachable_from[j].nonzero()[0]}
            assert before == expected.pred[place[pair]]
            assert all(k < j for k in space.reachable_from[j].nonzero()[0])


def _sorted(pair: tuple[literal.Antichain, ...]) -> list[list[str]]:
    return [sorted(nodes) for nodes in pair]


class TestPipeDream:
    @given(any_chain, st.integers(1, 5), bandwidths, options, st.booleans())
    def test_chains(self, graph, n, b, given_options, fewer):
        given_options = dataclasses.replace(given_options, fewer_machines=fewer)
        found = planned("pipedream-dp", levels_instance(graph, [(n, b)]), given_options)
        check(found, literal.pipedream(graph, [(n, b)], given_options))

    @given(any_chain, levels(2, 3, inner=1, count=3), options, st.booleans())
    def test_levels_of_chains(self, graph, levels, given_options, fewer):
        given_options = dataclasses.replace(given_options, fewer_machines=fewer)
        found = planned("pipedream-dp", levels_instance(graph, levels), given_options)
        check(found, literal.pipedream(graph, levels, given_options))

    @given(any_graph, levels(1, 2, inner=2, count=4), options, st.booleans())
    @example(diamond((3, 1, 2, 3), 10.0, 40.0), [(3, 1e3)], literal.Options(), False)
    def test_branching_graphs(self, graph, levels, given_options, fewer):
        order = planner_order(graph)
        assume(order is not None)
        given_options = dataclasses.replace(given_options, fewer_machines=fewer)
        found = planned("pipedream-dp", levels_instance(graph, levels), given_options)
        check(found, literal.pipedream(graph, levels, given_options, order))

    def test_a_cut_is_shared_by_the_replicas_of_the_later_stage(self):
        """2000 + 4000 ms; 1000 bytes at 1e3 bytes/s, there and back, over two replicas: 1 s."""
        graph = chain([2000, 4000], [1000, 0], [9e6, 0])
        found = planned("pipedream-dp", levels_instance(graph, [(3, 1e3)]), literal.Options())
        assert found is not None
        assert found.plan.claimed_period_s == pytest.approx(2.0)
        assert [stage.replica_count for stage in found.plan.stages] == [1, 2]

    def test_only_the_one_stage_all_reduce_is_divided_by_the_previous_level(self):
        """Two servers of two: 4 s and 8000 bytes. Inside 2 + 2 s; then (4 + 8 / 2) / 2 = 4 s."""
        graph = chain([4000], 0, 8000)
        levels = [(2, 2e3), (2, 1e3)]
        found = planned("pipedream-dp", levels_instance(graph, levels), literal.Options())
        assert found is not None
        inside_s = (4 + 2 * 8000 / (2e3 * 2)) / 2
        assert found.plan.claimed_period_s == pytest.approx((inside_s + (8000 / 1e3) / 2) / 2)

    def test_the_divisor_is_the_previous_level_and_not_the_product(self):
        graph = chain([4000], 0, 8000)
        levels = [(3, 1e9), (2, 1e8), (2, 1e3)]
        found = planned("pipedream-dp", levels_instance(graph, levels), literal.Options())
        assert found is not None
        assert found.plan.claimed_period_s == pytest.approx(
            (4 / 6 + (8000 / 1e3) / 2) / 2, rel=1e-3
        )

    def test_four_layers_do_not_fill_a_straight_pipeline_over_two_servers_of_three(self):
        instance = levels_instance(chain([1000] * 4), [(3, 1e9), (2, 1e8)])
        assert planned("pipedream-dp", instance, literal.Options(straight=True)) is None

    @pytest.mark.parametrize("rules", [Rules(use_all=True), Rules(max_stages=2)])
    def test_refuses_rules_that_the_original_lacks(self, rules):
        problem = Problem(instance_of(chain([1, 1]), one_server(2), rules), Topology())
        with pytest.raises(DoesNotApply):
            run_planner("pipedream-dp", problem, Settings())

    def test_refuses_a_second_gpu_type(self):
        cluster = one_server({"TitanV": 1, "TitanXP": 1})
        with pytest.raises(DoesNotApply, match="one GPU type"):
            run_planner(
                "pipedream-dp", Problem(instance_of(chain([1, 1]), cluster), Topology()), Settings()
            )


@st.composite
def server_counts(draw: st.DrawFn, servers: int) -> list[dict[str, int]]:
    """GPUs by type on each server, in file order."""
    most = 5 if servers == 1 else 3
    found = []
    for _ in range(servers):
        types = draw(st.lists(st.sampled_from(GPU_TYPES), min_size=1, max_size=3, unique=True))
        found.append({gpu: draw(st.integers(1, max(1, most - len(types)))) for gpu in types})
    return found


@st.composite
def hybrid(
    draw: st.DrawFn, graphs: st.SearchStrategy[LayerGraph], servers: int
) -> tuple[Instance, list[dict[str, int]], list[float]]:
    """A server file: the instance, GPU counts and bandwidths."""
    counts = draw(server_counts(servers))
    inside = draw(bandwidths)
    between = draw(bandwidths) if servers > 1 else inside
    cluster = cluster_of(counts, inside, between)
    graph = draw(graphs)
    profiles = draw(profiles_of(graph, cluster.gpu_types))
    return build_instance(profiles, cluster), counts, [inside, between][: min(servers, 2)]


class TestSparsePipe:
    @given(hybrid(any_chain, 1), options)
    def test_chains_on_one_server(self, instance_counts_bandwidths, given_options):
        self.compare(instance_counts_bandwidths, given_options)

    @given(st.integers(2, 4).flatmap(lambda n: hybrid(any_chain, n)), options)
    def test_chains_on_several_servers(self, instance_counts_bandwidths, given_options):
        self.compare(instance_counts_bandwidths, given_options)

    @settings(max_examples=80)
    @given(st.integers(1, 3).flatmap(lambda n: hybrid(any_graph, n)), options)
    def test_branching_graphs(self, instance_counts_bandwidths, given_options):
        order = planner_order(instance_counts_bandwidths[0].graph)
        assume(order is not None)
        self.compare(instance_counts_bandwidths, given_options, order)

    @staticmethod
    def compare(
        instance_counts_bandwidths: tuple[Instance, list[dict[str, int]], list[float]],
        given_options: literal.Options,
        order: list[literal.Antichain] | None = None,
    ) -> None:
        instance, counts, given_bandwidths = instance_counts_bandwidths
        expected_s = literal.sparsepipe(
            dict(instance.profiles), counts, given_bandwidths, given_options, order
        )
        check(planned("sparsepipe-dp", instance, given_options), expected_s)

    @staticmethod
    def claim(graph: LayerGraph, cluster: Cluster, **slower: float) -> float | None:
        found = planned(
            "sparsepipe-dp", instance_of(graph, cluster, slower=slower), literal.Options()
        )
        assert found is not None
        return found.plan.claimed_period_s

    def test_two_gpus_are_never_split(self):
        """One after the other they would take 1 s; the all-reduce costs 4 s, and is chosen."""
        graph = chain([1000, 1000], 0, [4000, 4000])
        assert self.claim(graph, one_server(2, 1e3)) == pytest.approx((2 + 8000 / 1e3) / 2)

    def test_the_last_stage_takes_at_most_half(self):
        """Three GPUs: one may come last, two may not."""
        graph = chain([2000, 1000], 0, [0, 1e6])
        assert self.claim(graph, one_server(3, 1e3)) == pytest.approx(1.0)
        graph = chain([1000, 2000], 0, [1e6, 0])
        assert self.claim(graph, one_server(3, 1e3)) == pytest.approx((3 + 4e6 / 3e3) / 3)

    def test_the_slowest_type_is_slowest_in_every_layer(self):
        """TitanV is the slower type by total time, 9 s to 5 s: it times the first three GPUs."""
        profiles = {"TitanV": chain([1000, 8000]), "TitanXP": chain([4000, 1000])}
        instance = build_instance(profiles, one_server({"TitanV": 2, "TitanXP": 2}))
        found = planned("sparsepipe-dp", instance, literal.Options(None))
        assert found is not None
        assert found.plan.claimed_period_s == pytest.approx(1.0)

    def test_a_server_may_be_too_large_for_a_straight_pipeline(self):
        """Three GPUs need three layers each: the fourth is for the server of one."""
        instance = instance_of(chain([1000] * 4), cluster_of([{"TitanV": 1}, {"TitanV": 3}]))
        found = planned("sparsepipe-dp", instance, literal.Options(straight=True))
        assert found is not None
        assert found.plan.claimed_period_s == pytest.approx(1.0)

    def test_the_larger_group_comes_first(self):
        """TitanXP twice, then TitanV: the last stage is the single fast GPU's."""
        graph = chain([4000, 2000], 0, [0, 1e9])
        cluster = one_server({"TitanV": 1, "TitanXP": 2})
        assert self.claim(graph, cluster, TitanXP=1.5) == pytest.approx(3.0)

    def test_refuses_unequal_servers(self):
        cluster = cluster_of([{"TitanV": 1}, {"TitanV": 1}], inside=[1e9, 2e9])
        with pytest.raises(DoesNotApply, match="one bandwidth inside"):
            run_planner(
                "sparsepipe-dp",
                Problem(instance_of(chain([1, 1]), cluster), Topology()),
                Settings(),
            )
