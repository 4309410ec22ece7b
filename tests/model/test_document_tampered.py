"""A tampered plan document is refused, with the file's name and the place in it."""

from __future__ import annotations

import copy
import json

import pytest
from document_example import BASE, document, saved

from builders import (
    error_text,
)
from stagewright.model.document import read_plan

HINT = ". Expected a plan document (stagewright.plan/1), as 'stagewright plan -o DIR' writes it"
AGAIN = ". Plan again, or correct the stages by hand"


def change(path: str, value: object):
    """Set the value at ``path`` (keys and positions, separated by dots)."""

    def apply(data):
        *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        for part in way:
            data = data[part]
        data[last] = value

    return apply


def remove(key: str):
    return lambda data: data.pop(key)


def swap_stages(data):
    data["stages"].reverse()


def split_wrongly(data):
    data["stages"][0]["nodes"], data["stages"][1]["nodes"] = ["x", "a", "c"], ["b"]


def name_a_server_twice(data):
    data["instance"]["cluster"]["servers"] = ["Server0", "Server1", "Server1"]


TAMPERED = {
    "stages swapped": (
        swap_stages,
        "the plan is not valid: input 'x' is in stage 1, not in stage 0" + AGAIN,
    ),
    "convexity broken": (
        split_wrongly,
        "the plan is not valid: 'c' in stage 0 needs 'b', which is in the later stage 1: the "
        "stages are not convex sets in pipeline order" + AGAIN,
    ),
    "node repeated": (
        change("stages.0.nodes", ["a", "b"]),
        "the plan is not valid: 'b' is in 2 stages" + AGAIN,
    ),
    "node missing": (
        change("stages.1.nodes", ["c"]),
        "the plan is not valid: 'b' is in no stage" + AGAIN,
    ),
    "node unknown": (
        change("stages.1.nodes", ["b", "c", "zz"]),
        "the plan is not valid: stage 1 names 'zz', which is not a layer" + AGAIN,
    ),
    "more GPUs than there are": (
        change("stages.0.replicas.0.count", 3),
        "the plan is not valid: 3 × TitanV in Server0 in use, of 2" + AGAIN,
    ),
    "no GPU": (
        change("stages.0.replicas", []),
        "the plan is not valid: stage 0 has no GPU" + AGAIN,
    ),
    "too little memory": (
        change("instance.cluster.groups.0.memory_bytes", 1.0),
        "the plan is not valid: stage 0 needs 0.0 GB on TitanV (0.0 GB): 5 × 0.00 GB of "
        "parameters, 2 × 0.00 GB of activations" + AGAIN,
    ),
    "too many stages": (
        change("instance.options.max_stages", 1),
        "the plan is not valid: 2 stages, though at most 1 are allowed" + AGAIN,
    ),
    "replicas on an unknown server": (
        change("stages.1.replicas.0.server", "Server9"),
        "stage 1 uses TitanXP in Server9, which the cluster lacks",
    ),
    "replicas of an unknown type": (
        change("stages.1.replicas.1.gpu", "RTX"),
        "stage 1 uses RTX in Server1, which the cluster lacks",
    ),
    "group on an unknown server": (
        change("instance.cluster.groups.0.server", "Server9"),
        "a GPU group names 'Server9', which is not a server",
    ),
    "server named twice": (name_a_server_twice, "server 'Server1' is named twice"),
    "negative count": (
        change("stages.0.replicas.0.count", -1),
        "stages.0.replicas.0.count: input should be greater than or equal to 1 (found -1)" + HINT,
    ),
    "negative time": (
        change("instance.graph.nodes.1.time_ms.TitanV", [-1.0, 1.0]),
        "instance.graph.nodes.1.time_ms.TitanV.0: input should be greater than or equal to 0 "
        "(found -1.0)" + HINT,
    ),
    "NaN": (
        change("instance.graph.nodes.1.parameter_bytes", float("nan")),
        "instance.graph.nodes.1.parameter_bytes: input should be a finite number (found nan)"
        + HINT,
    ),
    "infinity": (
        change("instance.cluster.bandwidth_bytes_per_s.0.0", float("inf")),
        "instance.cluster.bandwidth_bytes_per_s.0.0: input should be a finite number (found inf)"
        + HINT,
    ),
    "no bandwidth": (
        change("instance.cluster.bandwidth_bytes_per_s.0.0", 0),
        "instance.cluster.bandwidth_bytes_per_s.0.0: input should be greater than 0 (found 0)"
        + HINT,
    ),
    "one-sided bandwidth": (
        change("instance.cluster.bandwidth_bytes_per_s.0.1", 5.0),
        "bandwidth is not a symmetric 2 x 2 matrix",
    ),
    "ragged bandwidth": (
        change("instance.cluster.bandwidth_bytes_per_s.0", [1e9]),
        "bandwidth is not a symmetric 2 x 2 matrix",
    ),
    "no servers": (
        change("instance.cluster.servers", []),
        "a GPU group names 'Server0', which is not a server",
    ),
    "other schema": (
        change("schema", "stagewright.plan/2"),
        "schema: input should be 'stagewright.plan/1' (found 'stagewright.plan/2')" + HINT,
    ),
    "no schema": (remove("schema"), "schema: is missing" + HINT),
    "no stages": (
        change("stages", []),
        "stages: list should have at least 1 item after validation, not 0 (found [])" + HINT,
    ),
    "extra key": (
        change("colour", "red"),
        "colour: extra inputs are not permitted (found 'red')" + HINT,
    ),
    "extra key deep inside": (
        change("instance.options.speed", 1),
        "instance.options.speed: extra inputs are not permitted (found 1)" + HINT,
    ),
    "newer cost model": (
        change("instance.options.cost_model_version", 2),
        "instance.options.cost_model_version: input should be 1 (found 2)" + HINT,
    ),
    "unknown cost model": (
        change("cost_model", "magic"),
        "unknown cost model 'magic'; expected topology, pipedream, sparsepipe, max-load",
    ),
    "dispatch that the cost model lacks": (
        change("cost_model", "sparsepipe"),
        "--dispatch proportional needs cost model 'topology', not 'sparsepipe'",
    ),
    "no time on a type": (
        change("instance.graph.nodes.1.time_ms", {"TitanV": [1.0, 1.0]}),
        "node 'a' has no time on 'TitanXP'",
    ),
    "no activation size": (
        change("instance.graph.nodes.1.activation_bytes", []),
        "node 'a' has no activation size",
    ),
    "layer defined twice": (
        change("instance.graph.nodes.1.id", "b"),
        "node 'b' is defined twice",
    ),
    "edge to nowhere": (
        change("instance.graph.edges.0", ["a", "zz"]),
        "edge 'a -- zz' names 'zz', which is not a node",
    ),
    "cycle": (
        change("instance.graph.edges.0", ["c", "a"]),
        "the graph has a cycle: a -> b -> c -> a. A layer graph has to be acyclic; unroll "
        "recurrent layers",
    ),
    "huge count": (
        change("stages.0.replicas.0.count", 10**30),
        "stages.0.replicas.0.count: input should be less than or equal to 10000000 "
        f"(found {10**30})" + HINT,
    ),
    "number too large to hold": (
        change("instance.graph.nodes.1.parameter_bytes", 10**400),
        "instance.graph.nodes.1.parameter_bytes: input should be a finite number "
        f"(found 1{'0' * 58}…)" + HINT,
    ),
    "text instead of a number": (
        change("period_s", "fast"),
        "period_s: input should be a valid number, unable to parse string as a number "
        "(found 'fast')" + HINT,
    ),
}


@pytest.mark.parametrize(("tamper", "message"), TAMPERED.values(), ids=TAMPERED)
def test_a_tampered_document_is_refused_with_its_file_and_place(tmp_path, tamper, message):
    data = copy.deepcopy(BASE)
    tamper(data)
    path = saved(tmp_path, data)
    assert error_text(lambda: read_plan(path)) == f"{path}: {message}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "3",
        '"plan"',
        "{",
        "{}",
        "not JSON",
        "[" * 5000,
        '{"schema": "stagewright.plan/1"}',
        "\x00",
        "{'a': 1}",
    ],
)
def test_text_that_is_no_document_is_refused_with_its_file(tmp_path, text):
    path = saved(tmp_path, text)
    message = error_text(lambda: read_plan(path))
    assert message.startswith(f"{path}: ")
    assert message.endswith(HINT)


def test_a_document_cut_short_anywhere_is_refused(tmp_path):
    text = document().dumps()
    for length in range(0, len(text) - 2, 97):
        path = saved(tmp_path, text[:length])
        assert error_text(lambda path=path: read_plan(path)).startswith(f"{path}: invalid JSON")


def too_many_parameters(data):
    for node in data["instance"]["graph"]["nodes"]:
        node["parameter_bytes"] = 1.7e308


@pytest.mark.parametrize(
    "tamper",
    [
        change("instance.graph.nodes.1.time_ms.TitanV", [1.7e308, 1.7e308]),
        too_many_parameters,
        change("instance.graph.nodes.1.activation_bytes", [1.7e308, 1.7e308]),
        change("instance.options.activation_compression_ratio", 1e-320),
        change("instance.cluster.bandwidth_bytes_per_s", [[1e-320] * 2] * 2),
        lambda data: (
            change("instance.options.activation_compression_ratio", 1e-200)(data),
            change("instance.cluster.bandwidth_bytes_per_s", [[1e-200] * 2] * 2)(data),
        ),
    ],
    ids=["times", "parameters", "activations", "ratio", "bandwidth", "ratio and bandwidth"],
)
def test_figures_that_overflow_when_added_up_are_refused(tmp_path, tamper):
    data = copy.deepcopy(BASE)
    data["instance"]["options"]["use_memory_constraint"] = False
    tamper(data)
    path = saved(tmp_path, data)
    assert error_text(lambda: read_plan(path)).startswith(f"{path}: ")


def test_a_cost_model_that_is_not_defined_on_the_cluster_is_an_input_error(tmp_path):
    data = copy.deepcopy(BASE)
    data["cost_model"] = "pipedream"
    data["instance"]["options"]["dispatch"] = "equal"
    path = saved(tmp_path, data)
    message = error_text(lambda: read_plan(path))
    assert message.startswith(f"{path}: cost model 'pipedream' is flat")


@pytest.mark.parametrize("name", ["two words", "two\nlines", ""])
def test_a_node_name_that_profile_text_cannot_hold_is_refused(tmp_path, name):
    text = json.dumps(BASE).replace('"b"', json.dumps(name))
    path = saved(tmp_path, text)
    assert error_text(lambda: read_plan(path)).startswith(f"{path}: ")


def test_a_stage_that_says_it_is_another_is_refused(tmp_path):
    data = copy.deepcopy(BASE)
    data["stages"][0]["index"] = 7
    path = saved(tmp_path, data)
    assert error_text(lambda: read_plan(path)).startswith(f"{path}: ")


def test_two_stages_cannot_hold_the_same_ranks(tmp_path):
    data = copy.deepcopy(BASE)
    data["stages"][1]["ranks"] = data["stages"][0]["ranks"]
    path = saved(tmp_path, data)
    assert error_text(lambda: read_plan(path)).startswith(f"{path}: ")


def test_a_document_that_is_not_there_is_an_input_error(tmp_path):
    path = tmp_path / "plan.json"
    assert error_text(lambda: read_plan(path)) == (
        f"{path}: no such file; expected a plan document"
    )
