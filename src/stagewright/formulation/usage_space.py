"""Arrays over the usages of GPUs by cell, and how stages carry them on.

An array says of every usage of all cells but the last how few GPUs of the last cell go with it. A
stage whose GPUs are settled is one shift of it. One of m replicas that may lie in several cells is
m shifts by one GPU, each the best over those cells; the array after n of them serves n replicas.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

UNREACHED = 1 << 14
"""More GPUs than there are; as many again may be added to it before an int16 overflows."""

Counts = NDArray[np.int16]


@dataclass(frozen=True)
class Place:
    """Cells of one server; or of a class of servers that are taken as one."""

    servers: int
    cells: tuple[int, ...]


@dataclass(frozen=True)
class Demand:
    """Cells that replicas may come from, and how many servers they have to touch.

    The latter is 0 where so many replicas can touch so many servers in whatever cells they lie.
    """

    cells: tuple[int, ...]
    servers: int


class UsageSpace:
    """The usages of cells with so many GPUs each."""

    def __init__(self, totals: Sequence[int], places: Sequence[Place]) -> None:
        self._totals = tuple(totals)
        self._places = places
        self._shape = tuple(total + 1 for total in totals[:-1])
        self._strides = [math.prod(self._shape[axis + 1 :]) for axis in range(len(self._shape))]

    @property
    def size(self) -> int:
        """Numbers in an array."""
        return math.prod(self._shape)

    @property
    def countable(self) -> bool:
        """Whether :data:`UNREACHED` is out of reach."""
        return sum(self._totals) < UNREACHED

    def start(self) -> Counts:
        """Return the array of no layers: no GPU is used."""
        least = self._unreached()
        least[(0,) * least.ndim] = 0
        return least

    def has(self, least: Counts) -> bool:
        """Whether there are GPUs for any usage in an array."""
        return bool((least <= self._totals[-1]).any())

    def any_of(self, least: Counts, rng: np.random.Generator) -> list[int]:
        """Draw one of the usages that there are GPUs for, as a count for each cell."""
        good = np.flatnonzero(least <= self._totals[-1])
        at = np.unravel_index(int(rng.choice(good)), self._shape)
        return [*map(int, at), int(least[at])]

    def _unreached(self) -> Counts:
        return np.full(self._shape, UNREACHED, dtype=np.int16)

    def moved(self, least: Counts, counts: Sequence[int]) -> Counts:
        """Return what follows with ``counts`` more GPUs of each cell.

        One shift of all numbers in a row, several times as fast as one axis by axis. What a usage
        beyond the top of an axis carries over lies among the first ``counts`` of it.
        """
        *steps, more = counts
        moved = np.empty_like(least)
        before, after = least.ravel(), moved.ravel()
        offset = min(
            sum(n * stride for n, stride in zip(steps, self._strides, strict=True)), after.size
        )
        after[:offset] = UNREACHED
        np.add(before[: after.size - offset], more, out=after[offset:])
        for axis, n in enumerate(steps):
            if n:
                moved[(slice(None),) * axis + (slice(0, n),)] = UNREACHED
        return moved

    def demand(self, cells: tuple[int, ...], servers: int) -> Demand:
        """Return what ``servers`` or more replicas in these cells have to touch."""
        enough = all(place.servers >= servers for place in self._among(cells))
        return Demand(cells, 0 if enough else servers)

    def _among(self, cells: Sequence[int]) -> list[Place]:
        """What there is of each place among these cells."""
        found = [Place(x.servers, tuple(c for c in x.cells if c in cells)) for x in self._places]
        return [place for place in found if place.cells]

    def chain(self, least: Counts, demand: Demand, most: int) -> Iterator[tuple[int, Counts]]:
        """Yield (m, what follows with m replicas), m from the servers demanded to ``most``.

        The first of them touch a server each; the others may lie anywhere.
        """
        unit = {c: [int(c == x) for x in range(len(self._totals))] for c in demand.cells}
        levels = [least, *(self._unreached() for _ in range(demand.servers))]
        for cells, numbers in self._touching(demand):
            for m in numbers:
                more = [self.moved(levels[m - 1], unit[c]) for c in cells]
                levels[m] = reduce(np.minimum, more, levels[m])
        level = levels[-1]
        yield demand.servers, level
        for m in range(demand.servers + 1, most + 1):
            level = reduce(np.minimum, [self.moved(level, unit[c]) for c in demand.cells])
            yield m, level

    def shifts(self, demand: Demand, most: int) -> int:
        """Shifts that a chain takes."""
        touching = sum(len(cells) * len(numbers) for cells, numbers in self._touching(demand))
        return touching + (most - demand.servers) * len(demand.cells)

    def _touching(self, demand: Demand) -> list[tuple[tuple[int, ...], range]]:
        """(cells, which of the servers demanded it may be) of each server, one after the other.

        Descending, so that no server is touched twice. The lowest leaves no more to the servers
        to come than there are.
        """
        needed = demand.servers
        each = [
            place.cells
            for place in self._among(demand.cells)
            for _ in range(min(place.servers, needed))
        ]
        return [
            (cells, range(min(now, needed), max(now - (len(each) - needed), 1) - 1, -1))
            for now, cells in enumerate(each, 1)
        ]

    def split(
        self, least: Counts, usage: Sequence[int], demand: Demand, replicas: int
    ) -> tuple[int, ...] | None:
        """GPUs of each cell with which replicas lead to a usage; ``None`` if there are none."""
        high = np.array(usage[:-1], dtype=np.int64)
        free = np.isin(np.arange(len(high)), demand.cells)
        low = np.where(free, np.maximum(high - replicas, 0), high)
        box = tuple(slice(a, b + 1) for a, b in zip(low.tolist(), high.tolist(), strict=True))
        rest = np.full((), replicas, dtype=np.int16)
        for n in (high - low).tolist():
            rest = np.subtract.outer(rest, np.arange(n, -1, -1, dtype=np.int16))
        leads = (rest >= 0) & (least[box] + rest <= usage[-1])
        if len(high) not in demand.cells:
            leads &= rest == 0
        others = high - low - np.argwhere(leads)
        counts = np.column_stack([others, replicas - others.sum(axis=1)])
        touched = sum(
            np.minimum(counts[:, place.cells].sum(axis=1), place.servers)
            for place in self._among(demand.cells)
        )
        good = np.flatnonzero(touched >= demand.servers)
        return tuple(counts[good[0]].tolist()) if len(good) else None
