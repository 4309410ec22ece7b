"""The three cost models against figures worked out by hand (beside each expectation)."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx  # noqa: PT013 - it is written in every line here

from builders import cluster_of, error_text, one_server
from stagewright.model.cluster import Cluster, GpuGroup
from stagewright.model.costs import (
    COST_MODELS,
    CutTime,
    PipeDream,
    SparsePipe,
    StageTime,
    Topology,
    make_cost_model,
)
from stagewright.model.errors import DoesNotApply

FOUR_V = one_server(4, 1e9)
MIXED = one_server({"TitanV": 2, "TitanXP": 4}, 1e9)

# Three servers with two TitanV each. Inside 1, 2 and 4 GB/s. Between: 0-1 at 400 MB/s and 1 ms,
# 0-2 at 200 MB/s and 2 ms, 1-2 at 100 MB/s and 3 ms.
THREE = Cluster(
    servers=("Server0", "Server1", "Server2"),
    groups=(GpuGroup(0, "TitanV", 2), GpuGroup(1, "TitanV", 2), GpuGroup(2, "TitanV", 2)),
    bandwidth_bytes_per_s=((1e9, 4e8, 2e8), (4e8, 2e9, 1e8), (2e8, 1e8, 4e9)),
    latency_s=((0.0, 0.001, 0.002), (0.001, 0.0, 0.003), (0.002, 0.003, 0.0)),
)


def stage_of(model, cluster, time_s, parameter_bytes, replicas) -> StageTime:
    return model.stage(cluster, time_s, parameter_bytes, replicas)


def cut_of(model, cluster, cut_bytes, earlier, later, *, earlier_is_first=False) -> CutTime:
    return model.cut(cluster, cut_bytes, earlier, later, earlier_is_first=earlier_is_first)


# --- pipedream ------------------------------------------------------------------------------


def test_pipedream_stage_is_compute_and_all_reduce_shared_by_the_replicas():
    found = stage_of(PipeDream(), FOUR_V, [0.012], 4e6, [4])
    assert found.compute_s == approx(0.003)  # 12 ms / 4
    assert found.sync_s == approx(0.0015)  # 2 * 3 * 4e6 / (4 * 1e9) = 6 ms, / 4


def test_pipedream_stage_on_one_gpu_has_nothing_to_reduce():
    assert stage_of(PipeDream(), FOUR_V, [0.012], 4e6, [1]) == StageTime(0.012, 0.0)


def test_pipedream_cut_is_charged_to_both_sides_by_their_own_replicas():
    found = cut_of(PipeDream(), FOUR_V, 6e6, [2], [3])
    assert found.received_s == approx(0.004)  # 2 * 6e6 / (1e9 * 3)
    assert found.sent_s == approx(0.006)  # 2 * 6e6 / (1e9 * 2)


def test_pipedream_first_stage_sends_for_nothing():
    found = cut_of(PipeDream(), FOUR_V, 6e6, [2], [3], earlier_is_first=True)
    assert found.sent_s == 0.0
    assert found.received_s == approx(0.004)


@pytest.mark.parametrize(
    "cluster",
    [cluster_of([{"TitanV": 1}, {"TitanV": 1}]), one_server({"TitanV": 1, "TitanXP": 1})],
    ids=["two servers", "two types"],
)
def test_pipedream_needs_one_server_and_one_type(cluster):
    with pytest.raises(DoesNotApply, match="flat: one server, one GPU type"):
        PipeDream().check(cluster)


# --- sparsepipe -----------------------------------------------------------------------------


def test_sparsepipe_stage_waits_for_its_slowest_type():
    found = stage_of(SparsePipe(), MIXED, [0.006, 0.012], 3e6, [1, 2])
    assert found.compute_s == approx(0.004)  # max(6, 12) ms / 3
    assert found.sync_s == approx(0.004 / 3)  # 2 * 2 * 3e6 / (3 * 1e9) = 4 ms, / 3


def test_sparsepipe_stage_does_not_wait_for_types_that_it_does_not_use():
    assert stage_of(SparsePipe(), MIXED, [0.006, 0.012], 0.0, [2, 0]).compute_s == approx(0.003)


@pytest.mark.parametrize(("earlier", "later"), [([1, 0], [1, 0]), ([2, 1], [0, 3])])
@pytest.mark.parametrize("first", [True, False])
def test_sparsepipe_cut_does_not_depend_on_replicas(earlier, later, first):
    found = cut_of(SparsePipe(), MIXED, 6e6, earlier, later, earlier_is_first=first)
    assert found == CutTime(approx(0.012), approx(0.012))  # 2 * 6e6 / 1e9


def test_sparsepipe_needs_one_server():
    with pytest.raises(DoesNotApply, match="is for one server; this cluster has 2"):
        SparsePipe().check(cluster_of([{"TitanV": 1}, {"TitanV": 1}]))


# --- topology: stages -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replicas", "sync_s"),
    [
        ([2, 0, 0], 0.002),  # inside server 0: 2 * 1 * 4e6 / (2 * 1e9) = 4 ms, / 2
        ([0, 2, 0], 0.001),  # inside server 1: 2 * 1 * 4e6 / (2 * 2e9) = 2 ms, / 2
        ([1, 1, 0], 0.005),  # over 0-1: 2 * 1 * 4e6 / (2 * 4e8) = 10 ms, / 2
        ([0, 1, 1], 0.020),  # over 1-2: 2 * 1 * 4e6 / (2 * 1e8) = 40 ms, / 2
        ([2, 0, 1], 0.08 / 9),  # over 0-2: 2 * 2 * 4e6 / (3 * 2e8) = 80/3 ms, / 3
        ([1, 1, 1], 0.16 / 9),  # over all, slowest 1e8: 2 * 2 * 4e6 / (3 * 1e8) = 160/3 ms, / 3
        ([1, 0, 0], 0.0),
    ],
)
def test_topology_all_reduce_runs_over_the_slowest_link_used(replicas, sync_s):
    assert stage_of(Topology(), THREE, [0.006] * 3, 4e6, replicas).sync_s == approx(sync_s)


def test_topology_all_reduce_between_servers_ignores_what_is_inside_them():
    fast_network = cluster_of([{"TitanV": 1}, {"TitanV": 1}], inside=1e8, between=1e10)
    found = stage_of(Topology(), fast_network, [0.0, 0.0], 1e10, [1, 1])
    assert found.sync_s == approx(0.5)  # 2 * 1 * 1e10 / (2 * 1e10) = 1 s, / 2


def test_topology_stage_waits_for_its_slowest_type():
    found = stage_of(Topology(), MIXED, [0.006, 0.012], 0.0, [1, 2])
    assert found.compute_s == approx(0.004)  # max(6, 12) ms / 3


def test_proportional_dispatch_adds_up_speeds():
    found = stage_of(Topology(dispatch="proportional"), MIXED, [0.006, 0.012], 3e6, [1, 2])
    assert found.compute_s == approx(0.003)  # 1 / (1 / 6 ms + 2 / 12 ms)
    assert found.sync_s == approx(0.004 / 3)  # as with equal turns


def test_proportional_dispatch_of_layers_that_take_no_time_takes_none():
    found = stage_of(Topology(dispatch="proportional"), MIXED, [0.0, 0.012], 3e6, [1, 2])
    assert found.compute_s == 0.0
    assert found.sync_s == approx(0.004 / 3)  # its weights are reduced all the same


@given(
    st.lists(st.floats(1e-6, 10.0), min_size=2, max_size=2),
    st.tuples(st.integers(0, 2), st.integers(0, 4)).filter(any),
)
def test_proportional_dispatch_is_never_slower_than_equal_turns(time_s, replicas):
    equal = stage_of(Topology(), MIXED, time_s, 0.0, replicas).compute_s
    proportional = stage_of(Topology(dispatch="proportional"), MIXED, time_s, 0.0, replicas)
    assert proportional.compute_s <= equal * (1 + 1e-12)


def test_on_one_type_both_dispatches_are_the_same():
    equal = stage_of(Topology(), FOUR_V, [0.012], 4e6, [3])
    proportional = stage_of(Topology(dispatch="proportional"), FOUR_V, [0.012], 4e6, [3])
    assert proportional.compute_s == approx(equal.compute_s)


# --- topology: cuts -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("earlier", "later", "transfer_s"),
    [
        ([1, 0, 0], [1, 0, 0], 0.016),  # inside server 0, one pair: 2 * 8e6 / 1e9
        ([0, 2, 0], [0, 1, 0], 0.008),  # inside server 1, min(2, 1) pairs: 2 * 8e6 / 2e9
        ([2, 0, 0], [2, 0, 0], 0.008),  # inside server 0, min(2, 2) pairs: 2 * 8e6 / (1e9 * 2)
        ([1, 0, 0], [0, 1, 0], 0.041),  # 0 to 1: 1 ms + 2 * 8e6 / 4e8
        ([2, 0, 0], [0, 2, 0], 0.041),  # as before: one network card a server
        ([0, 1, 0], [0, 0, 1], 0.163),  # 1 to 2: 3 ms + 2 * 8e6 / 1e8
        ([1, 0, 0], [0, 1, 1], 0.082),  # 0 to 1 and 2, min(1, 2) cards, slowest: 2 ms + 80 ms
        ([1, 1, 0], [0, 0, 2], 0.163),  # 0 and 1 to 2, slowest 1-2: 3 ms + 160 ms
        ([1, 0, 0], [1, 1, 0], 0.041),  # 0 to 0 and 1: the link 0-1, one card
        ([1, 1, 0], [1, 1, 0], 0.021),  # both on 0 and 1: two cards: 1 ms + 2 * 8e6 / (4e8 * 2)
        ([1, 1, 1], [1, 1, 0], 0.083),  # slowest 1-2, two cards: 3 ms + 2 * 8e6 / (1e8 * 2)
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_topology_cut(earlier, later, transfer_s, first):
    found = cut_of(Topology(), THREE, 8e6, earlier, later, earlier_is_first=first)
    assert found == CutTime(approx(transfer_s), approx(transfer_s))


def test_topology_cut_between_servers_ignores_what_is_inside_them():
    fast_network = cluster_of([{"TitanV": 1}, {"TitanV": 1}], inside=1e8, between=1e10)
    found = cut_of(Topology(), fast_network, 1e10, [1, 0], [1, 1])
    assert found.received_s == approx(2.0)  # 2 * 1e10 / 1e10


def test_topology_cut_of_no_bytes_still_waits_for_the_network():
    assert cut_of(Topology(), THREE, 0.0, [1, 0, 0], [0, 0, 1]).received_s == approx(0.002)


def test_topology_is_defined_everywhere():
    assert Topology().check(THREE) is None


# --- what all models share ------------------------------------------------------------------


@pytest.mark.parametrize("model", [PipeDream, SparsePipe, Topology])
def test_compression_divides_the_bytes_of_a_cut(model):
    plain = cut_of(model(1.0), FOUR_V, 6e6, [1], [1])
    packed = cut_of(model(4.0), FOUR_V, 6e6, [1], [1])
    assert packed.received_s == approx(plain.received_s / 4)
    assert packed.sent_s == approx(plain.sent_s / 4)


def test_compression_does_not_shorten_latency():
    found = cut_of(Topology(2.0), THREE, 8e6, [1, 0, 0], [0, 1, 0])
    assert found.received_s == approx(0.021)  # 1 ms + 2 * 8e6 / (2 * 4e8)


@pytest.mark.parametrize("model", [PipeDream, SparsePipe, Topology])
def test_without_transfers_a_cut_is_free(model):
    assert cut_of(model(None), FOUR_V, 6e6, [1], [1]) == CutTime(0.0, 0.0)


def test_without_transfers_there_is_no_latency_either():
    assert cut_of(Topology(None), THREE, 6e6, [1, 0, 0], [0, 1, 0]) == CutTime(0.0, 0.0)


@pytest.mark.parametrize("model", [PipeDream, SparsePipe, Topology])
def test_without_transfers_an_all_reduce_is_not_free(model):
    assert stage_of(model(None), FOUR_V, [0.0], 4e6, [4]).sync_s == approx(0.0015)


@pytest.mark.parametrize("ratio", [0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize("model", [PipeDream, SparsePipe, Topology])
def test_a_compression_ratio_is_a_positive_number(model, ratio):
    assert error_text(lambda: model(ratio)) == (
        f"the compression ratio is {ratio}; expected a positive number"
    )


# --- by name --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["topology", "pipedream", "sparsepipe"])
def test_a_model_is_found_by_its_name(name):
    model = make_cost_model(name, compression_ratio=2.0, overlap=False)
    assert type(model) is COST_MODELS[name]
    assert (model.name, model.version) == (name, 1)
    assert (model.compression_ratio, model.overlap) == (2.0, False)


def test_topology_takes_a_dispatch():
    assert make_cost_model("topology", dispatch="proportional") == Topology(dispatch="proportional")


def test_an_unknown_model_is_refused():
    assert error_text(lambda: make_cost_model("magic")) == (
        "unknown cost model 'magic'; expected topology, pipedream, sparsepipe, max-load"
    )


@pytest.mark.parametrize("name", ["pipedream", "sparsepipe"])
def test_published_models_have_no_dispatch(name):
    assert error_text(lambda: make_cost_model(name, dispatch="proportional")) == (
        f"--dispatch proportional needs cost model 'topology', not '{name}'"
    )


def test_an_unknown_dispatch_is_refused():
    assert "fastest" in error_text(lambda: make_cost_model("topology", dispatch="fastest"))
