"""Landmarks: blocks by which a table tells ideals apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

MIX = tuple(np.uint64(x) for x in (1 << 32, 0xC2B2AE3D27D4EB4F, 0x9E3779B97F4A7C15))
"""The first keeps two numbers of a cell apart, the others are odd with irregular bits."""


@dataclass(frozen=True)
class Landmarks:
    """Blocks of which each row knows whether its ideals hold them.

    Attributes
    ----------
    blocks
        The first has the lowest bit of the first word.
    only
        Sets of the first landmarks, shape (words, sets): ideals that hold another set of these may
        be left out, none other may. All if ``None``.
    first
        How many landmarks these are.
    """

    blocks: tuple[int, ...]
    only: Words | None = None
    first: int = 0

    @property
    def words(self) -> int:
        """How many words hold a bit for each."""
        return -(-len(self.blocks) // 64)

    def bits(self) -> dict[int, tuple[int, np.uint64]]:
        """Word and bit of each block."""
        return {v: (i // 64, np.uint64(1 << i % 64)) for i, v in enumerate(self.blocks)}


def hashed(marks: Words) -> Words:
    """Mix the words of each column into one."""
    mixed = np.zeros(marks.shape[1], np.uint64)
    for word in marks:
        mixed = (mixed ^ word) * MIX[1]
        mixed ^= mixed >> np.uint64(29)
    return mixed
