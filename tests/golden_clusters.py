"""The clusters and profiles of the reference data: ``from golden_clusters import goldens, spelled``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from stagewright.model.cluster import Cluster, GpuGroup, level_cluster, uniform_links
from stagewright.model.graph import LayerGraph
from stagewright.model.instance import Instance, build_instance
from stagewright.model.profile import read_profile
from stagewright.model.rules import Rules

REFERENCE = Path(__file__).parents[2] / "shared" / "reference"
TYPES = {"V": ("TitanV", "tv"), "X": ("TitanXP", "txp"), "R": ("RTX", "RTX")}


def goldens(name: str) -> list[dict[str, Any]]:
    path = REFERENCE / "goldens" / name
    return [json.loads(x) for x in path.read_text().splitlines()] if path.is_file() else []


def profile(name: str) -> LayerGraph:
    return read_profile(REFERENCE / "profiles" / f"{name}.txt")


def levels(name: str, machines: list[int], bandwidths: list[float], rules: Rules) -> Instance:
    return build_instance({"G": profile(name)}, level_cluster("G", machines, bandwidths), rules)


def spelled(name: str, bandwidths: list[float]) -> Instance:
    """Read ``b64_2V2X+4R``: servers joined by ``+``, counts and types in file order."""
    batch, _, text = name.partition("_")
    example = name == "example"
    servers = [
        [(kind, int(n)) for n, kind in re.findall(r"(\d+)([VXR])", server)]
        for server in ("1V3X" if example else text).split("+")
    ]
    groups = [
        GpuGroup(s, TYPES[kind][0], n) for s, server in enumerate(servers) for kind, n in server
    ]
    prefix = "example" if example else f"minkvgg_{batch}"
    profiles = {
        TYPES[kind][0]: profile(f"{prefix}_{TYPES[kind][1]}") for x in servers for kind, _ in x
    }
    links = uniform_links([bandwidths[0]] * len(servers), bandwidths[-1])
    names = tuple(f"Server{s}" for s in range(len(servers)))
    return build_instance(profiles, Cluster(names, tuple(groups), *links))
