"""Clusters: links, levels, and what is no cluster."""

from __future__ import annotations

import math

import pytest

from builders import cluster_of, error_text, one_server
from stagewright.model.cluster import Cluster, GpuGroup, level_cluster, uniform_links

A, B = GpuGroup(0, "TitanV", 2), GpuGroup(1, "TitanXP", 1)
FLAT = ((1e9, 1e8), (1e8, 1e9))
NO_LATENCY = ((0.0, 0.0), (0.0, 0.0))


def two(**changes) -> Cluster:
    """Two servers, with any part replaced."""
    parts = {
        "servers": ("Server0", "Server1"),
        "groups": (A, B),
        "bandwidth_bytes_per_s": FLAT,
        "latency_s": NO_LATENCY,
    }
    return Cluster(**{**parts, **changes})


def test_counts_and_types_come_in_file_order():
    cluster = cluster_of([{"TitanXP": 3, "TitanV": 1}, {"TitanV": 2}])
    assert cluster.counts == (3, 1, 2)
    assert cluster.gpu_count == 6
    assert cluster.gpu_types == ("TitanXP", "TitanV")


@pytest.mark.parametrize(
    ("replicas", "servers"),
    [((1, 0, 0), (0,)), ((1, 2, 0), (0,)), ((0, 0, 1), (1,)), ((0, 1, 1), (0, 1)), ((0, 0, 0), ())],
)
def test_servers_of_are_those_with_a_replica(replicas, servers):
    cluster = cluster_of([{"TitanV": 2, "TitanXP": 2}, {"TitanV": 2}])
    assert cluster.servers_of(replicas) == servers


def test_a_cluster_is_described_in_one_line():
    cluster = cluster_of([{"TitanV": 1, "TitanXP": 3}, {"RTX": 4}])
    assert cluster.describe() == "Server0: TitanV×1, TitanXP×3; Server1: RTX×4"


def test_uniform_links_have_latency_between_servers_only():
    bandwidth, latency = uniform_links([5.0, 7.0], 2.0, latency_s=0.5)
    assert bandwidth == ((5.0, 2.0), (2.0, 7.0))
    assert latency == ((0.0, 0.5), (0.5, 0.0))


# --- PipeDream's levels ---------------------------------------------------------------------


def test_one_level_is_one_server():
    assert level_cluster("TitanV", [4], [1e10]).bandwidth_bytes_per_s == ((1e10,),)
    assert level_cluster("TitanV", [4], [1e10]).counts == (4,)


def test_two_servers_talk_at_the_innermost_level_that_holds_both():
    cluster = level_cluster("TitanV", [4, 2, 2], [1e10, 1e9, 1e8])
    assert cluster.counts == (4, 4, 4, 4)
    assert cluster.bandwidth_bytes_per_s == (
        (1e10, 1e9, 1e8, 1e8),
        (1e9, 1e10, 1e8, 1e8),
        (1e8, 1e8, 1e10, 1e9),
        (1e8, 1e8, 1e9, 1e10),
    )


def test_a_bandwidth_is_needed_for_each_level():
    assert error_text(lambda: level_cluster("TitanV", [4, 2], [1e9])) == (
        "2 levels (-n) but 1 bandwidths (-b); expected one bandwidth per level"
    )


@pytest.mark.parametrize("counts", [[0], [4, 0], [4, -1]])
def test_a_level_has_at_least_one_machine(counts):
    text = error_text(lambda: level_cluster("TitanV", counts, [1e9] * len(counts)))
    assert text == "a level (-n) has fewer than 1 machine"


def test_no_levels_at_all_are_an_input_error():
    assert error_text(lambda: level_cluster("TitanV", [], []))


# --- what is refused ------------------------------------------------------------------------

RAGGED = ((1e9,), (1e8, 1e9))
ERRORS = {
    "no servers": ({"servers": (), "groups": ()}, "the cluster has no servers"),
    "name twice": ({"servers": ("S", "S")}, "server 'S' is named twice"),
    "server without GPUs": ({"groups": (A,)}, "server 'Server1' has no GPUs"),
    "type twice": (
        {"groups": (A, A, B)},
        "server 'Server0' lists 'TitanV' twice. Add up the counts in one line",
    ),
    "unknown server": (
        {"groups": (A, B, GpuGroup(2, "RTX", 1))},
        "group 'RTX' is in server 2 of 2",
    ),
    "no GPUs in a group": (
        {"groups": (A, GpuGroup(1, "RTX", 0))},
        "group 'RTX' has 0 GPUs; expected 1 or more",
    ),
    "memory": (
        {"groups": (A, GpuGroup(1, "RTX", 1, -1.0))},
        "group 'RTX': memory is not a positive number of bytes",
    ),
    "asymmetric bandwidth": (
        {"bandwidth_bytes_per_s": ((1e9, 1e8), (1e7, 1e9))},
        "bandwidth is not a symmetric 2 x 2 matrix",
    ),
    "small bandwidth": (
        {"bandwidth_bytes_per_s": ((1e9,),)},
        "bandwidth is not a symmetric 2 x 2 matrix",
    ),
    "ragged bandwidth": (
        {"bandwidth_bytes_per_s": RAGGED},
        "bandwidth is not a symmetric 2 x 2 matrix",
    ),
    "ragged latency": (
        {"latency_s": ((0.0,), (0.0, 0.0))},
        "latency is not a symmetric 2 x 2 matrix",
    ),
    "no bandwidth": (
        {"bandwidth_bytes_per_s": ((1e9, 0.0), (0.0, 1e9))},
        "a bandwidth is not a positive number of bytes/s",
    ),
    "infinite bandwidth": (
        {"bandwidth_bytes_per_s": ((1e9, math.inf), (math.inf, 1e9))},
        "a bandwidth is not a positive number of bytes/s",
    ),
    "bandwidth not a number": (
        {"bandwidth_bytes_per_s": ((math.nan, 1e8), (1e8, 1e9))},
        "a bandwidth is not a positive number of bytes/s",
    ),
    "negative latency": (
        {"latency_s": ((0.0, -1.0), (-1.0, 0.0))},
        "a latency is not a number of seconds of 0 or more",
    ),
    "latency not a number": (
        {"latency_s": ((0.0, math.nan), (math.nan, 0.0))},
        "a latency is not a number of seconds of 0 or more",
    ),
}


@pytest.mark.parametrize(("changes", "message"), ERRORS.values(), ids=ERRORS)
def test_what_is_no_cluster_is_refused(changes, message):
    assert error_text(lambda: two(**changes)) == message


def test_bandwidths_are_an_array_by_server():
    assert one_server(4, 5e9).bandwidth.tolist() == [[5e9]]
    assert two().bandwidth.shape == two().latency.shape == (2, 2)
