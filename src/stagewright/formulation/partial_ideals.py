"""Rows of partial ideals, as a sweep over the blocks keeps them, and what makes several one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.landmarks import MIX, hashed

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Words = NDArray[np.uint64]
Indices = NDArray[np.int64]

LEAST_S, MOST_S, LEAST_BYTES, MOST_BYTES, CUT_BYTES, FOUND_S, FOUND_BYTES = range(7)


@dataclass(frozen=True)
class Grid:
    """Sizes of a cell, and the most bytes that a useful cut has."""

    work_s: float
    parameter_bytes: float
    most_cut_bytes: float


@dataclass(frozen=True)
class PartialIdeals:
    """Partial ideals, told apart by state, cell and landmarks: rows.

    Attributes
    ----------
    state
        What is inside at the frontier, by row.
    figures
        Range of work and of parameters, fewest bytes that leave, and work and parameters of one
        partial ideal with so few; shape (7, rows).
    last
        Number of the decision that made that one; no two rows have the same.
    marks
        Which landmarks are inside, shape (words, rows).
    """

    state: Words
    figures: Floats
    last: Indices
    marks: Words

    @staticmethod
    def start(words: int) -> PartialIdeals:
        """Return the empty ideal, with nothing decided and so many words of landmarks."""
        figures, marks = np.zeros((7, 1)), np.zeros((words, 1), np.uint64)
        return PartialIdeals(np.zeros(1, np.uint64), figures, np.zeros(1, np.int64), marks)

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.state)

    def take(self, index: Bools | Indices) -> PartialIdeals:
        """Return some of the rows."""
        if index.dtype == np.bool_:
            index = np.flatnonzero(index)
        figures, marks = self.figures.take(index, axis=1), self.marks.take(index, axis=1)
        return PartialIdeals(self.state[index], figures, self.last[index], marks)

    @staticmethod
    def concatenate(parts: list[PartialIdeals]) -> PartialIdeals:
        """Return the rows of all parts."""
        return PartialIdeals(
            np.concatenate([x.state for x in parts]),
            np.concatenate([x.figures for x in parts], axis=1),
            np.concatenate([x.last for x in parts]),
            np.concatenate([x.marks for x in parts], axis=1),
        )

    def merged(self, grid: Grid) -> PartialIdeals:
        """One row for those of equal state and landmarks in the same cell.

        Rows are brought together by a hash of these, which sorts several times as fast as
        they do. Where hashes of different cells are equal, some rows stay apart: one more than
        needed, and none wrong.
        """
        least_s, most_s, least_bytes, most_bytes, cut_bytes, found_s, found_bytes = self.figures
        work = np.floor((least_s + most_s) / (2 * grid.work_s)).astype(np.uint64)
        held = np.floor((least_bytes + most_bytes) / (2 * grid.parameter_bytes))
        cell = work * MIX[0] + held.astype(np.uint64)
        order = np.argsort((self.state ^ (cell * MIX[1]) ^ hashed(self.marks)) * MIX[2])
        columns = np.vstack([self.state, cell, self.marks])[:, order]
        changes = np.ones(len(order), dtype=bool)
        changes[1:] = (columns[:, 1:] != columns[:, :-1]).any(axis=0)
        begins = np.flatnonzero(changes)
        counts = np.diff(begins, append=len(order))
        cut_bytes = cut_bytes[order]
        fewest = np.minimum.reduceat(cut_bytes, begins)
        # Of several with the fewest bytes the first, in whatever order a sort leaves them.
        more = cut_bytes > np.repeat(fewest, counts)
        last = np.where(more, np.iinfo(np.int64).max, self.last[order])
        first = np.minimum.reduceat(last, begins)
        found = order[last == np.repeat(first, counts)]
        figures = np.empty((7, len(begins)))
        np.minimum.reduceat(least_s[order], begins, out=figures[LEAST_S])
        np.maximum.reduceat(most_s[order], begins, out=figures[MOST_S])
        np.minimum.reduceat(least_bytes[order], begins, out=figures[LEAST_BYTES])
        np.maximum.reduceat(most_bytes[order], begins, out=figures[MOST_BYTES])
        figures[CUT_BYTES] = fewest
        figures[FOUND_S], figures[FOUND_BYTES] = found_s[found], found_bytes[found]
        return PartialIdeals(columns[0, begins], figures, first, columns[2:, begins])
