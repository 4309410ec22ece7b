"""All layers as a table: what the picture shows, for those who search or do not see it."""

from __future__ import annotations

from dataclasses import dataclass

from stagewright.report.captions import DESCRIPTION_LIMIT, NAME_LIMIT, Captions
from stagewright.report.labels import clean, milliseconds, size
from stagewright.report.page.facts import Facts

MOST_TYPES = 4
"""GPU types with a column of their own."""


@dataclass(frozen=True)
class LayerRow:
    """One layer in words; ``times`` has one figure a GPU type, as in :func:`timed_types`."""

    node: str
    description: str
    stage: str
    times: tuple[str, ...]
    activation: str
    parameters: str


def timed_types(facts: Facts) -> list[str]:
    """GPU types that the table has a column for."""
    return [clean(gpu, 40) for gpu in facts.cluster.gpu_types[:MOST_TYPES]]


def layer_rows(facts: Facts) -> list[LayerRow]:
    """Return every layer, in file order."""
    captions = Captions(facts.instance, facts.plan, facts.evaluation)
    profiles = [facts.instance.profiles[gpu] for gpu in facts.cluster.gpu_types[:MOST_TYPES]]
    stages = len(facts.plan.stages)
    rows = []
    for layer in facts.instance.graph.layers:
        panel, node = captions.panel_of[layer.id], layer.id
        if node in captions.graph.dropped:
            stage = "unused output"
        elif node in captions.graph.inputs:
            stage = f"{panel} (input)"
        else:
            stage = str(panel) if panel < stages else "none"
        free = captions.is_free(node)
        rows.append(
            LayerRow(
                node=clean(node, NAME_LIMIT),
                description=clean(layer.description, DESCRIPTION_LIMIT),
                stage=stage,
                times=tuple(
                    "free" if free else milliseconds(x.by_id[node].total_ms, 3) for x in profiles
                ),
                activation=size(layer.activation_bytes),
                parameters=size(layer.parameter_bytes),
            )
        )
    return rows
