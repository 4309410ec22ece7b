"""Small instances on which a solver or its rounding has been wrong before."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import pytest

from brute_force import best_period_s
from builders import cluster_of, graph_of, instance_of, layer, one_server
from random_instances import with_memory
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.run import run_planner
from stagewright.model.costs import PipeDream, SparsePipe, Topology
from stagewright.model.graph import LayerGraph
from stagewright.model.instance import build_instance
from stagewright.model.plan import Status
from stagewright.model.rules import MemoryModel, Optimizer, Rules, Versions


def parallel(times_ms: Sequence[float], parameter_bytes: Sequence[float] = ()) -> LayerGraph:
    """Layers without edges."""
    sizes = [*parameter_bytes, *[0.0] * (len(times_ms) - len(parameter_bytes))]
    return graph_of(
        layer(f"n{i}", time, 0.0, 0.0, size)
        for i, (time, size) in enumerate(zip(times_ms, sizes, strict=True))
    )


def three_parallel_layers_on_three_gpus() -> Problem:
    times = {"TitanV": [401, 100, 500], "TitanXP": [9600, 3000, 4500]}
    profiles = {gpu: parallel(layers) for gpu, layers in times.items()}
    cluster = one_server({"TitanV": 2, "TitanXP": 1}, 1e3)
    return Problem(build_instance(profiles, cluster), SparsePipe(None))


def five_layers_on_four_gpus() -> Problem:
    graph = parallel([100, 240, 540, 238, 1100], [0, 0, 0, 0, 1])
    graph = dataclasses.replace(graph, edges=(("n0", "n2"),))
    return Problem(instance_of(graph, one_server(4, 1e3)), PipeDream(None))


def memory_on_three_servers() -> Problem:
    times = {"TitanV": [18060, 8800], "TitanXP": [400, 400]}
    profiles = {gpu: parallel(layers, [0, 770]) for gpu, layers in times.items()}
    cluster = cluster_of([{"TitanV": 1}, {"TitanXP": 1}, {"TitanV": 2}], 1e3, 1e3)
    cluster = with_memory(cluster, [482, 1446, None])
    return Problem(build_instance(profiles, cluster, Rules(use_memory=True)), Topology(None))


def fractions_of_a_byte() -> Problem:
    graph = graph_of([layer("a", 1.0, 0.0, 0.625, 0.375)])
    cluster = cluster_of([{"TitanV": 1}, {"TitanV": 1}, {"TitanV": 1}], 1e3, 1e3)
    cluster = with_memory(cluster, [None, None, 4.75])
    rules = Rules(use_memory=True, memory=MemoryModel(Versions.TWO_BW, Optimizer.MOMENTUM))
    return Problem(instance_of(graph, cluster, rules), Topology(None))


@pytest.mark.parametrize(
    ("make", "expected_s"),
    [
        (three_parallel_layers_on_three_gpus, 0.5005),
        (five_layers_on_four_gpus, 0.554875),
        (memory_on_three_servers, 4.785),
        (fractions_of_a_byte, 0.0005),
    ],
)
def test_presolve_and_rounding_keep_the_best_plan(
    make: Callable[[], Problem], expected_s: float
) -> None:
    """OR-Tools 9.15 calls the first three infeasible; rounding sizes up excludes the last."""
    problem = make()
    assert best_period_s(problem) == pytest.approx(expected_s)
    for name in ("exact-dp", "cpsat"):
        planned = run_planner(name, problem, Settings(time_limit_s=60, workers=1))
        assert planned.evaluation.valid
        assert planned.certificate.status == Status.OPTIMAL
        assert planned.evaluation.period_s == pytest.approx(expected_s, rel=1e-6)
