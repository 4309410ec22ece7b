"""Which landmarks an ideal holds: the sets that occur, and which contains which.

An ideal that contains another holds its landmarks too. What is to be known of all ideals inside
another, as far as landmarks tell, is passed on from set to set along direct inclusions, with no
look at any pair of ideals.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Words = NDArray[np.uint64]


AT_ONCE = 256
"""Sets whose inclusions are looked at together, for the sake of memory."""


@dataclass(frozen=True)
class Steps:
    """Inclusions between sets of two sizes.

    Attributes
    ----------
    source
        Level of the smaller sets.
    lower
        The smaller ones, counted from the first of their level; those of one larger are together.
    begins
        Where those of each larger one begin.
    upper
        The larger ones, counted from the first of their level.
    """

    source: int
    lower: Indices
    begins: Indices
    upper: Indices

    @classmethod
    def of(cls, source: int, lower: Indices, upper: Indices) -> Steps:
        """Sort inclusions."""
        order = np.argsort(upper, kind="stable")
        begins = np.flatnonzero(np.diff(upper[order], prepend=-1))
        return cls(source, lower[order], begins, upper[order][begins])

    def largest(self, values: Floats) -> Floats:
        """Return the largest of the values of the smaller sets for each of ``upper``."""
        (_, first), *others = self._turns
        found = values[first]
        for more, lower in others:
            found[more] = np.maximum(found[more], values[lower])
        return found

    @cached_property
    def _turns(self) -> list[tuple[Indices, Indices]]:
        """Which of ``upper`` have a first, a second … smaller set, and these."""
        counts = np.diff(self.begins, append=len(self.lower))
        turns = (np.flatnonzero(counts > i) for i in range(int(counts.max())))
        return [(more, self.lower[self.begins[more] + i]) for i, more in enumerate(turns)]


@dataclass(frozen=True)
class LandmarkSets:
    """Distinct sets of landmarks, ascending by size.

    Attributes
    ----------
    marks
        A bit for each landmark, shape (words, sets).
    bounds
        Where each level begins among the sets, and the end. Sets of a level are of one size.
    steps
        For each level, those into its sets.
    """

    marks: Words
    bounds: Indices
    steps: tuple[tuple[Steps, ...], ...]

    @classmethod
    def of(
        cls, marks: Words, most: float = math.inf, expired: Callable[[], bool] = lambda: False
    ) -> tuple[LandmarkSets, Indices] | None:
        """Return the distinct sets among columns of marks, and which each column is.

        ``None`` if there are more than ``most``, or time is over. It takes a bit for each pair of
        them.
        """
        distinct, place = np.unique(marks, axis=1, return_inverse=True)
        if distinct.shape[1] > most:
            return None
        size = np.bitwise_count(distinct).sum(axis=0, dtype=np.int64)
        order = np.argsort(size, kind="stable")
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        family = cls._of_distinct(distinct[:, order], expired)
        return None if family is None else (family, rank[place.ravel()])

    @classmethod
    def _of_distinct(cls, marks: Words, expired: Callable[[], bool]) -> LandmarkSets | None:
        """Return sets that differ, ascending by size."""
        size = np.bitwise_count(marks).sum(axis=0, dtype=np.int64)
        sizes, begins = np.unique(size, return_index=True)
        bounds = np.append(begins, len(size)) if len(sizes) else np.zeros(1, dtype=np.int64)
        pairs = _direct(marks, expired)
        return None if pairs is None else cls(marks, bounds, _steps(*pairs, bounds))

    def take(self, sets: Indices, expired: Callable[[], bool]) -> LandmarkSets | None:
        """Return some of the sets, ascending; ``None`` if time is over."""
        return self._of_distinct(self.marks[:, sets], expired)

    def __len__(self) -> int:
        """Count the sets."""
        return int(self.marks.shape[1])

    @cached_property
    def mirrored(self) -> LandmarkSets:
        """The landmarks outside instead: the last set comes first."""
        levels, sizes = len(self.steps), np.diff(self.bounds)
        found: list[list[Steps]] = [[] for _ in range(levels)]
        for level, steps in enumerate(self.steps):
            for s in steps:
                counts = np.diff(s.begins, append=len(s.lower))
                above = sizes[level] - 1 - np.repeat(s.upper, counts)
                below = sizes[s.source] - 1 - s.lower
                mirrored = Steps.of(levels - 1 - level, above, below)
                found[levels - 1 - s.source].append(mirrored)
        bounds = len(self) - self.bounds[::-1]
        return LandmarkSets(~self.marks[:, ::-1], bounds, tuple(map(tuple, found)))


def _direct(marks: Words, expired: Callable[[], bool]) -> tuple[Indices, Indices] | None:
    """Pairs of sets of which the second contains the first with none between.

    Sets ascend by size. What a set contains is an integer of a bit for each.
    """
    lower: list[int] = []
    upper: list[int] = []
    contained: list[int] = []
    size = marks.shape[1]
    for low in range(0, size, AT_ONCE):
        if expired():
            return None
        high = min(low + AT_ONCE, size)
        inside = np.ones((high - low, high), dtype=bool)
        for word in marks:
            inside &= (word[None, :high] & ~word[low:high, None]) == 0
        rows = np.packbits(inside, axis=1, bitorder="little")
        for i, row in enumerate(rows, start=low):
            held = int.from_bytes(row.tobytes(), "little") ^ (1 << i)
            contained.append(held)
            # Of those that are in no other taken so far, the largest.
            while held:
                largest = held.bit_length() - 1
                lower.append(largest)
                upper.append(i)
                held &= ~(contained[largest] | 1 << largest)
    return np.array(lower, dtype=np.int64), np.array(upper, dtype=np.int64)


def _steps(lower: Indices, upper: Indices, bounds: Indices) -> tuple[tuple[Steps, ...], ...]:
    """Sort inclusions by the levels that they lead between."""
    sources = np.searchsorted(bounds, lower, side="right") - 1
    targets = np.searchsorted(bounds, upper, side="right") - 1
    order = np.lexsort((sources, targets))
    lower, upper, sources, targets = (x[order] for x in (lower, upper, sources, targets))
    levels = len(bounds) - 1
    found: list[list[Steps]] = [[] for _ in range(levels)]
    changes = np.flatnonzero((np.diff(sources) != 0) | (np.diff(targets) != 0)) + 1
    for low, high in itertools.pairwise([0, *changes.tolist(), len(lower)]):
        if low < high:
            source, target = int(sources[low]), int(targets[low])
            pairs = lower[low:high] - bounds[source], upper[low:high] - bounds[target]
            found[target].append(Steps.of(source, *pairs))
    return tuple(map(tuple, found))
