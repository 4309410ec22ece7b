"""From files to an instance: which reader is used, what is assumed and said."""

from __future__ import annotations

import pytest

from builders import chain, error_text, write_profile
from stagewright.model.load import load_instance, read_cluster, read_levels
from stagewright.model.rules import Rules

YAML = """\
servers:
  - {name: s, bandwidth_bytes_per_s: 1e9, gpus: [{gpu: G, count: 2, profile: g.txt}]}
"""


@pytest.fixture
def folder(tmp_path):
    write_profile(tmp_path, chain([1, 2]), "g.txt")
    (tmp_path / "servers.txt").write_text("Server0\n G 2 g.txt\n")
    (tmp_path / "cluster.yaml").write_text(YAML)
    (tmp_path / "cluster.yml").write_text(YAML)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "server"), [("servers.txt", "Server0"), ("cluster.yaml", "s"), ("cluster.yml", "s")]
)
def test_the_suffix_says_how_to_read(folder, file, server):
    assert read_cluster(folder / file).cluster.servers == (server,)


def test_a_server_file_takes_bandwidth_and_memory(folder):
    cluster = read_cluster(folder / "servers.txt", [5e9], 8e9).cluster
    assert cluster.bandwidth_bytes_per_s == ((5e9,),)
    assert cluster.groups[0].memory_bytes == 8e9


@pytest.mark.parametrize("options", [{"bandwidths_bytes_per_s": [1e9]}, {"memory_bytes": 8e9}])
def test_a_cluster_yaml_states_bandwidth_and_memory_itself(folder, options):
    path = folder / "cluster.yaml"
    assert error_text(lambda: read_cluster(path, **options)) == (
        f"{path}: -b and -s are for server files; a cluster.yaml states bandwidths and memory "
        "itself"
    )


def test_levels_are_like_gpus_with_one_profile(folder):
    read = read_levels(folder / "g.txt", [2, 3], [1e10, 1e9], 8e9)
    assert read.cluster.counts == (2, 2, 2)
    assert {g.memory_bytes for g in read.cluster.groups} == {8e9}
    assert read.cluster.bandwidth_bytes_per_s[0] == (1e10, 1e9, 1e9)
    assert list(read.profiles.values()) == [folder / "g.txt"]
    assert read.notes == ()


def test_levels_without_a_bandwidth_use_the_published_default_and_say_so(folder):
    read = read_levels(folder / "g.txt", [2, 2])
    assert read.cluster.bandwidth_bytes_per_s == ((1e8, 1e8), (1e8, 1e8))
    assert read.notes == (
        "no bandwidth given (-b): assuming 1e+08 bytes/s, the published tools' default",
    )


def test_no_levels_at_all_are_an_input_error(folder):
    assert error_text(lambda: read_levels(folder / "g.txt", []))


def test_the_profiles_are_read_and_joined(folder):
    instance = load_instance(read_cluster(folder / "servers.txt", [1e9]))
    assert instance.nodes == ("node1", "node2")
    assert instance.time_s.tolist() == [[0.001, 0.002]]
    assert instance.notes == ()


def test_memory_that_nobody_states_is_the_published_default_where_it_matters(folder):
    read = read_cluster(folder / "servers.txt", [1e9])
    instance = load_instance(read, Rules(use_memory=True))
    assert instance.cluster.groups[0].memory_bytes == 16e9
    assert instance.notes == (
        "no memory given for some GPUs (-s): assuming 1.6e+10 bytes, the published tools' default",
    )
    assert load_instance(read).cluster.groups[0].memory_bytes is None


def test_memory_that_is_stated_is_kept(folder):
    read = read_cluster(folder / "servers.txt", [1e9], 8e9)
    instance = load_instance(read, Rules(use_memory=True))
    assert instance.cluster.groups[0].memory_bytes == 8e9
    assert instance.notes == ()


def test_a_profile_that_is_not_there_is_named(folder):
    text = error_text(lambda: load_instance(read_levels(folder / "gone.txt", [1], [1e9])))
    assert text == f"{folder / 'gone.txt'}: no such file; expected a profile"
