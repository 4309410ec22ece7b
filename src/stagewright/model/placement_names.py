"""Demands on single layers, as people write them, and what they mean on one instance.

::

    node5     = stage:0           the layer lies in stage 0
    Embedding* = TitanV           all layers so described lie on GPUs of this type only
    Linear*   = Server1/TitanXP   on this group only

A layer is named by its identifier, its description, or a shell pattern (``*``, ``?``, ``[…]``)
over either.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from stagewright.model.cluster import Cluster
from stagewright.model.errors import InputError, printable
from stagewright.model.graph import LayerGraph
from stagewright.model.placement import Placement

STAGE = re.compile(r"stage:(\d{1,7})", re.ASCII)


@dataclass(frozen=True, slots=True)
class PlacementNames:
    """Demands on single layers in words.

    Attributes
    ----------
    pin
        (layers, place): the place is ``stage:K``, a GPU type, a server, or ``SERVER/TYPE``.
        Every demand on a layer holds.
    forbid
        (layers, place): no replica of the layer's stage is there.
    together
        Sets of layers that share a stage.
    """

    pin: tuple[tuple[str, str], ...] = ()
    forbid: tuple[tuple[str, str], ...] = ()
    together: tuple[tuple[str, ...], ...] = ()

    def and_also(self, other: PlacementNames) -> PlacementNames:
        """Return the demands of both, each once."""
        return PlacementNames(
            tuple(dict.fromkeys((*self.pin, *other.pin))),
            tuple(dict.fromkeys((*self.forbid, *other.forbid))),
            tuple(dict.fromkeys((*self.together, *other.together))),
        )


def resolve_placement(names: PlacementNames, graph: LayerGraph, cluster: Cluster) -> Placement:
    """Find the layers and the GPU groups that ``names`` speak of.

    Pinning a layer to GPUs forbids it all others.

    Raises
    ------
    InputError
        If a name means nothing here, or two demands on one layer exclude each other.
    """
    layers, places = _Layers(graph), group_places(cluster)
    everywhere = set(range(len(cluster.groups)))
    stages: dict[str, int] = {}
    banned: dict[str, set[int]] = {}
    for pattern, place in names.pin:
        stage = STAGE.fullmatch(place)
        for node in layers.matching(pattern, "pinned"):
            if stage is None:
                banned.setdefault(node, set()).update(everywhere - _groups(place, places, "pin"))
            elif stages.setdefault(node, int(stage[1])) != int(stage[1]):
                raise InputError(
                    f"'{node}' is pinned to stage {stages[node]} and to stage {int(stage[1])}",
                    hint="A layer lies in one stage only",
                )
    for pattern, place in names.forbid:
        for node in layers.matching(pattern, "forbidden"):
            banned.setdefault(node, set()).update(_groups(place, places, "forbid"))
    for node, groups in banned.items():
        if groups == everywhere:
            raise InputError(
                f"no GPU is left for '{node}': it is pinned or forbidden everywhere",
                hint="Demands on one layer all hold; to leave it several places, forbid the others",
            )
    return Placement(
        stage=tuple(stages.items()),
        forbidden=tuple((node, tuple(sorted(groups))) for node, groups in banned.items()),
        together=tuple(_together(group, layers) for group in names.together),
    )


def group_places(cluster: Cluster) -> Mapping[str, frozenset[int]]:
    """Positions of the GPU groups that each place names: types, servers, ``SERVER/TYPE``.

    A name that means two things means neither; its longer forms remain.
    """
    servers: dict[str, set[int]] = {}
    types: dict[str, set[int]] = {}
    pairs: dict[str, set[int]] = {}
    for g, group in enumerate(cluster.groups):
        server = cluster.servers[group.server]
        servers.setdefault(server, set()).add(g)
        types.setdefault(group.gpu, set()).add(g)
        pairs.setdefault(f"{server}/{group.gpu}", set()).add(g)
    found: dict[str, frozenset[int]] = {}
    for place in (*types, *servers, *pairs):
        meanings = {frozenset(x[place]) for x in (servers, types, pairs) if place in x}
        found[place] = frozenset() if len(meanings) > 1 else next(iter(meanings))
    return found


def _groups(place: str, places: Mapping[str, frozenset[int]], what: str) -> frozenset[int]:
    if place not in places:
        expected = "a GPU type, a server, or SERVER/TYPE"
        if what == "pin":
            expected = f"stage:K, {expected}"
        elif STAGE.fullmatch(place):
            raise InputError(
                f"'{place}' cannot be forbidden; expected {expected}",
                hint="A layer can be pinned to a stage",
            )
        raise InputError(
            f"'{printable(place, 60)}' is no place of this cluster; expected {expected}",
            hint=_near(place, list(places), "The cluster has"),
        )
    if not places[place]:
        raise InputError(
            f"'{printable(place, 60)}' means more than one thing here", hint="Write SERVER/TYPE"
        )
    return places[place]


def _together(patterns: Sequence[str], layers: _Layers) -> tuple[str, ...]:
    found = [node for pattern in patterns for node in layers.matching(pattern, "held together")]
    nodes = tuple(dict.fromkeys(found))
    if len(nodes) < 2:
        shown = printable(", ".join(patterns), 80)
        raise InputError(
            f"'{shown}' names one layer only; expected two or more that belong together"
        )
    return nodes


class _Layers:
    """The layers of a graph that take part in planning, by name."""

    def __init__(self, graph: LayerGraph) -> None:
        self._graph = graph
        self._names = {node: graph.by_id[node].description for node in graph.planned}
        self._known: dict[str, tuple[str, ...]] = {}

    def matching(self, pattern: str, what: str) -> tuple[str, ...]:
        """Names of the layers that ``pattern`` means: one at least."""
        if pattern not in self._known:
            self._known[pattern] = self._match(pattern, what)
        return self._known[pattern]

    def _match(self, pattern: str, what: str) -> tuple[str, ...]:
        if pattern in self._names:
            return (pattern,)
        if pattern in self._graph.by_id:
            kind = "an input" if pattern in self._graph.inputs else "an output that nobody uses"
            raise InputError(
                f"'{printable(pattern, 60)}' is {kind}, which costs nothing and cannot be {what}"
            )
        found = tuple(
            node
            for node, description in self._names.items()
            if description == pattern
            or fnmatchcase(node, pattern)
            or fnmatchcase(description, pattern)
        )
        if not found:
            known = [*self._names, *dict.fromkeys(self._names.values())]
            raise InputError(
                f"no layer is called or described as '{printable(pattern, 60)}'",
                hint=_near(pattern, known, "The layers are"),
            )
        return found


def _near(word: str, known: Sequence[str], otherwise: str) -> str:
    """Name what the user may have meant, or else the first few that there are."""
    near = difflib.get_close_matches(word[:200], known[:2000], n=3)
    if near:
        return f"Did you mean {_listed(near)}?"
    few = list(known[:3])
    return f"{otherwise} {_listed(few)}{', …' if len(known) > len(few) else ''}"


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"'{printable(word, 60)}'" for word in words)
