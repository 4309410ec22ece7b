"""The cost models charge a published plan what its published planner says it costs.

The planners' own answers (stages, replicas and predicted time) lie in the reference data. Only
networks whose layers form a chain are used: there a planner's state is a position.
"""

from __future__ import annotations

import dataclasses
import json
import re

import networkx as nx
import pytest
from pytest import approx  # noqa: PT013 - it is written in every line here

from builders import instance_of, one_server, plan_of
from stagewright.model.costs import PipeDream, SparsePipe, Topology
from stagewright.model.evaluate import evaluate
from stagewright.model.graph import LayerGraph
from stagewright.model.instance import build_instance
from stagewright.model.profile import read_profile

pytestmark = pytest.mark.reference

TYPES = {"V": ("TitanV", "tv"), "X": ("TitanXP", "txp"), "R": ("RTX", "RTX")}


def answers(reference, name: str) -> list[dict]:
    lines = (reference / "goldens" / name).read_text().splitlines()
    return [json.loads(line) for line in lines]


def in_order(graph: LayerGraph) -> list[str]:
    """Planned nodes of a chain, first to last."""
    planned = graph.digraph.subgraph(graph.planned)
    order = list(nx.topological_sort(planned))
    assert nx.is_path(planned, order)
    return order


def is_chain(graph: LayerGraph) -> bool:
    planned = graph.digraph.subgraph(graph.planned)
    return (
        planned.number_of_edges() == len(planned) - 1
        and nx.dag_longest_path_length(planned) == len(planned) - 1
    )


def test_pipedream_charges_what_the_published_planner_claims(reference):
    checked = 0
    graphs: dict[str, LayerGraph] = {}
    for answer in answers(reference, "pipedream_dp.jsonl"):
        name, levels = answer["profile"], answer["levels"]
        graph = graphs.setdefault(name, read_profile(reference / "profiles" / f"{name}.txt"))
        if len(levels) > 1 or not is_chain(graph):
            continue
        order = in_order(graph)
        plan = plan_of(*((" ".join(order[a:b]), [m]) for a, b, m in levels[0]["stages"]))
        instance = instance_of(graph, one_server(answer["n"][0], answer["b"][0]))
        found = evaluate(instance, plan, PipeDream(answer["ratio"]))
        assert found.valid, answer
        assert found.period_s == approx(answer["pipeline_time"], rel=1e-9), answer
        checked += 1
    assert checked >= 50


def mixed_server(reference, name: str) -> dict[str, tuple[int, LayerGraph]]:
    """Count and profile of each GPU type of a cluster called like ``b64_4V3X``."""
    if name == "example":
        files = {"TitanV": (1, "example_tv"), "TitanXP": (3, "example_txp")}
    else:
        batch, groups = name.split("_")
        files = {
            TYPES[letter][0]: (int(count), f"minkvgg_{batch}_{TYPES[letter][1]}")
            for count, letter in re.findall(r"(\d)([VXR])", groups)
        }
    return {
        gpu: (count, read_profile(reference / "profiles" / f"{file}.txt"))
        for gpu, (count, file) in files.items()
    }


def with_sizes_of(first: LayerGraph, graph: LayerGraph) -> LayerGraph:
    """The published planner takes all sizes from the first type's profile."""
    layers = tuple(
        dataclasses.replace(first.by_id[x.id], forward_ms=x.forward_ms, backward_ms=x.backward_ms)
        for x in graph.layers
    )
    return dataclasses.replace(graph, layers=layers)


def test_sparsepipe_charges_what_the_published_planner_claims(reference):
    checked = 0
    for answer in answers(reference, "sparsepipe_dp.jsonl"):
        if "+" in answer["cluster"]:
            continue
        groups = mixed_server(reference, answer["cluster"])
        (_, first), *_ = groups.values()
        order = in_order(first)
        stages = answer["levels"][0]["stages"]
        plan = plan_of(
            *(
                (" ".join(order[s["start"] : s["end"]]), [s["gpus"].count(g) for g in groups])
                for s in stages
            )
        )
        instance = build_instance(
            {gpu: with_sizes_of(first, graph) for gpu, (_, graph) in groups.items()},
            one_server({gpu: count for gpu, (count, _) in groups.items()}, answer["b"][0]),
        )
        found = evaluate(instance, plan, SparsePipe(1.0))
        assert found.valid, answer
        assert found.period_s == approx(answer["pipeline_time"], rel=1e-9), answer
        checked += 1
    assert checked >= 20


def test_on_the_example_one_gpu_beats_the_published_plan_for_four(reference):
    """DESIGN: the published planner predicts 0.6219 s on four GPUs; one TitanV takes 0.0054 s."""
    groups = mixed_server(reference, "example")
    instance = build_instance(
        {gpu: graph for gpu, (_, graph) in groups.items()},
        one_server({gpu: count for gpu, (count, _) in groups.items()}, 1e8),
    )
    everything = " ".join(instance.nodes)
    four = evaluate(instance, plan_of((everything, [1, 3])), Topology())
    one = evaluate(instance, plan_of((everything, [1, 0])), Topology())
    assert four.period_s == approx(0.6219, abs=5e-5)
    assert one.period_s == approx(0.0054, abs=5e-5)
