"""One planning problem: a layer graph timed on every GPU type, a cluster, and rules."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stagewright.model.cluster import Cluster
from stagewright.model.errors import InputError
from stagewright.model.graph import Layer, LayerGraph
from stagewright.model.rules import Rules
from stagewright.model.tensors import TimedTensor, check_tensors
from stagewright.model.ties import tie_notes, with_ties


@dataclass(frozen=True)
class Instance:
    """What is to be planned.

    Attributes
    ----------
    profiles
        For each GPU type, the layer graph as measured on it; all have the same nodes and edges.
    cluster, rules
        The hardware, and what the user demands.
    notes
        What was assumed or evened out, in words.
    tensors
        What the layers send one another where transfer times are stated tensor by tensor, which
        only cost model ``max-load`` knows; ``None`` where activations say it.
    """

    profiles: Mapping[str, LayerGraph]
    cluster: Cluster
    rules: Rules = Rules()
    notes: tuple[str, ...] = ()
    tensors: tuple[TimedTensor, ...] | None = None

    def __post_init__(self) -> None:
        if not self.profiles:
            raise InputError("no profiles given")
        if not self.graph.planned:
            raise InputError(
                "the graph holds inputs only; there is nothing to plan", source=self.graph.name
            )
        for gpu in self.cluster.gpu_types:
            if gpu not in self.profiles:
                raise InputError(
                    f"there is no profile for GPU type '{gpu}'",
                    hint="Every GPU type of the cluster needs a profile",
                )
        self._check_placement()
        check_tensors(self.tensors or (), self.index)

    def _check_placement(self) -> None:
        placement = self.rules.placement
        for node in placement.named:
            if node not in self.graph.by_id:
                raise InputError(f"a constraint names '{node}', which is not a layer")
        for node, k in placement.stage:
            if node in self.graph.inputs and k != 0:
                raise InputError(
                    f"'{node}' is pinned to stage {k}", hint="It is an input; inputs lie in stage 0"
                )
        for node, groups in placement.forbidden:
            if any(not 0 <= g < len(self.cluster.groups) for g in groups):
                raise InputError(f"a constraint on '{node}' names a GPU group that does not exist")
        priced = [g.price_per_hour is not None for g in self.cluster.groups]
        if self.rules.max_price_per_hour is not None and not all(priced):
            raise InputError(
                "a limit on the price needs a price for every GPU group",
                hint="Add price_per_hour to each group of the cluster.yaml",
            )

    @cached_property
    def graph(self) -> LayerGraph:
        """The layer graph: the largest sizes that any profile states, the first type's times."""
        first = next(iter(self.profiles.values()))
        return dataclasses.replace(
            first,
            name=_common_name([graph.name for graph in self.profiles.values()]),
            layers=tuple(_largest(self.profiles, x.id) for x in first.layers),
        )

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes to place, in file order; arrays below follow this order."""
        return self.graph.planned

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each node in :attr:`nodes`."""
        return {node: i for i, node in enumerate(self.nodes)}

    @cached_property
    def type_time_s(self) -> dict[str, NDArray[np.float64]]:
        """Forward plus backward seconds of each node, by GPU type; shape (nodes,)."""
        return {
            gpu: np.array([graph.by_id[node].total_ms / 1000 for node in self.nodes])
            for gpu, graph in self.profiles.items()
        }

    @cached_property
    def type_forward_s(self) -> dict[str, NDArray[np.float64]]:
        """Forward seconds of each node, by GPU type; shape (nodes,)."""
        return {
            gpu: np.array([graph.by_id[node].forward_ms / 1000 for node in self.nodes])
            for gpu, graph in self.profiles.items()
        }

    @cached_property
    def time_s(self) -> NDArray[np.float64]:
        """Forward plus backward seconds, shape (groups, nodes)."""
        return np.array([self.type_time_s[g.gpu] for g in self.cluster.groups])

    @cached_property
    def forward_s(self) -> NDArray[np.float64]:
        """Forward seconds, shape (groups, nodes)."""
        return np.array([self.type_forward_s[g.gpu] for g in self.cluster.groups])

    @cached_property
    def forbidden(self) -> NDArray[np.bool_]:
        """Whether a node's stage may not use a group, shape (groups, nodes)."""
        table = np.zeros((len(self.cluster.groups), len(self.nodes)), dtype=bool)
        for node, groups in self.rules.placement.forbidden:
            if node in self.index:
                table[list(groups), self.index[node]] = True
        return table

    @cached_property
    def pinned(self) -> dict[int, int]:
        """Stage number of each pinned node, by position."""
        return {self.index[node]: k for node, k in self.rules.placement.stage if node in self.index}

    @cached_property
    def together(self) -> tuple[tuple[int, ...], ...]:
        """Sets of nodes that share a stage, as positions; sets that overlap are joined."""
        sets: list[set[int]] = []
        for names in self.rules.placement.together:
            merged = {self.index[node] for node in names if node in self.index}
            apart = [s for s in sets if not s & merged]
            for met in (s for s in sets if s & merged):
                merged |= met
            sets = [*apart, merged]
        return tuple(tuple(sorted(s)) for s in sets if len(s) > 1)

    @cached_property
    def old_stage(self) -> tuple[int, ...]:
        """Stage of each node in the plan to keep; -1 where it has none."""
        kept = self.rules.placement.kept
        old = {} if kept is None else kept.stage_of
        return tuple(old.get(node, -1) for node in self.nodes)

    @cached_property
    def activation_bytes(self) -> NDArray[np.float64]:
        """Bytes of each node's outputs, shape (nodes,)."""
        return np.array([self.graph.by_id[node].activation_bytes for node in self.nodes])

    @cached_property
    def parameter_bytes(self) -> NDArray[np.float64]:
        """Bytes of each node's weights, shape (nodes,)."""
        return np.array([self.graph.by_id[node].parameter_bytes for node in self.nodes])

    @cached_property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Edges between planned nodes as positions, each once."""
        pairs = (
            (self.index[u], self.index[v])
            for u, v in self.graph.edges
            if u in self.index and v in self.index
        )
        return tuple(dict.fromkeys(pairs))

    @cached_property
    def consumers(self) -> tuple[tuple[int, ...], ...]:
        """For each node, the positions of the nodes that read it."""
        lists: list[list[int]] = [[] for _ in self.nodes]
        for u, v in self.edges:
            lists[u].append(v)
        return tuple(tuple(x) for x in lists)

    @cached_property
    def producers(self) -> tuple[tuple[int, ...], ...]:
        """For each node, the positions of the nodes that it reads."""
        lists: list[list[int]] = [[] for _ in self.nodes]
        for u, v in self.edges:
            lists[v].append(u)
        return tuple(tuple(x) for x in lists)

    def with_rules(self, rules: Rules) -> Instance:
        """Return the same instance under other rules."""
        return dataclasses.replace(self, rules=rules)


def build_instance(
    profiles: Mapping[str, LayerGraph],
    cluster: Cluster,
    rules: Rules | None = None,
    notes: tuple[str, ...] = (),
    tensors: tuple[TimedTensor, ...] | None = None,
) -> Instance:
    """Join one profile per GPU type and a cluster, and check that they agree.

    Parameters
    ----------
    profiles
        GPU type to layer graph. All have the same nodes and edges; where sizes differ, the
        largest is used and a note says so.

    Raises
    ------
    InputError
        If a profile is missing or two profiles differ in nodes or edges.
    """
    if not profiles:
        raise InputError("no profiles given")
    (first_gpu, first), *others = profiles.items()
    for gpu, graph in others:
        _same_shape(first_gpu, first, gpu, graph)
    graph = next(iter(profiles.values()))
    every_note = (*notes, *_size_notes(profiles), *tie_notes(graph))
    ruled = with_ties(rules or Rules(), graph)
    return Instance(dict(profiles), cluster, ruled, every_note, tensors)


def _same_shape(first_gpu: str, first: LayerGraph, gpu: str, graph: LayerGraph) -> None:
    here, there = set(graph.by_id), set(first.by_id)
    if here != there:
        node = min(here ^ there)
        has, lacks = (gpu, first_gpu) if node in here else (first_gpu, gpu)
        raise InputError(
            f"the profiles disagree: '{node}' is a node of {has}'s but not of {lacks}'s",
            source=graph.name,
            hint="All profiles of one plan must come from the same network",
        )
    ours, theirs = Counter(graph.edges), Counter(first.edges)
    if ours != theirs:
        u, v = min((ours - theirs) + (theirs - ours))
        raise InputError(
            f"the profiles disagree: edge '{u} -- {v}' is not the same in {first_gpu}'s "
            f"and {gpu}'s",
            source=graph.name,
            hint="All profiles of one plan must come from the same network",
        )


def _common_name(names: Sequence[str]) -> str:
    """Name of the network from the names of its profiles.

    >>> _common_name(["minkvgg_titanv", "minkvgg_titanxp"]), _common_name(["a", "b"])
    ('minkvgg', 'a')
    """
    parts = [name.split("_") for name in names]
    shared = [words[0] for words in zip(*parts, strict=False) if len(set(words)) == 1]
    return "_".join(shared) if len(set(names)) > 1 and shared else names[0]


def _largest(profiles: Mapping[str, LayerGraph], node: str) -> Layer:
    twins = [graph.by_id[node] for graph in profiles.values()]
    return dataclasses.replace(
        twins[0],
        activation_parts_bytes=max(twins, key=lambda x: x.activation_bytes).activation_parts_bytes,
        parameter_bytes=max(x.parameter_bytes for x in twins),
        stage=None,
    )


def _size_notes(profiles: Mapping[str, LayerGraph]) -> tuple[str, ...]:
    first, *others = profiles.values()
    differing = [
        x.id
        for x in first.layers
        if any(
            graph.by_id[x.id].activation_bytes != x.activation_bytes
            or graph.by_id[x.id].parameter_bytes != x.parameter_bytes
            for graph in others
        )
    ]
    if not differing:
        return ()
    shown = ", ".join(differing[:3]) + (", …" if len(differing) > 3 else "")
    return (
        f"the profiles state different sizes for {len(differing)} of {len(first.layers)} nodes "
        f"({shown}); the largest is used",
    )
