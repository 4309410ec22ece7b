"""What a nested walk passes on from set to set of landmarks (:mod:`nested_walk`)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.box_bound import Windows
from stagewright.formulation.landmark_sets import Steps

Floats = NDArray[np.float64]

NOWHERE = -np.inf


@dataclass
class StageStarts:
    """Where stages with about so many replicas may start: the best of each set of landmarks.

    Attributes
    ----------
    fewest, most
        Their replicas.
    extra
        s (c_m - c) of the fewest.
    given, taken
        What the parameters of each window add to a start there, and take off an end there: extra
        times the end of their range that allows most.
    first
        GPUs that the first column of ``best`` stands for.
    best
        The most that can be had in a set of one level or any smaller one, shape (sets, GPUs).
    past
        ``first`` and ``best`` of the levels before.
    """

    fewest: int
    most: int
    extra: float
    given: Floats
    taken: Floats
    first: int = 0
    best: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    past: list[tuple[int, Floats]] = field(default_factory=list)

    @classmethod
    def of(cls, replicas: range, extra: float, windows: Windows) -> StageStarts:
        """Start with nothing known."""
        most_first = windows.most_bytes, windows.least_bytes
        start, end = most_first if extra > 0 else most_first[::-1]
        return cls(replicas[0], replicas[-1], extra, extra * start, extra * end)

    @property
    def replicas(self) -> range:
        """Numbers of them."""
        return range(self.fewest, self.most + 1)

    def step(self, steps: tuple[Steps, ...], sets: int) -> None:
        """Go to the next level, of so many sets, and pass on to them what is known."""
        known = [(s, *self.past[s.source]) for s in steps if self.past[s.source][1].shape[1]]
        self.first = min((first for _, first, _ in known), default=0)
        columns = max((first + best.shape[1] for _, first, best in known), default=0) - self.first
        self.best = np.full((sets, columns), NOWHERE)
        for s, first, best in known:
            at = slice(first - self.first, first - self.first + best.shape[1])
            self.best[s.upper, at] = np.maximum(self.best[s.upper, at], s.largest(best))

    def leave(self) -> None:
        """Remember what is known of a level."""
        self.past.append((self.first, self.best))

    def columns(self, first: int, count: int) -> Floats:
        """Return ``best`` for so many numbers of GPUs from one on."""
        if first >= self.first and first + count <= self.first + self.best.shape[1]:
            return self.best[:, first - self.first : first - self.first + count]
        found = np.full((len(self.best), count), NOWHERE)
        low, high = max(first, self.first), min(first + count, self.first + self.best.shape[1])
        if low < high:
            found[:, low - first : high - first] = self.best[
                :, low - self.first : high - self.first
            ]
        return found

    def widen(self, first: int, count: int) -> None:
        """Make room for further numbers of GPUs."""
        if self.best.shape[1] == 0:
            self.first = first
        low, high = min(first, self.first), max(first + count, self.first + self.best.shape[1])
        self.best, self.first = self.columns(low, high - low), low

    def trim(self, least: float) -> None:
        """Forget what is too little, and numbers of GPUs for which nothing is left."""
        self.best[self.best < least] = NOWHERE
        there = np.flatnonzero((self.best > NOWHERE).any(axis=0))
        low, high = (there[0], there[-1] + 1) if len(there) else (0, 0)
        self.best, self.first = self.best[:, low:high], self.first + int(low)
