"""Order ideals of a block graph, and what a stage between two of them costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.max_load.block_graph import BlockGraph, Floats
from stagewright.model.errors import DoesNotApply

MAX_IDEALS = 200_000
MAX_CELLS = 60_000_000
"""Ideals × (blocks + nets): entries of the tables."""

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class IdealSpace:
    """Ideals by size, from the empty one to the whole graph.

    Attributes
    ----------
    members
        ``members[i, b]``: block b lies in ideal i; shape (ideals, blocks).
    """

    graph: BlockGraph
    members: NDArray[np.bool_]

    def __len__(self) -> int:
        """Count the ideals."""
        return len(self.members)

    @cached_property
    def time_s(self) -> Floats:
        """Seconds of each ideal on each group, shape (groups, ideals)."""
        total: Floats = self.graph.time_s @ self.members.T
        return total

    @cached_property
    def parameter_bytes(self) -> Floats:
        """Parameter bytes of each ideal."""
        total: Floats = self.members @ self.graph.parameter_bytes
        return total

    @cached_property
    def activation_bytes(self) -> Floats:
        """Activation bytes of each ideal."""
        total: Floats = self.members @ self.graph.activation_bytes
        return total

    @cached_property
    def _net_s(self) -> Floats:
        return np.array(list(self.graph.nets.values()))

    @cached_property
    def _net_size(self) -> NDArray[np.int32]:
        return np.array([len(ends) for ends in self.graph.nets], dtype=np.int32)

    @cached_property
    def _inside(self) -> NDArray[np.int32]:
        """Ends of each net that lie in each ideal, shape (ideals, nets)."""
        table = np.zeros((len(self), len(self.graph.nets)), dtype=np.int32)
        for t, ends in enumerate(self.graph.nets):
            table[:, t] = self.members[:, list(ends)].sum(axis=1)
        return table

    @cached_property
    def _open(self) -> NDArray[np.bool_]:
        """Whether a net has ends on both sides, shape (ideals, nets)."""
        split: NDArray[np.bool_] = (self._inside > 0) & (self._inside < self._net_size)
        return split

    @cached_property
    def _open_s(self) -> Floats:
        """Seconds of all nets that an ideal splits."""
        total: Floats = self._open @ self._net_s
        return total

    @cached_property
    def _packed(self) -> NDArray[np.uint64]:
        padded = np.zeros((len(self), -(-self.members.shape[1] // 64) * 64), dtype=bool)
        padded[:, : self.members.shape[1]] = self.members
        return np.packbits(padded, axis=1).view(np.uint64)

    def containing(self, i: int, candidates: Indices) -> Indices:
        """Return the candidates that contain ideal ``i``."""
        mine = self._packed[i]
        held: Indices = candidates[((self._packed[candidates] & mine) == mine).all(axis=1)]
        return held

    def exchange_s(self, i: int, larger: Indices) -> Floats:
        r"""Seconds of the nets that stage J \\ I shares with others, for ideals J beyond I.

        Those that J splits, without those split by I that merely pass, and with those split by I
        that end in the stage.
        """
        mine = np.flatnonzero(self._open[i])
        inside = self._inside[np.ix_(larger, mine)]
        touched = inside > self._inside[i, mine]
        ended = inside == self._net_size[mine]
        seconds = self._net_s[mine]
        shared: Floats = self._open_s[larger] + (
            touched @ seconds + ended @ seconds - seconds.sum()
        )
        return shared


def every_ideal(graph: BlockGraph) -> IdealSpace:
    """Enumerate all ideals.

    Raises
    ------
    DoesNotApply
        If there are too many.
    """
    needs = [sum(1 << u for u in producers) for producers in graph.producers]
    layer = {0: sum(1 << b for b, mask in enumerate(needs) if not mask)}
    most = min(MAX_IDEALS, MAX_CELLS // (len(graph) + len(graph.nets) + 1))
    found = [0]
    while layer:
        following: dict[int, int] = {}
        for ideal, ready in layer.items():
            left = ready
            while left:
                bit = left & -left
                left ^= bit
                larger = ideal | bit
                if larger not in following:
                    opened = ready ^ bit
                    for b in graph.consumers[bit.bit_length() - 1]:
                        if needs[b] & larger == needs[b]:
                            opened |= 1 << b
                    following[larger] = opened
        found += following
        layer = following
        if len(found) > most:
            raise DoesNotApply(
                f"the graph can be cut in more than {min(len(found), most):,} ways (many parallel "
                "branches), too many for an exact dynamic programme. "
                "Use --planner cpsat or linear-dp"
            )
    width = -(-len(graph) // 8)
    rows = np.frombuffer(b"".join(x.to_bytes(width, "little") for x in found), dtype=np.uint8)
    bits = np.unpackbits(rows.reshape(len(found), width), axis=1, bitorder="little")
    return IdealSpace(graph, bits[:, : len(graph)].astype(bool))


def prefixes(graph: BlockGraph, order: Sequence[int]) -> IdealSpace:
    """Return the ideals that are prefixes of a topological order."""
    position = np.empty(len(order), dtype=np.int64)
    position[list(order)] = np.arange(len(order))
    return IdealSpace(graph, position[None, :] < np.arange(len(order) + 1)[:, None])
