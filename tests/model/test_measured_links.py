"""Measured links in a cluster.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagewright.model.cluster_file import parse_cluster_yaml
from stagewright.model.measured_links import Link, format_cluster_yaml, with_links

TEXT = """\
gpus:
  A: {profile: a.txt, memory_bytes: 12.0e+9, price_per_hour: 2.5}
servers:
  - {name: one, bandwidth_bytes_per_s: 1.0e+9, gpus: [{gpu: A, count: 2}]}
  - {name: two, bandwidth_bytes_per_s: 2.0e+9, latency_s: 1.0e-5, gpus: [{gpu: A, count: 1}]}
  - {name: 'null', bandwidth_bytes_per_s: 3, gpus: [{gpu: "B # not A", count: 1, profile: b}]}
links:
  bandwidth_bytes_per_s: 1.0e+8
  latency_s: 5.0e-5
  pairs:
    - {servers: [one, two], bandwidth_bytes_per_s: 7.0e+7}
    - {servers: [two, 'null'], bandwidth_bytes_per_s: 8.0e+7}
"""
STATED = parse_cluster_yaml(TEXT, Path("c.yaml"))
figures = st.builds(Link, st.floats(0, 1e3), st.floats(1e-3, 1e20))


def test_nothing_measured_changes_nothing():
    assert with_links(STATED, {}, {}) == STATED


def test_what_was_measured_takes_the_place_of_what_was_stated():
    found = with_links(
        STATED,
        {"two": Link(1e-6, 5e9)},
        {("two", "one"): Link(2e-6, 6e9), ("one", "null"): Link(3e-6, 7e9)},
    )
    assert [x.bandwidth_bytes_per_s for x in found.servers] == [1e9, 5e9, 3]
    assert [x.latency_s for x in found.servers] == [0, 1e-6, 0]
    pairs = {frozenset(x.servers): x for x in found.links.pairs}
    assert len(pairs) == len(found.links.pairs) == 3
    assert pairs[frozenset({"one", "two"})].bandwidth_bytes_per_s == 6e9
    assert pairs[frozenset({"one", "null"})].latency_s == 3e-6
    assert pairs[frozenset({"two", "null"})].bandwidth_bytes_per_s == 8e7
    assert found.links.bandwidth_bytes_per_s == 1e8
    assert found.gpus == STATED.gpus


@given(inside=figures, between=figures)
def test_what_is_written_reads_the_same(inside, between):
    found = with_links(STATED, {"one": inside}, {("one", "null"): between})
    assert parse_cluster_yaml(format_cluster_yaml(found), Path("c.yaml")) == found


def test_defaults_are_left_out():
    text = format_cluster_yaml(STATED)
    assert text.count("latency_s") == 2
    assert "null" not in text.replace("'null'", "")


@pytest.mark.parametrize("latency", [-1.0, float("nan"), float("inf")])
def test_what_no_cluster_may_state_is_refused(latency):
    with pytest.raises(ValueError, match="latency_s"):
        with_links(STATED, {"one": Link(latency, 1e9)}, {})
