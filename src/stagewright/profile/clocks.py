"""Telling how long something took, on the CPU and on a GPU."""

from __future__ import annotations

import time
from typing import Any, Protocol

import torch

from stagewright.model.errors import InputError


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


class SharedClock(ThreadClock):
    """Time of the calling thread, stretched by the share of the core that it gets.

    For a core that another program uses all the time. Two programs take turns of some
    milliseconds, so that a short layer mostly is not interrupted at all, and now and then for
    many times as long as it takes: its own time times (real time / thread's time) of the whole
    run so far is what it takes on average.
    """

    name = "shared"

    def __init__(self) -> None:
        self._began_ns = time.perf_counter_ns(), time.thread_time_ns()
        self._stretch = 1.0

    def finish(self) -> None:
        """Take account of the time that has passed since the start."""
        real, own = (
            now - then
            for now, then in zip(
                (time.perf_counter_ns(), time.thread_time_ns()), self._began_ns, strict=True
            )
        )
        self._stretch = max(1.0, real / max(1, own))

    def ms(self, start: int, end: int) -> float:
        """Return the thread's milliseconds between two marks, stretched."""
        return super().ms(start, end) * self._stretch


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


def clock_for(device: torch.device, *, shared_core: bool = False) -> Clock:
    """Return the clock that fits a device and the number of threads that torch uses.

    Raises
    ------
    InputError
        If a core is said to be shared, but torch computes on a GPU or with several threads.
    """
    if shared_core:
        if device.type == "cuda" or torch.get_num_threads() != 1:
            raise InputError(
                "a shared core is one that a single thread computes on",
                hint="Add --threads 1 and --device cpu",
            )
        return SharedClock()
    if device.type == "cuda":
        return CudaClock(device)
    return ThreadClock() if torch.get_num_threads() == 1 else WallClock()
