"""How much of the cores other programs take while something is measured (Linux: /proc)."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from stagewright.scenarios.reality.processes import PROC, SYSTEM, TICK_S, USER, family

IDLE, WAITING, GUEST = 3, 4, 8
"""Fields of a core's line in ``/proc/stat`` that are not work, and the first that is in others."""


@dataclass(frozen=True)
class Watch:
    """A moment: how long cores and our own processes had worked until then."""

    cores: tuple[int, ...]
    real_s: float
    busy_s: float
    own_s: float

    @classmethod
    def start(cls, cores: Sequence[int]) -> Watch:
        """Note the present moment."""
        return cls(tuple(cores), time.monotonic(), _busy_s(cores), _own_s(cores))

    def others(self) -> float:
        """Return the share of the cores that other programs have had since, 0 to 1.

        Processes that this one started, and those that they started, are not others; those that
        are kept on another core have no part in it.
        """
        now = Watch.start(self.cores)
        real_s = (now.real_s - self.real_s) * len(self.cores)
        others_s = (now.busy_s - self.busy_s) - (now.own_s - self.own_s)
        return min(1.0, max(0.0, others_s / max(real_s, TICK_S)))


def _busy_s(cores: Sequence[int]) -> float:
    """Seconds for which cores have worked, or had to wait for another virtual machine."""
    total = 0
    for line in (PROC / "stat").read_text().splitlines():
        name, *fields = line.split()
        if name in {f"cpu{core}" for core in cores}:
            ticks = [int(x) for x in fields[:GUEST]]
            total += sum(ticks) - ticks[IDLE] - ticks[WAITING]
    return total * TICK_S


def _own_s(cores: Sequence[int]) -> float:
    """Seconds for which this process has worked, and all below it that may run on the cores."""
    total = 0
    for pid, fields in family(os.getpid()).items():
        with suppress(OSError):  # it has ended meanwhile
            if os.sched_getaffinity(pid).intersection(cores):
                total += int(fields[USER]) + int(fields[SYSTEM])
    return total * TICK_S
