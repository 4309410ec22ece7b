"""Named sets of instances for ``stagewright bench``.

``samples`` needs this repository only; the others read a folder with measured profiles
(``profiles/``), answers of the published planners (``goldens/``) and outside workloads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stagewright.formulation.problem import Problem
from stagewright.model.cluster import Cluster, GpuGroup, level_cluster, uniform_links
from stagewright.model.costs import PipeDream, SparsePipe, Topology
from stagewright.model.errors import InputError
from stagewright.model.graph import LayerGraph
from stagewright.model.instance import build_instance
from stagewright.model.load import load_instance, read_cluster
from stagewright.model.profile import read_profile
from stagewright.scenarios.device_placement import read_workload

GPUS = (4, 8, 16, 32, 64)
BANDWIDTHS = (1e8, 1e9, 1e10)
FEWEST_LAYERS = 7
SPELLED = {"V": ("TitanV", "tv"), "X": ("TitanXP", "txp"), "R": ("RTX", "RTX")}
RACK_LINKS = ((1e10, 1e9), (1e9, 1e8), (1e10, 1e10))
"""Bandwidths inside and between servers, bytes/s."""


@dataclass(frozen=True)
class Case:
    """One instance.

    Attributes
    ----------
    name
        For the table.
    problem
        Builds it; files are read only when it is asked for.
    published_s
        What the published planner answered, in seconds per minibatch, or ``None``.
    """

    name: str
    problem: Callable[[], Problem]
    published_s: float | None = None


def samples(folder: Path) -> Iterator[Case]:
    """The sample clusters of this repository (``hete_files``), under ``topology``."""
    for file in sorted([*folder.glob("*.txt"), *folder.glob("*.yaml")]):
        bandwidths = (None,) if file.suffix == ".yaml" else BANDWIDTHS
        for bandwidth in bandwidths:
            given = [] if bandwidth is None else [bandwidth]
            title = file.name if bandwidth is None else f"{file.name} {bandwidth:g}"

            def build(file: Path = file, given: list[float] = given) -> Problem:
                return Problem(load_instance(read_cluster(file, given)), Topology())

            yield Case(title, build)


def profiles(folder: Path) -> Iterator[Case]:
    """Every measured profile of more than six layers on 4 to 64 like GPUs, under ``pipedream``."""
    published = {
        (x["profile"], x["n"][0], x["b"][0]): x["pipeline_time"]
        for x in _goldens(folder, "pipedream_dp.jsonl")
        if len(x["n"]) == 1 and x["ratio"] == 1 and not x["extra"]
    }
    for file in sorted((folder / "profiles").glob("*.txt")):
        graph = read_profile(file)
        if len(graph.planned) < FEWEST_LAYERS:
            continue
        for n in GPUS:
            for b in BANDWIDTHS:

                def build(graph: LayerGraph = graph, n: int = n, b: float = b) -> Problem:
                    cluster = level_cluster("GPU", [n], [b])
                    return Problem(build_instance({"GPU": graph}, cluster), PipeDream())

                yield Case(f"{file.stem} {n} {b:.0e}", build, published.get((file.stem, n, b)))


def mixed(folder: Path) -> Iterator[Case]:
    """MinkVGG on the clusters of the published heterogeneous planner."""
    for golden in _goldens(folder, "sparsepipe_dp.jsonl"):
        name, bandwidths = str(golden["cluster"]), [float(b) for b in golden["b"]]
        if name == "example":
            continue

        def build(name: str = name, bandwidths: list[float] = bandwidths) -> Problem:
            problem = _spelled(folder, name, bandwidths)
            return problem if "+" in name else replace(problem, cost_model=SparsePipe())

        links = " ".join(f"{x:.0e}" for x in bandwidths)
        yield Case(f"{name} {links}", build, float(golden["pipeline_time"]))


def racks(folder: Path) -> Iterator[Case]:
    """Racks of up to four GPU types; the types beyond the measured ones are scaled."""
    shapes = {
        "2 servers x (8 TitanV + 8 TitanXP)": [{"TitanV": 8, "TitanXP": 8}] * 2,
        "4 servers x 8, one type each": [{gpu: 8} for gpu in _RACK_TYPES],
        "4 servers x (2 of each of 4 types)": [dict.fromkeys(_RACK_TYPES, 2)] * 4,
        "16 servers x 8, 4 types": [{gpu: 8} for gpu in _RACK_TYPES] * 4,
    }
    for batch in ("b64", "b128"):
        for title, servers in shapes.items():
            for inside, between in RACK_LINKS:

                def build(
                    batch: str = batch,
                    servers: list[dict[str, int]] = servers,
                    links: tuple[float, float] = (inside, between),
                ) -> Problem:
                    return _rack(_minkvgg(folder, batch), servers, links)

                yield Case(f"minkvgg {batch}, {title} {inside:.0e} {between:.0e}", build)
    resnet = folder / "profiles" / "resnet50.txt"
    many = [{gpu: 8} for gpu in _RACK_TYPES] * 32

    def large() -> Problem:
        graph = read_profile(resnet)
        factors = dict(zip(_RACK_TYPES, (1.0, 2.0, 0.5, 0.25), strict=True))
        return _rack({gpu: _scaled(graph, f) for gpu, f in factors.items()}, many, (1e10, 1e9))

    yield Case("resnet50, 128 servers x 8, 4 types 1e+10 1e+09", large)


def workloads(folder: Path) -> Iterator[Case]:
    """The device placement workloads, under ``max-load``."""
    file = folder / "goldens" / "dnn_partitioning_dp.json"
    known = json.loads(file.read_text()) if file.is_file() else {}
    for path in sorted((folder / "dnn_partitioning").rglob("*.json")):
        name = str(path.relative_to(folder / "dnn_partitioning"))
        load = known.get(name, {}).get("dp", {}).get("max_load")

        def build(path: Path = path) -> Problem:
            return read_workload(path)

        yield Case(name, build, None if load is None else load / 1000)


SUITES: dict[str, Callable[[Path], Iterator[Case]]] = {
    "samples": samples,
    "profiles": profiles,
    "mixed": mixed,
    "racks": racks,
    "workloads": workloads,
}

_RACK_TYPES = ("TitanV", "TitanXP", "RTX", "fast")


def _goldens(folder: Path, name: str) -> list[dict[str, Any]]:
    file = folder / "goldens" / name
    if not file.is_file():
        raise InputError(
            "is not there", source=file, hint="Name the folder of the reference data (--reference)"
        )
    return [json.loads(line) for line in file.read_text().splitlines()]


def _scaled(graph: LayerGraph, factor: float) -> LayerGraph:
    layers = (
        replace(x, forward_ms=x.forward_ms * factor, backward_ms=x.backward_ms * factor)
        for x in graph.layers
    )
    return replace(graph, layers=tuple(layers))


def _minkvgg(folder: Path, batch: str) -> dict[str, LayerGraph]:
    """Three measured GPU types, and one that is 2.5 times as fast as a TitanV."""
    found = {
        gpu: read_profile(folder / "profiles" / f"minkvgg_{batch}_{short}.txt")
        for gpu, short in SPELLED.values()
    }
    return {**found, "fast": _scaled(found["TitanV"], 0.4)}


def _rack(
    graphs: dict[str, LayerGraph], servers: list[dict[str, int]], links: tuple[float, float]
) -> Problem:
    groups = tuple(GpuGroup(s, gpu, n) for s, held in enumerate(servers) for gpu, n in held.items())
    bandwidth, latency = uniform_links([links[0]] * len(servers), links[1])
    names = tuple(f"Server{s}" for s in range(len(servers)))
    cluster = Cluster(names, groups, bandwidth, latency)
    instance = build_instance({gpu: graphs[gpu] for gpu in cluster.gpu_types}, cluster)
    return Problem(instance, Topology())


def _spelled(folder: Path, name: str, bandwidths: list[float]) -> Problem:
    """Read ``b64_2V2X+4R``: servers joined by ``+``, counts and types in file order."""
    batch, _, text = name.partition("_")
    servers = [
        {SPELLED[kind][0]: int(n) for n, kind in re.findall(r"(\d+)([VXR])", server)}
        for server in text.split("+")
    ]
    return _rack(_minkvgg(folder, batch), servers, (bandwidths[0], bandwidths[-1]))
