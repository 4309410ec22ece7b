"""Telling how long something took, on the CPU and on a GPU."""

from __future__ import annotations

import time
from typing import Any, Protocol

import torch


class Clock(Protocol):
    """Takes marks, and tells the time between two of them."""

    name: str

    def mark(self) -> Any:
        """Note the present moment."""

    def finish(self) -> None:
        """Wait until all marks have happened."""

    def ms(self, start: Any, end: Any) -> float:
        """Return the milliseconds between two marks."""


class WallClock:
    """Real time; for computations that several threads share."""

    name = "wall"

    def mark(self) -> int:
        """Note the present moment."""
        return time.perf_counter_ns()

    def finish(self) -> None:
        """Nothing is outstanding."""

    def ms(self, start: int, end: int) -> float:
        """Return the milliseconds between two marks."""
        return (end - start) / 1e6


class ThreadClock(WallClock):
    """Time for which the calling thread ran.

    On a CPU that is idle otherwise it is real time; on one that other programs use too, it leaves
    out the time that they had.
    """

    name = "thread"

    def mark(self) -> int:
        """Note the time that this thread has used."""
        return time.thread_time_ns()


class CudaClock:
    """Events in the stream of a GPU."""

    name = "cuda-events"

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def mark(self) -> Any:
        """Put an event into the stream."""
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    def finish(self) -> None:
        """Wait for the GPU."""
        torch.cuda.synchronize(self._device)

    def ms(self, start: Any, end: Any) -> float:
        """Return the milliseconds between two events."""
        return float(start.elapsed_time(end))


def clock_for(device: torch.device) -> Clock:
    """Return the clock that fits a device and the number of threads that torch uses."""
    if device.type == "cuda":
        return CudaClock(device)
    return ThreadClock() if torch.get_num_threads() == 1 else WallClock()
