"""A plan that is to be kept, read from its document."""

from __future__ import annotations

import json

import pytest

from builders import certificate, chain, error_text, instance_of, one_server, plan_of
from stagewright.model.costs import Topology
from stagewright.model.document import make_document
from stagewright.model.kept_plan import kept_stages

OLD = plan_of(("node1 node2", [3]), ("node3", [1]))


@pytest.fixture
def old(tmp_path):
    """The document of a plan for four GPUs."""
    instance = instance_of(chain([1, 2, 3]), one_server(4))
    document = make_document(instance, OLD, Topology(), certificate(), (None, None))
    path = tmp_path / "old.json"
    path.write_text(document.dumps(), encoding="utf-8")
    return path


def test_stages_are_kept_whatever_the_cluster_was(old):
    kept = kept_stages(old, 2, chain([1, 2, 3, 4]))
    assert (kept.stages, kept.most_moved) == ((("node1", "node2"), ("node3",)), 2)


def test_layers_that_are_gone_are_left_out(old):
    assert kept_stages(old, 0, chain([1, 2])).stages == (("node1", "node2"),)


def test_nothing_but_the_stages_is_read(old):
    data = json.loads(old.read_text(encoding="utf-8"))
    stages = [{"nodes": stage["nodes"]} for stage in data["stages"]]
    old.write_text(json.dumps({"schema": "of tomorrow", "stages": stages}), encoding="utf-8")
    assert kept_stages(old, 0, chain([1, 2, 3])).stages[1] == ("node3",)


HINT = ". Expected a plan document (stagewright.plan/1), as 'stagewright plan -o DIR' writes it"
ERRORS = {
    "no stages": ("{}", f"stages: is missing{HINT}"),
    "an empty list": (
        '{"stages": []}',
        f"stages: list should have at least 1 item after validation, not 0 (found []){HINT}",
    ),
    "stages without layers": ('{"stages": [{}]}', f"stages.0.nodes: is missing{HINT}"),
    "a layer that is a number": (
        '{"stages": [{"nodes": [3]}]}',
        f"stages.0.nodes.0: input should be a valid string (found 3){HINT}",
    ),
    "a layer in two stages": (
        '{"stages": [{"nodes": ["node1"]}, {"nodes": ["node1"]}]}',
        "'node1' is in 2 stages",
    ),
    "another network": (
        '{"stages": [{"nodes": ["conv1"]}]}',
        "the plan holds none of the layers to be planned (it has 'conv1'). Name an earlier plan "
        "of the same network",
    ),
}


@pytest.mark.parametrize(("text", "message"), ERRORS.values(), ids=ERRORS)
def test_a_file_that_is_no_plan_of_this_network_is_refused(tmp_path, text, message):
    path = tmp_path / "old.json"
    path.write_text(text, encoding="utf-8")
    assert error_text(lambda: kept_stages(path, 0, chain([1, 2]))) == f"{path}: {message}"
