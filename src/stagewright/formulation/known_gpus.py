"""GPUs that are needed before and after the rows of a table, known from a coarser one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.ideal_table import IdealTable
from stagewright.formulation.landmarks import hashed
from stagewright.formulation.nested_windows import ROOM, NestedWindows

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def gpus_around(
    windows: NestedWindows, table: IdealTable, landmarks: int, expired: Callable[[], bool]
) -> tuple[Floats, Floats] | None:
    """GPUs before and after the rows of a table, from windows with the first of its landmarks.

    Infinite where no window has ideals of a row; ``None`` if time is over.
    """
    room_s, room_bytes = windows.load.total_s * ROOM, windows.load.total_bytes * ROOM
    before, after = np.full((2, len(table.windows)), np.inf)
    words = windows.family.marks.shape[0]
    first = np.zeros((words, 1), np.uint64)
    for i in range(landmarks):
        first[i // 64] |= np.uint64(1 << i % 64)
    marks = table.marks[:words] & first
    loads = table.windows
    keys = hashed(marks)
    order = np.argsort(keys, kind="stable")
    wanted = hashed(windows.family.marks)
    begins = np.searchsorted(keys, wanted, side="left", sorter=order)
    ends = np.searchsorted(keys, wanted, side="right", sorter=order)
    for s, low, high in _runs(windows.sets):
        if expired():
            return None
        rows = order[begins[s] : ends[s]]
        rows = rows[(marks[:, rows] == windows.family.marks[:, [s]]).all(axis=0)]
        for i in range(low, high):
            near = loads.least_s[rows] <= windows.windows.most_s[i] + room_s
            near &= loads.most_s[rows] >= windows.windows.least_s[i] - room_s
            near &= loads.least_bytes[rows] <= windows.windows.most_bytes[i] + room_bytes
            near &= loads.most_bytes[rows] >= windows.windows.least_bytes[i] - room_bytes
            here = rows[near]
            before[here] = np.minimum(before[here], windows.before[i])
            after[here] = np.minimum(after[here], windows.after[i])
    return before, after


def _runs(sets: Indices) -> list[tuple[int, int, int]]:
    """Each set that occurs, and where its windows begin and end."""
    begins = np.flatnonzero(np.diff(sets, prepend=-1))
    ends = np.append(begins, len(sets))[1:]
    return list(zip(sets[begins].tolist(), begins.tolist(), ends.tolist(), strict=True))


@dataclass(frozen=True)
class KnownGpus:
    """How many GPUs are needed before and after each row of a table."""

    table: IdealTable
    before: Floats
    after: Floats

    def around(self, table: IdealTable, s_per_byte: float) -> tuple[Floats, Floats]:
        """Bounds on the GPUs before and after the rows of a table of loads.

        Parameters
        ----------
        s_per_byte
            What a byte of parameters adds to the load.
        """
        windows, known = table.windows, self.table.windows
        least_s = windows.least_s - s_per_byte * windows.most_bytes
        most_s = windows.most_s - s_per_byte * windows.least_bytes
        room_s = windows.most_s.max(initial=0.0) * ROOM
        order = np.argsort(known.most_s)
        later = np.minimum.accumulate(self.before[order][::-1])[::-1]
        place = np.searchsorted(known.most_s[order], least_s - room_s, side="left")
        before = np.append(later, np.inf)[place]
        order = np.argsort(known.least_s)
        sooner = np.minimum.accumulate(self.after[order])
        place = np.searchsorted(known.least_s[order], most_s + room_s, side="right")
        return before, np.append(np.inf, sooner)[place]
