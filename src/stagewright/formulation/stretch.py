"""A stretch of a plan: what lies between two ideals, and all the ideals between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.box_bound import Windows
from stagewright.formulation.ideal_table import IdealTable, tabulate
from stagewright.formulation.partial_ideals import Grid
from stagewright.formulation.reduced_graph import ReducedGraph, Tensor

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class StretchTable:
    """Ideals that contain ``lower`` and are contained in ``upper``, some of each cell of a grid.

    Attributes
    ----------
    windows
        As :class:`~stagewright.formulation.ideal_table.IdealTable` has them, but for work and
        parameters beyond ``lower``, and with all bytes that leave.
    """

    windows: Windows
    _lower: Bools
    _inner: Indices
    _table: IdealTable

    def ideals(self, rows: Indices) -> Bools:
        """Return an ideal for each of some rows, with its fewest bytes; shape (rows, blocks)."""
        ideals = np.repeat(self._lower[None], len(rows), axis=0)
        ideals[:, self._inner] = self._table.members(rows)[:, 1:]
        return ideals


class Stretches:
    """Makes graphs of their own from what lies between two ideals of a graph.

    Block 0 of such a graph stands for the lower ideal, the others for the blocks between.
    """

    def __init__(self, graph: ReducedGraph, time_s: Floats) -> None:
        self._graph, self._time = graph, time_s
        self._producers: list[list[int]] = [[] for _ in range(len(graph))]
        for u, v in graph.edges:
            self._producers[v].append(u)
        tensors = graph.tensors
        self._sources = np.array([x.source for x in tensors], dtype=np.int64)
        self._bytes = np.array([x.n_bytes for x in tensors])
        self._targets = np.array([v for x in tensors for v in x.targets], dtype=np.int64)
        self._begins = np.cumsum([0, *(len(x.targets) for x in tensors)])[:-1]

    def table(
        self, lower: Bools, upper: Bools, grid: Grid, expired: Callable[[], bool]
    ) -> StretchTable | None:
        """Return the table between two ideals.

        Returns
        -------
        StretchTable or None
            ``None`` if nothing lies between, it is too large, or time is over.
        """
        between = upper & ~lower
        inner = np.flatnonzero(between)
        if len(inner) == 0:
            return None
        within = np.logical_and.reduceat(upper[self._targets], self._begins)
        read = np.logical_or.reduceat(between[self._targets], self._begins)
        crossing = float(self._bytes[lower[self._sources] & ~within].sum())
        place = {int(v): k for k, v in enumerate(inner, start=1)}
        leaving = np.zeros(len(inner) + 1)
        lost = np.flatnonzero(between[self._sources] & ~within)
        np.add.at(leaving, np.searchsorted(inner, self._sources[lost]) + 1, self._bytes[lost])
        tensors = [
            Tensor(
                place.get(tensor.source, 0),
                tuple(place[v] for v in tensor.targets if v in place),
                tensor.n_bytes,
            )
            for i in np.flatnonzero(within & read)
            for tensor in (self._graph.tensors[i],)
        ]
        graph = ReducedGraph(
            blocks=((), *((int(v),) for v in inner)),
            edges=tuple(sorted(self._edges(place))),
            time_s=np.zeros((1, len(leaving))),
            again_s=np.zeros((1, len(leaving))),
            parameter_bytes=np.concatenate([[0.0], self._graph.parameter_bytes[inner]]),
            activation_bytes=np.zeros(len(leaving)),
            tensors=tuple(tensors),
        )
        time_s = np.concatenate([[0.0], self._time[inner]])
        left = Grid(grid.work_s, grid.parameter_bytes, grid.most_cut_bytes - crossing)
        found = tabulate(graph, time_s, left, expired, leaving)
        if found is None:
            return None
        return StretchTable(found.windows.with_cut_bytes(crossing), lower, inner, found)

    def _edges(self, place: dict[int, int]) -> Iterable[tuple[int, int]]:
        """Edges of the stretch; the lower ideal comes before all of it."""
        found: set[tuple[int, int]] = set()
        for v, k in place.items():
            inside = {(place[u], k) for u in self._producers[v] if u in place}
            outside = len(inside) < len(set(self._producers[v]))
            found |= inside
            if outside or not inside:
                found.add((0, k))
        return found
