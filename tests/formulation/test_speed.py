"""How long the dynamic programmes take; three times the usual, for a machine that is busy."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders import graph_of, layer
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.run import run_planner
from stagewright.model.cluster import level_cluster
from stagewright.model.costs import PipeDream, SparsePipe
from stagewright.model.graph import LayerGraph
from stagewright.model.instance import Instance, build_instance
from stagewright.model.profile import read_profile
from stagewright.model.server_file import read_server_file

pytestmark = pytest.mark.slow

NOISE = 3
SERVER_FILE = Path(__file__).parents[2] / "hete_files" / "titanv4_titanxp3.txt"


def residual_graph(nodes: int) -> LayerGraph:
    """Blocks of convolutions with a shortcut around each, as in a residual network."""
    layers = [
        layer(f"n{i}", 1 + i % 7, 2 + i % 5, 1e6 * (1 + i % 3), 1e5 * (i % 11), "Conv2d(64, 64)")
        for i in range(nodes)
    ]
    steps = [f"n{i}->n{i + 1}" for i in range(nodes - 1)]
    shortcuts = [f"n{i}->n{i + 10}" for i in range(0, nodes - 10, 11)]
    return graph_of(layers, " ".join([*steps, *shortcuts]), "residual")


def least_wall_s(name: str, problem: Problem, runs: int = 5) -> float:
    """Seconds of the fastest of several runs, as the certificate states them."""
    return min(run_planner(name, problem, Settings()).certificate.wall_s for _ in range(runs))


def mixed_server() -> Instance:
    file = read_server_file(SERVER_FILE, [1e9])
    profiles = {gpu: read_profile(path) for gpu, path in file.profiles.items()}
    return build_instance(profiles, file.cluster)


def test_pipedream_dp_on_a_residual_network_of_176_nodes():
    instance = build_instance({"GPU": residual_graph(176)}, level_cluster("GPU", [16], [1e10]))
    assert least_wall_s("pipedream-dp", Problem(instance, PipeDream())) < 0.2 * NOISE


@pytest.mark.parametrize("name", ["sparsepipe-dp", "exact-dp"])
def test_on_seven_mixed_gpus(name):
    assert least_wall_s(name, Problem(mixed_server(), SparsePipe())) < 0.1 * NOISE
