"""Windows of ideals by load, each with the landmarks that its ideals hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.box_bound import Windows
from stagewright.formulation.ideal_table import IdealTable
from stagewright.formulation.landmark_sets import LandmarkSets
from stagewright.formulation.landmarks import OnlySets

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

ROOM = 1e-9
"""Part of the whole load by which sums in another order may differ."""
FEW_LEFT = 0.5
"""Part of the sets of landmarks that have a window; it pays to sort out so few anew."""


@dataclass(frozen=True)
class Load:
    """What a walk goes along: work, and parameters at so many seconds each.

    Attributes
    ----------
    share
        c, the part of s that each byte of parameters counts.
    total_s, total_bytes
        Load and parameters of the whole graph.
    """

    share: float
    total_s: float
    total_bytes: float


@dataclass(frozen=True)
class NestedWindows:
    """Windows by load, each with a set of landmarks; ascending by these.

    Attributes
    ----------
    windows
        ``least_s`` and ``most_s`` are loads.
    sets
        Which set of the family each belongs to.
    rows
        Of a table that they are from.
    before, after
        Known lower bounds on the GPUs before each window, and after it.
    """

    family: LandmarkSets
    load: Load
    windows: Windows
    sets: Indices
    rows: Indices
    before: Floats
    after: Floats

    @classmethod
    def of(
        cls,
        table: IdealTable,
        load: Load,
        around: tuple[Floats, Floats],
        rows: Indices,
        most_sets: float = math.inf,
        expired: Callable[[], bool] = lambda: False,
    ) -> NestedWindows | None:
        """Return some rows of a table of loads, sorted by their sets.

        Parameters
        ----------
        around
            GPUs that are needed before and after each row of the table.

        Returns
        -------
        NestedWindows or None
            ``None`` if there are more sets than ``most_sets``, or time is over.
        """
        found = LandmarkSets.of(table.marks[:, rows], most_sets, expired)
        if found is None:
            return None
        family, sets = found
        order = np.argsort(sets, kind="stable")
        rows = rows[order]
        columns = sets[order], rows, around[0][rows], around[1][rows]
        return cls(family, load, table.windows.take(rows), *columns)

    def __len__(self) -> int:
        """Count the windows."""
        return len(self.sets)

    def take(self, rows: Indices) -> NestedWindows:
        """Return some of the windows, ascending."""
        return NestedWindows(
            self.family,
            self.load,
            self.windows.take(rows),
            self.sets[rows],
            self.rows[rows],
            self.before[rows],
            self.after[rows],
        )

    def useful(self, gpus: int) -> Indices:
        """Return the windows that have enough GPUs before and after them."""
        return np.flatnonzero(self.before + self.after <= gpus)

    def narrowed(self, expired: Callable[[], bool]) -> NestedWindows:
        """Forget the sets without a window, if these are most and there is time."""
        sets, place = np.unique(self.sets, return_inverse=True)
        few = len(sets) < FEW_LEFT * len(self.family)
        family = self.family.take(sets, expired) if few else None
        return self if family is None else replace(self, family=family, sets=place)

    def wanted(self, landmarks: int) -> OnlySets:
        """Return the sets with windows, of so many landmarks, and the range of their loads."""
        begins = np.flatnonzero(np.diff(self.sets, prepend=-1))
        room_s = self.load.total_s * ROOM
        least_s = np.minimum.reduceat(self.windows.least_s, begins) - room_s
        most_s = np.maximum.reduceat(self.windows.most_s, begins) + room_s
        return OnlySets(self.family.marks[:, self.sets[begins]], landmarks, least_s, most_s)

    def mirrored(self) -> NestedWindows:
        """Return the windows as they look from the other end of the pipeline, in reverse order."""
        back, family = np.arange(len(self))[::-1], self.family.mirrored
        windows = self.windows.mirrored(self.load.total_s, self.load.total_bytes).take(back)
        sets = len(family) - 1 - self.sets[back]
        columns = self.rows[back], self.after[back], self.before[back]
        return NestedWindows(family, self.load, windows, sets, *columns)
