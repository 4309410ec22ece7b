"""Landmarks: blocks by which a table tells ideals apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MIX = tuple(np.uint64(x) for x in (1 << 32, 0xC2B2AE3D27D4EB4F, 0x9E3779B97F4A7C15))
"""The first keeps two numbers of a cell apart, the others are odd with irregular bits."""


@dataclass(frozen=True)
class OnlySets:
    """Sets of the first landmarks, and how much work ideals have that hold them.

    Attributes
    ----------
    marks
        The sets, shape (words, sets).
    first
        How many landmarks these are of.
    least_s, most_s
        Range of the work with each set, with room for rounding; other ideals may be left out.
    """

    marks: Words
    first: int
    least_s: Floats
    most_s: Floats

    def count(self, marks: Words, least_s: Floats, most_s: Floats) -> int:
        """Count the ideals, by their marks and the range of their work, that may have such sets."""
        if self.marks.shape[1] == 0:
            return 0
        wanted = hashed(self.marks)
        order = np.argsort(wanted)
        ranges = self.least_s[order], self.most_s[order]
        return int(_meeting(wanted[order], ranges, hashed(marks), (least_s, most_s)).sum())


@dataclass(frozen=True)
class Landmarks:
    """Blocks of which each row knows whether its ideals hold them.

    Attributes
    ----------
    blocks
        The first has the lowest bit of the first word.
    only
        Ideals that hold no such set of the first landmarks may be left out; all matter if ``None``.
    """

    blocks: tuple[int, ...]
    only: OnlySets | None = None

    @property
    def words(self) -> int:
        """How many words hold a bit for each."""
        return -(-len(self.blocks) // 64)

    def bits(self) -> dict[int, tuple[int, np.uint64]]:
        """Word and bit of each block."""
        return {v: (i // 64, np.uint64(1 << i % 64)) for i, v in enumerate(self.blocks)}


class WantedRows:
    """Which partial ideals of a sweep may still become ideals with one of the only sets.

    Of the blocks that are not decided yet, those before a landmark inside come along for certain,
    those after one outside do not, and the others may or may not.

    Parameters
    ----------
    order
        All blocks, each after its producers.
    producers, time_s
        Of each block: those that it reads from, and its work.
    """

    def __init__(
        self,
        landmarks: Landmarks,
        only: OnlySets,
        order: list[int],
        producers: list[list[int]],
        time_s: Floats,
    ) -> None:
        self._only, self._bits = only, dict(list(landmarks.bits().items())[: only.first])
        inside, outside = np.zeros((2, len(producers), only.marks.shape[1]), dtype=bool)
        for v, (word, bit) in self._bits.items():
            inside[v] = (only.marks[word] & bit) != 0
            outside[v] = ~inside[v]
        for v in reversed(order):
            for u in producers[v]:
                inside[u] |= inside[v]
        for v in order:
            for u in producers[v]:
                outside[v] |= outside[u]
        self._inside, self._free = inside, ~(inside | outside)
        self._decided = np.zeros((len(only.marks), 1), np.uint64)
        self._time = time_s
        self._certain_s, self._possible_s = time_s @ self._inside, time_s @ self._free

    def decide(self, blocks: list[int]) -> bool:
        """Note that blocks are decided; return whether one of the first landmarks is among them."""
        self._certain_s -= self._time[blocks] @ self._inside[blocks]
        self._possible_s -= self._time[blocks] @ self._free[blocks]
        marked = [self._bits[v] for v in blocks if v in self._bits]
        for word, bit in marked:
            self._decided[word] |= bit
        return bool(marked)

    def among(self, marks: Words, least_s: Floats, most_s: Floats) -> Bools:
        """Tell which rows to go on with, by their marks and the range of their work so far."""
        only = self._only
        if only.marks.shape[1] == 0:
            return np.zeros(marks.shape[1], dtype=bool)
        known, set_ = np.unique(hashed(only.marks & self._decided), return_inverse=True)
        low, high = np.full(len(known), np.inf), np.full(len(known), -np.inf)
        np.minimum.at(low, set_, only.least_s - self._certain_s - self._possible_s)
        np.maximum.at(high, set_, only.most_s - self._certain_s)
        keys = hashed(marks[: len(self._decided)] & self._decided)
        return _meeting(known, (low, high), keys, (least_s, most_s))


def _meeting(
    known: Words, known_s: tuple[Floats, Floats], keys: Words, range_s: tuple[Floats, Floats]
) -> Bools:
    """Tell which keys are known, with a range that meets the known one; ``known`` ascends."""
    place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    meeting: Bools = known[place] == keys
    meeting &= (range_s[0] <= known_s[1][place]) & (range_s[1] >= known_s[0][place])
    return meeting


def hashed(marks: Words) -> Words:
    """Mix the words of each column into one."""
    mixed = np.zeros(marks.shape[1], np.uint64)
    for word in marks:
        mixed = (mixed ^ word) * MIX[1]
        mixed ^= mixed >> np.uint64(29)
    return mixed
