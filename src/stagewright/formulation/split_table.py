"""What the two published recursions share: tables over state ranges, and reading a plan back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.antichain_states import StateSpace
from stagewright.formulation.problem import Settings
from stagewright.model.errors import DoesNotApply, NoPlanFound

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
ONE_STAGE = -1
FEWER = -2
MAX_TABLE_CELLS = 60_000_000
MAX_STEP_CELLS = 20_000_000
MAX_BLOCK_CELLS = 1_000_000


def check_cells(states: int, machines: int) -> None:
    """Refuse tables over all ranges of states that would not fit into memory.

    Only recursions that must answer for every first state need them: inner levels, and servers
    that are joined later.
    """
    cells = states * states * machines
    if cells > MAX_TABLE_CELLS:
        raise DoesNotApply(
            f"the published recursion would need {cells:,} table cells for {states:,} antichain "
            "states; use --planner cpsat or linear-dp"
        )


def range_table(totals: Floats) -> Floats:
    """Turn per-state totals C_j into C_ij = C_j - C_{i-1}; +inf for j < i."""
    before = np.concatenate(([0.0], totals[:-1]))
    size = len(totals)
    table: Floats = totals[None, :] - before[:, None]
    table[np.tril_indices(size, -1)] = np.inf
    return table


@dataclass(frozen=True)
class Part:
    """One stage of one level: states ``first`` to ``last`` on ``machines`` machines.

    ``offset`` machines of the level's list stand before it.
    """

    first: int
    last: int
    machines: int
    offset: int


@dataclass
class SplitTable:
    """Best values A[i][j][m] of one level, and how each was reached.

    Attributes
    ----------
    value
        ``[i, j, m - 1]`` seconds, shape (starts, states, machines).
    split
        The last state of the part before the last stage, or :data:`ONE_STAGE`, or
        :data:`FEWER` for "as with one machine fewer"; same shape.
    machines
        m' of the last stage; same shape.
    """

    value: Floats
    split: Indices
    machines: Indices

    def parts(self, i: int, j: int, m: int) -> list[Part]:
        """Stages of the best split of states i to j over m machines, first stage first."""
        found: list[Part] = []
        while True:
            k = int(self.split[i, j, m - 1])
            if k == FEWER:
                m -= 1
                continue
            if k == ONE_STAGE:
                found.append(Part(i, j, m, 0))
                return found[::-1]
            last = int(self.machines[i, j, m - 1])
            found.append(Part(k + 1, j, last, m - last))
            j, m = k, m - last


LastStage = Callable[[int, Indices, Indices, Indices], Floats]
"""(j, k, m, m') -> seconds of a last stage (k+1..j) on m' of m machines; inf if barred.

k has shape (splits, 1); m and m' have shape (pairs,); the answer has shape (splits, pairs).
"""


def fill(
    states: StateSpace,
    one_stage: Floats,
    last_stage: LastStage,
    *,
    starts: int,
    settings: Settings,
    allowed: Callable[[Indices, Indices], NDArray[np.bool_]] | None = None,
    fewer_machines: bool = False,
) -> SplitTable:
    """Run a published recursion.

    Parameters
    ----------
    one_stage
        ``[i, j, m - 1]``: one stage for states i to j on the first m machines.
    last_stage
        See :data:`LastStage`.
    starts
        Number of values of i that are wanted (1 for the outermost level, else all states).
    settings
        Whose time limit and stop are obeyed, with :class:`NoPlanFound`.
    allowed
        (m, m') -> which splits may replace a value that exists already.
    fewer_machines
        Let m machines take over the value of m - 1.
    """
    size, n = one_stage.shape[1:]
    if n * n * size > MAX_STEP_CELLS:
        raise DoesNotApply(
            f"the published recursion over {n:,} machines and {size:,} states is too large; "
            "use --planner cpsat or linear-dp"
        )
    value = one_stage[:starts].copy()
    table = SplitTable(
        value,
        np.full(value.shape, ONE_STAGE, dtype=np.int64),
        np.zeros(value.shape, dtype=np.int64),
    )
    m = np.array([m for m in range(2, n + 1) for _ in range(1, m)], dtype=np.int64)
    last = np.array([last for m in range(2, n + 1) for last in range(1, m)], dtype=np.int64)
    legal = np.ones(len(m), dtype=bool) if allowed is None else allowed(m, last)
    reach = states.reachable_from
    for j in range(size):
        if settings.expired:
            raise NoPlanFound("the published recursion did not finish before it was stopped")
        ks = np.flatnonzero(reach[j, :j])
        tail = last_stage(j, ks[:, None], m, last)
        rows = max(1, MAX_BLOCK_CELLS // max(1, tail.size))
        for start in range(0, min(starts, j) if tail.size else 0, rows):
            i = np.arange(start, min(start + rows, starts, j))
            barred = (ks < i[:, None]) | ((i > 0)[:, None] & reach[np.maximum(i - 1, 0)][:, ks])
            head = value[i[:, None, None], ks[:, None], m - last - 1]
            candidates = np.maximum(head, tail)
            candidates[barred] = np.inf
            _improve(table, i, j, candidates, ks, legal)
        if fewer_machines:
            _take_over_fewer(table, j, min(starts, j))
    return table


def _improve(
    table: SplitTable,
    i: Indices,
    j: int,
    candidates: Floats,
    ks: Indices,
    legal: NDArray[np.bool_],
) -> None:
    """Take over the best candidates, shape (starts i, splits, pairs), for state j and every m."""
    best_k = candidates.argmin(axis=1)
    best = np.take_along_axis(candidates, best_k[:, None, :], axis=1)[:, 0]
    best = np.where(legal, best, np.inf)
    row = np.arange(len(i))
    start = 0
    for m in range(2, table.value.shape[2] + 1):
        pairs = slice(start, start + m - 1)
        start += m - 1
        last = best[:, pairs].argmin(axis=1)
        found, k = best[:, pairs][row, last], best_k[:, pairs][row, last]
        for r in np.flatnonzero(~np.isfinite(table.value[i, j, m - 1])):
            # Without a value so far the published planner takes the first split it meets.
            block = candidates[r, :, pairs]
            first = np.flatnonzero(np.isfinite(block))[:1]
            if len(first) and not found[r] <= block.flat[first[0]]:
                k[r], last[r] = divmod(int(first[0]), m - 1)
                found[r] = block.flat[first[0]]
        better = np.flatnonzero(found < table.value[i, j, m - 1])
        cell = i[better], j, m - 1
        table.value[cell] = found[better]
        table.split[cell] = ks[k[better]]
        table.machines[cell] = last[better] + 1


def _take_over_fewer(table: SplitTable, j: int, starts: int) -> None:
    for i in range(starts):
        for m in range(1, table.value.shape[2]):
            if table.value[i, j, m - 1] < table.value[i, j, m]:
                table.value[i, j, m] = table.value[i, j, m - 1]
                table.split[i, j, m] = FEWER
