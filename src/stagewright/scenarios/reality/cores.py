"""Cores as GPUs: processes that stay on one, cores that never sleep, one that is half as fast."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import ModuleType

from stagewright.model.errors import InputError
from stagewright.scenarios.reality import awake, metronome

NEEDED = 2


def two_cores() -> tuple[int, int]:
    """Return two cores of this machine.

    Raises
    ------
    InputError
        If there are fewer, or the system cannot keep a process on one.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise InputError("this system cannot keep a process on one core; Linux can")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < NEEDED:
        raise InputError(f"there are {len(cores)} cores here; two stand for the GPUs")
    return cores[0], cores[1]


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Keep this thread, and the processes that it starts meanwhile, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def kept_awake(cores: Sequence[int]) -> Iterator[None]:
    """Let cores never sleep; see ``awake``."""
    with ExitStack() as stack:
        for core in cores:
            stack.enter_context(_beside(awake, core, "keeps a core awake"))
        yield


@contextmanager
def half_speed(core: int) -> Iterator[None]:
    """Let what this process started on a core run for half of the time; see ``metronome``."""
    with _beside(metronome, core, "halves a core"):
        yield


@contextmanager
def _beside(program: ModuleType, core: int, what: str) -> Iterator[None]:
    """Run a program of ours for a core meanwhile.

    Raises
    ------
    InputError
        If it ended before.
    """
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", program.__name__, str(core), str(os.getpid())]
    )
    try:
        yield
        if process.poll() is not None:
            raise InputError(f"the program that {what} ended early; what was measured is no good")
    finally:
        process.terminate()
        process.wait()
