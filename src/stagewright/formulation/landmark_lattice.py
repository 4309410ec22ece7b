"""Which landmarks an ideal holds: all the sets that there are, and what contains what.

An ideal that contains another holds its landmarks too. The sets of landmarks that ideals hold are
the ideals of the order that the graph has among them: a distributive lattice (Birkhoff), so from
a set to each larger one a chain leads that takes in one landmark at a time (:class:`Lattice`). What
is to be known of all ideals inside another, as far as landmarks tell, is passed on along that
chain, with no look at any pair.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.ideal_table import hashed

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Covers:
    """Steps of one landmark into the sets of a level.

    Attributes
    ----------
    lower
        Sets of the level before, counted from its first; those below one set are together.
    begins
        Where those below each set of the level begin.
    """

    lower: Indices
    begins: Indices

    @classmethod
    def of(cls, lower: Indices, upper: Indices) -> Covers:
        """Sort steps; each set of a level has one at least."""
        order = np.argsort(upper, kind="stable")
        return cls(lower[order], np.flatnonzero(np.diff(upper[order], prepend=-1)))

    def largest(self, values: Floats) -> Floats:
        """Return the largest of the values below each set, shape (sets, any)."""
        counts = np.diff(self.begins, append=len(self.lower))
        found = values[self.lower[self.begins]]
        for i in range(1, int(counts.max())):
            more = np.flatnonzero(counts > i)
            found[more] = np.maximum(found[more], values[self.lower[self.begins[more] + i]])
        return found

    def upper(self) -> Indices:
        """Return the set of the level that each step leads to, counted from its first."""
        counts = np.diff(self.begins, append=len(self.lower))
        return np.repeat(np.arange(len(self.begins)), counts)


@dataclass(frozen=True)
class Lattice:
    """Sets of landmarks, level by level: as many landmarks more as levels.

    Attributes
    ----------
    marks
        A bit for each landmark, shape (words, sets).
    bounds
        Where each level begins among the sets, and the end.
    covers
        Of each level but the first, which is the empty set.
    """

    marks: Words
    bounds: Indices
    covers: tuple[Covers, ...]

    @classmethod
    def of(cls, marks: Words, landmarks: int) -> Lattice:
        """Return the sets that a table of all ideals has, shape (words, rows)."""
        every = _bit_columns(landmarks, len(marks))
        ends = np.stack([np.zeros(len(marks), np.uint64), np.bitwise_or.reduce(every, axis=1)], 1)
        marks = np.unique(np.concatenate([marks, ends], axis=1), axis=1)
        size = np.bitwise_count(marks).sum(axis=0, dtype=np.int64)
        order = np.argsort(size, kind="stable")
        marks = marks[:, order]
        bounds = np.searchsorted(size[order], np.arange(landmarks + 2))
        levels = [marks[:, low:high] for low, high in itertools.pairwise(bounds.tolist())]
        covers = tuple(_covers(below, level, every) for below, level in itertools.pairwise(levels))
        return cls(marks, bounds, covers)

    def __len__(self) -> int:
        """Count the sets."""
        return int(self.marks.shape[1])

    def find(self, marks: Words) -> Indices:
        """Return which set each column of marks is, -1 where it is none."""
        known = {column.tobytes(): i for i, column in enumerate(np.ascontiguousarray(self.marks.T))}
        distinct, of = np.unique(marks, axis=1, return_inverse=True)
        columns = np.ascontiguousarray(distinct.T)
        found = np.array([known.get(column.tobytes(), -1) for column in columns], dtype=np.int64)
        return found[of.ravel()] if len(found) else np.zeros(0, np.int64)

    def mirrored(self) -> Lattice:
        """Return the sets of landmarks outside; the last set is the first."""
        sizes = np.diff(self.bounds)
        covers: list[Covers] = []
        for level in range(len(sizes) - 1, 0, -1):
            steps = self.covers[level - 1]
            upper, lower = sizes[level - 1] - 1 - steps.lower, sizes[level] - 1 - steps.upper()
            covers.append(Covers.of(lower, upper))
        bounds = len(self) - self.bounds[::-1]
        return Lattice(self.marks[:, -1:] & ~self.marks[:, ::-1], bounds, tuple(covers))


def _bit_columns(landmarks: int, words: int) -> Words:
    """Each landmark alone, shape (words, landmarks)."""
    bits = np.zeros((words, landmarks), np.uint64)
    for i in range(landmarks):
        bits[i // 64, i] = np.uint64(1 << i % 64)
    return bits


def _covers(below: Words, level: Words, every: Words) -> Covers:
    """Return the steps from one level to the next."""
    # A landmark that all sets below hold is not the one by which a set is larger.
    open_ = ~np.bitwise_and.reduce(below, axis=1)
    candidates = np.flatnonzero((every & open_[:, None]).any(axis=0))
    order = np.argsort(hashed(below))
    keys = hashed(below)[order]
    lower: list[Indices] = []
    upper: list[Indices] = []
    for i in candidates.tolist():
        bit = every[:, [i]]
        holding = np.flatnonzero((level & bit).any(axis=0))
        without = level[:, holding] & ~bit
        place = np.minimum(np.searchsorted(keys, hashed(without)), len(keys) - 1)
        found = order[place]
        same = (below[:, found] == without).all(axis=0)
        lower.append(found[same])
        upper.append(holding[same])
    return Covers.of(np.concatenate(lower), np.concatenate(upper))
