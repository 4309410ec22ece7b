"""From what a planner found to the stages of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stagewright.formulation.antichain_states import StateSpace, bits
from stagewright.model.instance import Instance
from stagewright.model.plan import Stage


def stages_of_states(
    states: StateSpace,
    lasts: Sequence[int],
    replicas: Sequence[tuple[int, ...]],
    instance: Instance,
) -> tuple[Stage, ...]:
    """Turn "up to state j" per stage into stages; stages that would be empty are left out.

    Layers that no state covers (sinks beside the main path) join the last stage.
    """
    placed = 0
    stages: list[Stage] = []
    for number, (last, counts) in enumerate(zip(lasts, replicas, strict=True)):
        final = number == len(lasts) - 1
        upto = (1 << len(states.nodes)) - 1 if final else states.done[last]
        mask = upto & ~placed
        placed |= mask
        if mask:
            stages.append(Stage(tuple(states.nodes[v] for v in bits(mask)), counts))
    return with_inputs(instance, stages)


def with_inputs(instance: Instance, stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Put the graph's input nodes into the first stage, all nodes in topological order."""
    order = instance.graph.order

    def sort(nodes: Sequence[str]) -> tuple[str, ...]:
        return tuple(sorted(nodes, key=order.__getitem__))

    first, *rest = stages
    return (
        replace(first, nodes=sort([*instance.graph.inputs, *first.nodes])),
        *(replace(stage, nodes=sort(stage.nodes)) for stage in rest),
    )
