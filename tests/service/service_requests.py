"""Requests that tests send."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

SAMPLES = Path(__file__).parents[2] / "hete_files"

PROFILES = {path.name: path.read_text() for path in (SAMPLES / "profiles").glob("minkvgg_*.txt")}


def chain_text(times_ms: list[float], description: str = "Linear(8, 8)") -> str:
    """A profile of layers one after the other."""
    lines = [
        f"node{i} -- {description} -- forward_compute_time={t}, backward_compute_time={2 * t}, "
        "activation_size=1000.0, parameter_size=10.0"
        for i, t in enumerate(times_ms, 1)
    ]
    edges = [f"\tnode{i} -- node{i + 1}" for i in range(1, len(times_ms))]
    return "\n".join([*lines, *edges]) + "\n"


SMALL: dict[str, Any] = {
    "problem": {
        "cluster": "Server0\n    A 1 a.txt\n    B 2 b.txt\n",
        "profiles": {"a.txt": chain_text([1, 2, 3, 2]), "b.txt": chain_text([2, 4, 6, 4])},
        "bandwidths_bytes_per_s": [1e9],
    },
    "search": {"time_limit_s": 200, "workers": 1},
}
"""Solved in a moment."""

MINKVGG: dict[str, Any] = {
    "problem": {
        "cluster": (SAMPLES / "test_server.txt").read_text(),
        "profiles": PROFILES,
        "bandwidths_bytes_per_s": [1e8],
    },
    "search": {"time_limit_s": 120, "workers": 1},
}
"""A real network, solved in a moment."""

HARD: dict[str, Any] = {
    "problem": {
        "cluster": {
            "servers": [
                {
                    "name": f"Server{k}",
                    "bandwidth_bytes_per_s": 1e9 + k * 1e8,
                    "gpus": [
                        {"gpu": gpu, "count": 2, "profile": name, "memory_bytes": 1.2e9}
                        for gpu, name in (
                            ("TitanV", "minkvgg_titanv.txt"),
                            ("TitanXP", "minkvgg_titanxp.txt"),
                            ("RTX2080Ti", "minkvgg_rtx2080ti.txt"),
                        )
                    ],
                }
                for k in range(4)
            ],
            "links": {"bandwidth_bytes_per_s": 1e9},
        },
        "profiles": PROFILES,
        "cost_model": {"dispatch": "proportional"},
        "constraints": {"memory": {"use": True}, "recompute": "auto"},
    },
    "search": {"time_limit_s": 120, "workers": 1},
}
"""Not proven in minutes; the first plan comes in seconds, for a GPU can just hold the network."""


def changed(request: dict[str, Any], **problem: Any) -> dict[str, Any]:
    """A request with some keys of its problem changed."""
    found = copy.deepcopy(request)
    found["problem"].update(problem)
    return found
