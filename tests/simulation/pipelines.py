"""Small pipelines whose times are known: ``from pipelines import straight, when``."""

from __future__ import annotations

from collections.abc import Sequence

from builders import graph_of, instance_of, layer
from stagewright.model.cluster import Cluster
from stagewright.model.instance import Instance
from stagewright.model.plan import Plan, Stage
from stagewright.model.rules import Rules
from stagewright.simulation import Simulation

LETTER = {"forward": "F", "backward": "B", "recompute": "C", "all-reduce": "R"}
TRANSFER = {"activation": "A", "gradient": "G"}


def pipeline(
    cluster: Cluster,
    times_s: Sequence[tuple[float, float]],
    replicas: Sequence[Sequence[int]],
    activation_bytes: float = 0.0,
    parameter_bytes: float = 0.0,
    rules: Rules | None = None,
    slower: dict[str, float] | None = None,
    recompute: bool = False,
) -> tuple[Instance, Plan]:
    """One layer a stage, with (forward, backward) seconds and replicas per group."""
    layers = [
        layer(f"n{k}", 1000 * forward, 1000 * backward, activation_bytes, parameter_bytes)
        for k, (forward, backward) in enumerate(times_s)
    ]
    edges = " ".join(f"n{k}->n{k + 1}" for k in range(len(times_s) - 1))
    instance = instance_of(graph_of(layers, edges), cluster, rules, slower)
    stages = tuple(
        Stage((f"n{k}",), tuple(counts), recompute) for k, counts in enumerate(replicas)
    )
    return instance, Plan(stages, "by-hand")


def when(simulation: Simulation) -> dict[str, tuple[float, float]]:
    """Start and end of everything: ``0F1`` by GPU, ``0A1`` from GPU 0, minibatch 1.

    ``A`` is an activation, ``G`` a gradient, ``C`` a forward pass run again, ``R`` an all-reduce.
    """
    return {
        f"{event.rank}{(LETTER | TRANSFER)[event.work]}{event.minibatch}": (
            round(event.start_s, 9),
            round(event.end_s, 9),
        )
        for event in simulation.events()
    }
