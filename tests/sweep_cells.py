"""Sweep cells for tests: small ones, slow ones, and ones that end their worker."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

from builders import chain, write_profile
from stagewright.scenarios.sweep.cells import Cell, Sweep, make_sweep
from stagewright.scenarios.sweep.tables import read_sweep

SMALL = """\
title = "Two chains on three clusters"

[workloads.even.profiles]
V = "even.txt"
X = "even.txt"

[workloads.steep.profiles]
V = "steep.txt"
X = "even.txt"

[clusters]
alike = {servers = [{V = 3}]}
mixed = {servers = [{V = 2, X = 2}]}

[axes]
bandwidths_bytes_per_s = [1e7, 3e7, 1e8, 3e8, 1e9]
planners = ["linear-dp", "exact-dp", "cpsat"]

[options]
time_limit_s = 20
"""
"""60 cells."""


def write_sweep(folder: Path, text: str = SMALL, layers: int = 12) -> Path:
    """Write a sweep file and the two profiles that it names."""
    even = chain([4 + i % 3 for i in range(layers)], 2e5, 3e5)
    steep = chain([2 + i for i in range(layers)], 2e5, 3e5)
    write_profile(folder, even, "even.txt")
    write_profile(folder, steep, "steep.txt")
    path = folder / "sweep.toml"
    path.write_text(text, encoding="utf-8")
    return path


def small_sweep(folder: Path, text: str = SMALL, layers: int = 12) -> Sweep:
    """Read such a sweep."""
    path = write_sweep(folder, text, layers)
    return make_sweep(path, read_sweep(path))


class Slow:
    """A problem that takes a while to unpack."""

    def __init__(self, problem: object, seconds: float) -> None:
        self.problem, self.seconds = problem, seconds

    def __reduce__(self):
        return _after, (self.seconds, self.problem)


def _after(seconds: float, problem: object) -> object:
    time.sleep(seconds)
    return problem


class Deadly:
    """A problem that ends the process that unpacks it, as running out of memory would."""

    def __reduce__(self):
        return os._exit, (9,)


def slowed(cell: Cell, seconds: float) -> Cell:
    """Return the cell with a pause before it."""
    return dataclasses.replace(
        cell, job=dataclasses.replace(cell.job, problem=Slow(cell.job.problem, seconds))
    )


def deadly(cell: Cell) -> Cell:
    """Return a cell that nobody survives."""
    return dataclasses.replace(
        cell, job=dataclasses.replace(cell.job, problem=Deadly()), problem_key="deadly"
    )


class Logged(Slow):
    """A slow problem that notes when unpacking it began and ended."""

    def __init__(self, problem: object, path: str) -> None:
        super().__init__(problem, 0.15)
        self.path = path

    def __reduce__(self):
        return _noted, (self.path, self.seconds, self.problem)


def _noted(path: str, seconds: float, problem: object) -> object:
    began = time.time()
    time.sleep(seconds)
    Path(path).write_text(f"{began} {time.time()}", encoding="utf-8")
    return problem
