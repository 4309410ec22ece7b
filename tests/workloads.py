"""Small device placement workloads, and their load as their format defines it.

``from workloads import workload, node, edge, problem_of, max_load_ms``.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from stagewright.formulation.problem import Problem
from stagewright.model.max_load import HOST
from stagewright.model.plan import Plan
from stagewright.scenarios.device_placement import read_workload

Workload = dict[str, Any]


def node(
    number: int, cpu: float = 10.0, fpga: float = 1.0, size: float = 0.0, **more: Any
) -> Workload:
    """One node; ``more`` are further fields of the format."""
    return {
        "id": number,
        "supportedOnFpga": 1,
        "cpuLatency": cpu,
        "fpgaLatency": fpga,
        "isBackwardNode": 0,
        "size": size,
        **more,
    }


def edge(source: int, target: int, cost: float = 0.0) -> Workload:
    """One edge."""
    return {"sourceId": source, "destId": target, "cost": cost}


def workload(
    nodes: list[Workload],
    edges: list[Workload],
    fpgas: int = 2,
    cpus: int = 0,
    memory: float = 1e9,
) -> Workload:
    """A whole file."""
    return {
        "maxSizePerFPGA": memory,
        "maxFPGAs": fpgas,
        "maxCPUs": cpus,
        "nodes": nodes,
        "edges": edges,
    }


def problem_of(folder: Path, content: object) -> Problem:
    """Write a workload to a file and read it."""
    path = folder / "network.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_workload(path)


def nodes_of_layers(problem: Problem) -> dict[str, list[int]]:
    """Nodes that each layer joins, read from its description (``Nodes 1 name, 2``)."""
    return {
        x.id: [int(part.split()[0]) for part in x.description.removeprefix("Nodes ").split(", ")]
        for x in problem.instance.graph.layers
    }


def max_load_ms(content: Workload, problem: Problem, plan: Plan) -> float:
    """The largest load, node by node and edge by edge, as the format's authors define it."""
    layers = nodes_of_layers(problem)
    device = {v: k for k, stage in enumerate(plan.stages) for x in stage.nodes for v in layers[x]}
    gpus = [group.gpu for group in problem.instance.cluster.groups]
    host = [gpus[stage.replicas.index(1)] == HOST for stage in plan.stages]
    load: dict[int, float] = defaultdict(float)
    for x in content["nodes"]:
        k = device[x["id"]]
        load[k] += x["cpuLatency"] if host[k] else x["fpgaLatency"]
    readers: dict[int, set[int]] = defaultdict(set)
    for e in content["edges"]:
        readers[e["sourceId"]].add(device[e["destId"]])
    cost = {e["sourceId"]: e["cost"] for e in content["edges"]}
    for source, devices in readers.items():
        outside = devices - {device[source]}
        for k in outside | ({device[source]} if outside else set()):
            load[k] += 0.0 if host[k] else cost[source]
    return max(load.values())


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    """Up to six forward nodes, most with a backward node, and now and then a stray one."""
    size = draw(st.integers(1, 6))
    times = st.sampled_from([0.0, 1.0, 2.0, 5.0, 7.5])
    sizes = st.sampled_from([0.0, 1.0, 4.0])
    colours = [draw(st.sampled_from([v, v, v, max(0, v - 1), None])) for v in range(size)]
    training = draw(st.booleans())
    nodes, pairs = [], []
    for v in range(size):
        supported = draw(st.sampled_from([True, True, True, False]))
        colour = {} if colours[v] is None else {"colorClass": colours[v]}
        fields = {"supportedOnFpga": supported, **colour}
        nodes.append(node(v, draw(times) * 3, draw(times), draw(sizes), **fields))
        pairs += [(u, v) for u in range(v) if draw(st.sampled_from([True, False]))]
        if training:
            fields = {"isBackwardNode": True, **draw(st.sampled_from([colour, colour, {}]))}
            nodes.append(node(v + 10, draw(times) * 3, draw(times), draw(sizes), **fields))
    if training:
        pairs += [(v + 10, u + 10) for u, v in pairs]
        pairs += [(v, v + 10) for v in range(size) if draw(st.booleans())]
    cost = {v["id"]: draw(times) for v in nodes}
    edges = [edge(u, v, cost[u]) for u, v in draw(st.permutations(pairs))]
    return workload(
        draw(st.permutations(nodes)),
        edges,
        fpgas=draw(st.integers(0, 3)),
        cpus=draw(st.integers(1, 2)),
        memory=draw(st.sampled_from([3.0, 8.0, 100.0])),
    )
