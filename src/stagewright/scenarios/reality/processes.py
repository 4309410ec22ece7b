"""What the system knows of a process and of all below it (Linux: /proc)."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")

TICK_S = 1 / os.sysconf("SC_CLK_TCK")

PARENT, USER, SYSTEM = 1, 11, 12
"""Fields of ``/proc/PID/stat`` behind the name of the program (proc(5): ppid, utime, stime)."""


def family(root: int) -> dict[int, list[str]]:
    """Return the fields of a process, and of those that it started, and that they started."""
    known: dict[int, list[str]] = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it has ended meanwhile
                known[int(folder.name)] = _fields(int(folder.name))
    found = {root}
    while more := {pid for pid, x in known.items() if int(x[PARENT]) in found} - found:
        found |= more
    return {pid: known[pid] for pid in found if pid in known}


def processor_ticks(pid: int) -> int | None:
    """Return for how many ticks a process has used the processor; ``None`` if it has ended."""
    try:
        fields = _fields(pid)
    except OSError:
        return None
    return int(fields[USER]) + int(fields[SYSTEM])


def _fields(pid: int) -> list[str]:
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
