"""Layers with the same weights, as descriptions say it.

Profile text has no word for two nodes that hold the same weights. Where a network has such
layers, the argument ``shared=N`` at the end of their descriptions names layers that are one module
called several times, and ``tied=N`` layers whose ``weight`` is one tensor. Stages of a pipeline are
processes of their own, so layers of one number lie in one stage.
"""

from __future__ import annotations

import dataclasses
import re

from stagewright.model.graph import LayerGraph
from stagewright.model.rules import Rules

_MARK = re.compile(r"\b(shared|tied)=(\d{1,6})(?=[,)])")


def tied_layers(graph: LayerGraph) -> tuple[tuple[str, ...], ...]:
    r"""Return the groups of layers that hold the same weights, in the order of the graph.

    >>> from stagewright.model.profile import parse_profile
    >>> text = "-- forward_compute_time=1, backward_compute_time=1, activation_size=1, "
    >>> node = "{0} -- Linear(8, 8, shared=1) " + text + "parameter_size=1"
    >>> tied_layers(parse_profile("\n".join(node.format(x) for x in "ab")))
    (('a', 'b'),)
    """
    groups: dict[str, list[str]] = {}
    for layer in graph.layers:
        for mark in _MARK.finditer(layer.description):
            groups.setdefault(mark[0], []).append(layer.id)
    return tuple(tuple(nodes) for nodes in groups.values() if len(nodes) > 1)


def with_ties(rules: Rules, graph: LayerGraph) -> Rules:
    """Return the rules with layers of the same weights kept together."""
    placement = rules.placement
    together = tuple(dict.fromkeys((*placement.together, *tied_layers(graph))))
    if together == placement.together:
        return rules
    return dataclasses.replace(rules, placement=dataclasses.replace(placement, together=together))


def tie_notes(graph: LayerGraph) -> tuple[str, ...]:
    """Say which layers are kept together."""
    return tuple(
        f"{', '.join(nodes[:4])}{', …' if len(nodes) > 4 else ''} hold the same weights; they stay "
        "in one stage"
        for nodes in tied_layers(graph)
    )
