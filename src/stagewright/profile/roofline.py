"""The roofline: the least time that a pass through a layer can take on a device.

A pass is arithmetic, traffic between the chip and its memory, and traffic inside the chip; the
slowest of the three bounds its time from below (Williams, Waterman and Patterson, "Roofline",
CACM 52(4), 2009; with a ceiling for each level of memory: Yang, Kurth and Williams,
"Hierarchical Roofline Analysis for GPUs", Concurrency and Computation 32(20), 2020).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum


class Limit(StrEnum):
    """What bounds the time of a pass."""

    ARITHMETIC = "arithmetic"
    MEMORY = "memory"
    ON_CHIP = "on-chip memory"
    NOTHING = "nothing counted"


@dataclass(frozen=True, slots=True)
class Rates:
    """What a device can do at most in a second.

    Attributes
    ----------
    flop_per_s
        Floating-point operations.
    bytes_per_s
        Bytes between the chip and its memory.
    on_chip_bytes_per_s
        Bytes between the arithmetic units and the memory beside them.
    """

    flop_per_s: float
    bytes_per_s: float
    on_chip_bytes_per_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Work:
    """What a pass through a layer does on any device."""

    flops: float = 0.0
    moved_bytes: float = 0.0
    on_chip_bytes: float = 0.0

    def times(self, factor: float) -> Work:
        """Return the work of ``factor`` such passes."""
        return Work(factor * self.flops, factor * self.moved_bytes, factor * self.on_chip_bytes)


def roof_s(work: Work, rates: Rates) -> float:
    """Return the least seconds that ``work`` takes.

    >>> roof_s(Work(flops=2e9, moved_bytes=1e8), Rates(flop_per_s=1e12, bytes_per_s=1e11))
    0.002
    """
    return max(_ceilings_s(work, rates).values())


def limit_of(work: Work, rates: Rates) -> Limit:
    """Return which of the ceilings bounds ``work``."""
    ceilings_s = _ceilings_s(work, rates)
    highest = max(ceilings_s, key=ceilings_s.__getitem__)
    return highest if ceilings_s[highest] > 0 else Limit.NOTHING


def _ceilings_s(work: Work, rates: Rates) -> dict[Limit, float]:
    return {
        Limit.ARITHMETIC: work.flops / rates.flop_per_s,
        Limit.MEMORY: work.moved_bytes / rates.bytes_per_s,
        Limit.ON_CHIP: work.on_chip_bytes / rates.on_chip_bytes_per_s,
    }
