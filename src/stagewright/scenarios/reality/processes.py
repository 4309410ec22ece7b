"""What the system knows of a process and of all below it (Linux: /proc)."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")

PARENT, USER, SYSTEM = 1, 11, 12
"""Fields of ``/proc/PID/stat`` behind the name of the program (proc(5): ppid, utime, stime)."""


def family(root: int) -> dict[int, list[str]]:
    """Return the fields of a process, and of those that it started, and that they started."""
    known: dict[int, list[str]] = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it has ended meanwhile
                known[int(folder.name)] = (folder / "stat").read_text().rpartition(")")[2].split()
    found = {root}
    while more := {pid for pid, x in known.items() if int(x[PARENT]) in found} - found:
        found |= more
    return {pid: known[pid] for pid in found if pid in known}
