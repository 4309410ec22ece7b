r"""All ideals of a graph at once, as far as a bound has to know them.

A stage's end costs by its work, its parameters and the bytes that leave it. Of the ideals
(nasnetalarge has 5.8e12) this table keeps which combinations of work and parameters occur, on a
grid, and the fewest bytes at each: a few ten thousand rows. The same sweep finds an ideal for
each row.

The sweep takes the blocks in topological order and decides for each whether it lies in the ideal;
for a chain of them at once, how far it goes.
What the rest of an ideal costs depends on the past only through the *frontier*, the decided
blocks with consumers that are not decided yet: which of them lie inside, and which of their
tensors leave already. Partial ideals that agree there and fall into the same cell of the grid
become one row, which knows the exact range of their work and parameters. This is dynamic
programming along a path decomposition (Bodlaender, "Dynamic programming on graphs with bounded
treewidth", 1988); a depth-first order keeps the frontier of networks built of cells at nine blocks
or fewer. Once no block of the frontier is inside, an ideal is complete.

Some blocks may be *landmarks*: ideals that do not hold the same of them never share a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.box_bound import Windows
from stagewright.formulation.landmarks import Landmarks, WantedRows
from stagewright.formulation.orders import depth_first_order
from stagewright.formulation.partial_ideals import (
    CUT_BYTES,
    LEAST_S,
    MOST_S,
    Grid,
    PartialIdeals,
)
from stagewright.formulation.reduced_graph import ReducedGraph

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Words = NDArray[np.uint64]
Indices = NDArray[np.int64]

MANY_ROWS = 400_000
MANY_DECISIONS = 50_000_000
"""Four bytes for each, to find the ideal of a row again."""
MANY_AT_ONCE = 1_000_000
"""Rows that may come from one step; of longer chains a part is decided."""
GROWTH, FEW_ROWS = 1.6, 300
"""Rows are merged once there are so many times as many as after the last merge and so many more."""
BITS = 62
"""Of a state's word; the other two tell whether any block is inside, and whether any is not."""
SOME_INSIDE, SOME_OUTSIDE = np.uint64(1 << 62), np.uint64(1 << 63)


@dataclass(frozen=True)
class _Decided:
    """Rows that took blocks in: they are numbered from ``first``; ``parents`` they came from."""

    blocks: tuple[int, ...]
    first: int
    parents: NDArray[np.int32]


@dataclass(frozen=True)
class IdealTable:
    """What ideals there are but the empty and the full one.

    Attributes
    ----------
    windows
        Each row's range of work and of parameters, and its fewest bytes.
    found
        The same of the one ideal of each row that :meth:`members` returns.
    marks
        Which landmarks the ideals of each row hold: a bit for each, in words; shape (words, rows).
    """

    windows: Windows
    found: Windows
    marks: Words
    _last: Indices
    _history: tuple[_Decided, ...]
    _blocks: int

    def members(self, rows: Indices) -> Bools:
        """Return an ideal for each of some rows, with its fewest bytes; shape (rows, blocks)."""
        inside = np.zeros((self._blocks, len(rows)), dtype=bool)
        at = self._last[rows]
        for decided in reversed(self._history):
            here = np.flatnonzero(at >= decided.first)
            inside[np.ix_(np.array(decided.blocks), here)] = True
            at[here] = decided.parents[at[here] - decided.first]
        return inside.T


def tabulate(
    graph: ReducedGraph,
    time_s: Floats,
    grid: Grid,
    expired: Callable[[], bool],
    leaving: Floats | None = None,
    landmarks: Landmarks | None = None,
    most_rows: int = MANY_ROWS,
) -> IdealTable | None:
    """Return the table of a graph whose blocks take ``time_s``.

    Parameters
    ----------
    leaving
        Bytes that leave an ideal as soon as it has a block, beside those of the graph's tensors.
    landmarks
        None where not given.
    most_rows
        Give up once a merge leaves more of ideals that are not complete.

    Returns
    -------
    IdealTable or None
        ``None`` if time is over, or the graph is too wide for a table on this grid.
    """
    try:
        return _Sweep(graph, time_s, grid, leaving, landmarks or Landmarks(())).run(
            expired, most_rows
        )
    except _TooWide:
        return None


class _TooWide(Exception):
    """The frontier has more blocks and tensors than a state can tell apart."""


class _Sweep:
    """Decides block by block; a state has one bit for each block and tensor at the frontier."""

    def __init__(
        self,
        graph: ReducedGraph,
        time_s: Floats,
        grid: Grid,
        leaving: Floats | None,
        landmarks: Landmarks,
    ) -> None:
        size = len(graph)
        self._landmarks, self._marks = landmarks, landmarks.bits()
        self._leaving = np.zeros(size) if leaving is None else leaving
        self._graph, self._time, self._grid = graph, time_s, grid
        self._producers: list[list[int]] = [[] for _ in range(size)]
        self._consumers: list[list[int]] = [[] for _ in range(size)]
        for u, v in graph.edges:
            self._producers[v].append(u)
            self._consumers[u].append(v)
        self._made: list[list[int]] = [[] for _ in range(size)]
        self._read: list[list[int]] = [[] for _ in range(size)]
        for i, tensor in enumerate(graph.tensors):
            self._made[tensor.source].append(i)
            for v in tensor.targets:
                self._read[v].append(i)
        self._free = list(range(BITS))
        self._block_bit: dict[int, int] = {}
        self._tensor_bit: dict[int, int] = {}
        self._undecided = [len(consumers) for consumers in self._consumers]
        self._history: list[_Decided] = []
        self._decisions = 1
        self._order = depth_first_order(self._producers, self._consumers)
        self._wanted: WantedRows | None = None
        if landmarks.only is not None:
            self._wanted = WantedRows(
                landmarks, landmarks.only, self._order, self._producers, time_s
            )

    def run(self, expired: Callable[[], bool], most_rows: int) -> IdealTable | None:
        rows = PartialIdeals.start(self._landmarks.words)
        complete = [rows.take(np.zeros(0, dtype=np.int64))]
        after_merge = 1
        sources = sum(not producers for producers in self._producers)
        left = self._order[::-1]
        while left:
            chain = self._chain(left, max(1, MANY_AT_ONCE // max(1, len(rows))))
            rows = self._decide(rows, chain)
            sources -= not self._producers[chain[0]]
            if sources == 0:
                done = (rows.state & self._mask(self._block_bit.values())) == 0
                if done.any():
                    complete.append(rows.take(done))
                    rows = rows.take(~done)
            if len(rows) > GROWTH * after_merge + FEW_ROWS:
                rows = self._among_wanted(rows).merged(self._grid)
                after_merge = len(rows)
                large = after_merge > most_rows or self._decisions > MANY_DECISIONS
                if large or expired():
                    return None
        found = PartialIdeals.concatenate(complete)
        both = SOME_INSIDE | SOME_OUTSIDE
        found = found.take((found.state & both) == both)
        found = self._among_wanted(found).merged(self._grid)
        least_s, most_s, least_bytes, most_bytes, cut_bytes, found_s, found_bytes = found.figures
        windows = Windows(least_s, most_s, least_bytes, most_bytes, cut_bytes)
        exact = Windows(found_s, found_s, found_bytes, found_bytes, cut_bytes)
        blocks = len(self._graph)
        return IdealTable(windows, exact, found.marks, found.last, tuple(self._history), blocks)

    def _chain(self, left: list[int], most: int) -> list[int]:
        """Take blocks from the end of a list as long as each only goes on with the next."""
        chain = [left.pop()]
        while left and len(chain) < most:
            u, v = chain[-1], left[-1]
            if self._consumers[u] != [v] or self._producers[v] != [u]:
                break
            chain.append(left.pop())
        return chain

    def _decide(self, rows: PartialIdeals, chain: list[int]) -> PartialIdeals:
        """Every row without a chain, and with its first blocks where its producers are inside.

        Nothing but the next block of the chain waits for what all but the last have made.
        """
        start, end = chain[0], chain[-1]
        needed = self._mask(self._block_bit[u] for u in self._producers[start])
        inner = rows.take((rows.state & needed) == needed)
        parts = [self._left_out(rows, start)]
        state, figures, marks = inner.state | SOME_INSIDE, inner.figures, inner.marks
        added = np.zeros((7, 1))
        for i, v in enumerate(chain, start=1):
            held, made_s, leaving = self._graph.parameter_bytes[v], self._time[v], self._leaving[v]
            added[:, 0] += (made_s, made_s, held, held, leaving, made_s, held)
            if v in self._marks:
                word, bit = self._marks[v]
                marks = marks.copy()
                marks[word] |= bit
            taken = figures + added
            if v != end:
                here = state | SOME_OUTSIDE
                taken[CUT_BYTES] += sum(self._graph.tensors[i].n_bytes for i in self._made[v])
            else:
                here = state | self._wait_for_consumers(v)
            blocks, parents = tuple(chain[:i]), inner.last.astype(np.int32)
            self._history.append(_Decided(blocks, self._decisions, parents))
            last = np.arange(self._decisions, self._decisions + len(inner))
            self._decisions += len(inner)
            parts.append(self._useful(PartialIdeals(here, taken, last, marks)))
        rows = PartialIdeals.concatenate(parts)
        if self._wanted is not None and self._wanted.decide(chain):
            rows = self._among_wanted(rows)
        forgotten = self._mask(self._retired(start))
        return PartialIdeals(rows.state & ~forgotten, rows.figures, rows.last, rows.marks)

    def _wait_for_consumers(self, v: int) -> np.uint64:
        """Give bits to a block and to those of its tensors that need one; return the block's."""
        if not self._consumers[v]:
            return np.uint64(0)
        self._block_bit[v] = self._new_bit()
        for i in self._made[v]:
            if len(self._graph.tensors[i].targets) > 1:
                self._tensor_bit[i] = self._new_bit()
        return self._mask([self._block_bit[v]])

    def _left_out(self, rows: PartialIdeals, v: int) -> PartialIdeals:
        """Rows without block ``v``: what it reads from inside leaves the ideal."""
        state = rows.state | SOME_OUTSIDE
        if not self._read[v]:
            return PartialIdeals(state, rows.figures, rows.last, rows.marks)
        figures = rows.figures.copy()
        cut_bytes = figures[CUT_BYTES]
        for i in self._read[v]:
            tensor = self._graph.tensors[i]
            inside = (state & self._mask([self._block_bit[tensor.source]])) != 0
            if i in self._tensor_bit:
                leaves = self._mask([self._tensor_bit[i]])
                inside &= (state & leaves) == 0
                state[inside] |= leaves
            cut_bytes[inside] += tensor.n_bytes
        return self._useful(PartialIdeals(state, figures, rows.last, rows.marks))

    def _among_wanted(self, rows: PartialIdeals) -> PartialIdeals:
        """Rows that may become ideals with one of the only sets of landmarks."""
        if self._wanted is None:
            return rows
        figures = rows.figures
        return rows.take(self._wanted.among(rows.marks, figures[LEAST_S], figures[MOST_S]))

    def _useful(self, rows: PartialIdeals) -> PartialIdeals:
        """Rows that no more bytes leave already than a useful cut has."""
        few = rows.figures[CUT_BYTES] <= self._grid.most_cut_bytes
        return rows if few.all() else rows.take(few)

    def _retired(self, v: int) -> list[int]:
        """Bits of producers of ``v`` that nobody undecided reads; they are free again."""
        bits: list[int] = []
        for u in self._producers[v]:
            self._undecided[u] -= 1
            if self._undecided[u] == 0:
                bits.append(self._block_bit.pop(u))
                bits += [self._tensor_bit.pop(i) for i in self._made[u] if i in self._tensor_bit]
        self._free = bits + self._free
        return bits

    def _new_bit(self) -> int:
        if not self._free:
            raise _TooWide
        return self._free.pop(0)

    @staticmethod
    def _mask(bits: Iterable[int]) -> np.uint64:
        return np.uint64(sum(1 << bit for bit in bits))
