"""What this machine's CPU can do: measured, for it has no datasheet in the table."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from stagewright.profile.clocks import ThreadClock, WallClock
from stagewright.profile.devices import Device, Kind

SIDE = 1024
"""Rows of the matrices: large enough for the library's best kernel, small enough for the cache."""

NUMBERS = 16 * 1024 * 1024
"""In each of three arrays of 64 MiB, which no cache holds."""

REPEATS = 5


def measure_cpu(name: str, threads: int) -> Device:
    """Measure a matrix product and a sum of long arrays with ``threads`` threads.

    Takes about a second. The best of a few repeats counts: a ceiling is what is sought. The clock
    is the one that layers are measured with.
    """
    clock = ThreadClock() if threads == 1 else WallClock()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        square = torch.ones(SIDE, SIDE)
        product_s = _best_s(lambda: square @ square, clock)
        x, y, total = (torch.ones(NUMBERS) for _ in range(3))
        sum_s = _best_s(lambda: torch.add(x, y, out=total), clock)
    finally:
        torch.set_num_threads(before)
    return Device(
        name,
        fp32_flop_per_s=2 * SIDE**3 / product_s,
        memory_bytes_per_s=3 * x.element_size() * NUMBERS / sum_s,
        memory_bytes=math.inf,
        clock_hz=0.0,
        kind=Kind.CPU,
    )


def _best_s(run: Callable[[], object], clock: WallClock) -> float:
    best_s = math.inf
    for _ in range(1 + REPEATS):
        start = clock.mark()
        run()
        best_s = min(best_s, clock.ms(start, clock.mark()) / 1e3)
    return best_s
