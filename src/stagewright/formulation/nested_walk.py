r"""A lower bound on the period from windows of ideals that nest, as far as landmarks tell.

The walk of :mod:`box_bound` may go from a window to any with more work. Here the landmarks inside
must grow too: a stage goes from window v to window w only if the landmarks of v's ideals are
among those of w's. With s = 2/β and c_m = (m-1)/m, m replicas that keep period p take on a load
T + s c_m P <= m p. The walk goes along the load L of typical replicas, L = T + s c P, so

    L_stage <= m p - s (c_m - c) P_stage,

and the parameters of a stage are known but for what the windows leave open, which hardly matters
where c_m is close to c. For each number of replicas, the most that ::

    reach(g, v) + s (c_m - c) P(v),    v in any window with the landmarks of v among those of w,

comes to is passed on from set to set along the steps of :class:`LandmarkSets`: no pair of windows
is ever looked at. ``P(v)`` and ``P(w)`` are the ends of their ranges that allow most.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.flat_costs import SLACK, FlatCosts
from stagewright.formulation.nested_windows import NestedWindows
from stagewright.formulation.stage_starts import NOWHERE, StageStarts

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Bools = NDArray[np.bool_]

ROUNDING = 1e-11
CLASSES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 13, 18, 26, 40, 64)
"""From so many replicas on, up to the next, a stage counts what these would save: never more."""


class NestedWalk:
    """Reach of windows at one period, from the start of the pipeline.

    Parameters
    ----------
    first_is_free
        The cut asks nothing of the stage at this end.
    expired
        Whether to give up.

    Attributes
    ----------
    reach
        Of the windows of each level, shape (windows, GPUs), with the GPUs that its first column
        stands for, or fewer; each further one is for one more. Cut short when time was over.
    """

    def __init__(
        self,
        nested: NestedWindows,
        costs: FlatCosts,
        period_s: float,
        expired: Callable[[], bool],
        *,
        first_is_free: bool,
    ) -> None:
        self._nested, self._costs, self._period = nested, costs, period_s * SLACK
        self._free = first_is_free
        windows, sync_s = nested.windows, costs.sync_s_per_byte
        self._asked = costs.asked(windows.cut_bytes, period_s)
        self._room_s = _room_s(nested, costs)
        starts = [m for m in CLASSES if m <= costs.most]
        self._classes = [
            StageStarts.of(
                range(low, high), sync_s * ((low - 1) / low - nested.load.share), windows
            )
            for low, high in itertools.pairwise([*starts, costs.most + 1])
        ]
        self._starts = [self._may_start(c) for c in self._classes]
        self._bounds = np.searchsorted(nested.sets, nested.family.bounds)
        self.reach = list(itertools.takewhile(lambda _: not expired(), self._levels()))

    @property
    def complete(self) -> bool:
        """Whether there was time for all levels."""
        return len(self.reach) == len(self._bounds) - 1

    def fewest(self) -> Floats:
        """Fewest GPUs before each window; infinite where no walk comes."""
        found = [np.zeros(0)]
        for first, reach in self.reach:
            there = np.pad(reach > NOWHERE, ((0, 0), (0, 1)), constant_values=True)
            column = there.argmax(axis=1)
            found.append(np.where(column < reach.shape[1], first + column, np.inf))
        return np.concatenate(found)

    def _may_start(self, c: StageStarts) -> Bools:
        """Which windows may have such a stage after them on the GPUs that are left."""
        nested, windows = self._nested, self._nested.windows
        able: Bools = (self._asked <= c.most) & (nested.before + c.fewest <= self._costs.gpus)
        if c.extra < 0:
            return able
        # It ends no further than that, where at least so many GPUs are needed.
        order = np.argsort(windows.least_s)
        fewest = np.append(np.inf, np.minimum.accumulate(nested.after[order]))
        furthest = windows.most_s + c.most * self._period + self._room_s
        after = fewest[np.searchsorted(windows.least_s[order], furthest, side="right")]
        after[furthest >= nested.load.total_s - self._room_s] = 0
        able &= nested.before + c.fewest + after <= self._costs.gpus
        return able

    def __len__(self) -> int:
        """Count the windows."""
        return len(self._nested)

    def for_all_gpus(self, chosen: Bools | None = None) -> Floats:
        """Return reach of chosen windows for none to all GPUs, shape (windows, GPUs + 1)."""
        chosen = np.ones(len(self), dtype=bool) if chosen is None else chosen
        parts = [np.zeros((0, self._costs.gpus + 1))]
        for low, (first, reach) in zip(self._bounds.tolist(), self.reach, strict=False):
            known = reach[chosen[low : low + len(reach)]]
            columns = min(known.shape[1], self._costs.gpus + 1 - first)
            found = np.full((len(known), self._costs.gpus + 1), NOWHERE)
            if columns > 0:
                found[:, first : first + columns] = known[:, :columns]
                found[:, first + columns :] = known[:, [columns - 1]]
            parts.append(found)
        return np.concatenate(parts)

    def _levels(self) -> Iterator[tuple[int, Floats]]:
        nested, gpus = self._nested, self._costs.gpus
        family, bounds = nested.family, self._bounds
        firsts = _by_level(np.minimum, nested.before, bounds, gpus).astype(np.int64)
        lasts = _by_level(np.maximum, gpus - nested.after, bounds, 0).astype(np.int64)
        # Windows of a level and of those after it begin at such a load.
        nearest = _by_level(np.minimum, nested.windows.least_s, bounds, nested.load.total_s)
        nearest = np.minimum.accumulate(nearest[::-1])[::-1] - self._room_s
        sizes = np.diff(family.bounds).tolist()
        for level, (low, high) in enumerate(itertools.pairwise(bounds.tolist())):
            for c in self._classes:
                c.step(family.steps[level], sizes[level])
                if c.extra >= 0:
                    c.trim(nearest[level] - c.most * self._period)
            first = int(firsts[level])
            columns = max(0, int(lasts[level]) - first + 1)
            yield first, self._reach(slice(low, high), family.bounds[level], first, columns)
            for c in self._classes:
                c.leave()

    def finishes(self) -> bool:
        """Whether some walk reaches the end; if not, no plan keeps the period."""
        costs, load = self._costs, self._nested.load
        enough = load.total_s - self._room_s
        for c in self._classes:
            gains = [m * self._period - c.extra * load.total_bytes for m in c.replicas]
            if max(gains) >= enough:
                return True
            for first, known in c.past:
                best = known.max(axis=0, initial=NOWHERE)
                starts = first + np.arange(len(best))
                for m, gain in zip(c.replicas, gains, strict=True):
                    able = starts + m <= costs.gpus
                    if (best[able] + gain >= enough).any():
                        return True
        return False

    def _reach(self, rows: slice, set_: int, first: int, columns: int) -> Floats:
        """Reach of the windows of one level, and what they add to what is passed on."""
        nested, windows = self._nested, self._nested.windows
        sets = nested.sets[rows] - set_
        least, most = windows.least_s[rows] - self._room_s, windows.most_s[rows]
        reach = np.full((len(sets), columns), NOWHERE)
        if reach.size == 0:
            return reach
        asked = self._asked[rows]
        for c in self._classes:
            taken = c.taken[rows]
            for m in range(c.fewest, min(c.most, first + columns - 1) + 1):
                to = m * self._period - taken
                good = to >= least
                if not self._free:
                    good &= asked <= m
                ends = np.where(good, np.minimum(most, to), NOWHERE)
                at = max(0, m - first)
                np.maximum(reach[:, at:], ends[:, None], out=reach[:, at:])
        here = np.arange(rows.start, rows.stop)
        self._extend(here, sets, reach, first)
        # Stages may begin and end in windows of the same set.
        while self._give(rows, sets, reach, first):
            again = np.flatnonzero(self._may_grow(sets, reach, asked, most))
            if len(again) == 0:
                break
            part = reach[again]
            self._extend(here[again], sets[again], part, first)
            if (part <= reach[again]).all():
                break
            reach[again] = part
        return reach

    @staticmethod
    def _may_grow(sets: Indices, reach: Floats, asked: Floats, most: Floats) -> Bools:
        """Which windows a stage from others of their set may reach with more work than known."""
        begins = np.flatnonzero(np.diff(sets, prepend=-1))
        there = np.logical_or.reduceat(reach > NOWHERE, begins, axis=0)
        soonest = np.where(there.any(axis=1), there.argmax(axis=1), reach.shape[1])
        counts = np.diff(begins, append=len(sets))
        column = np.repeat(soonest, counts) + np.where(np.isfinite(asked), asked, reach.shape[1])
        inner = column < reach.shape[1]
        # Reach grows along the columns.
        known = reach[np.arange(len(sets)), np.where(inner, column, 0).astype(np.int64)]
        grows: Bools = inner & (known < most)
        return grows

    def _extend(self, rows: Indices, sets: Indices, reach: Floats, first: int) -> None:
        """Add a stage to what is passed on."""
        windows, columns = self._nested.windows, reach.shape[1]
        asked = self._asked[rows]
        least, most = windows.least_s[rows] - self._room_s, windows.most_s[rows]
        for c in self._classes:
            taken = c.taken[rows]
            for m in c.replicas:
                low = max(first, c.first + m)
                high = min(first + columns, c.first + c.best.shape[1] + m)
                if low >= high:
                    continue
                able = np.flatnonzero(asked <= m)
                start = c.columns(low - m, high - low)[sets[able]]
                to = start + (m * self._period - taken[able])[:, None]
                to[to < least[able, None]] = NOWHERE
                np.minimum(to, most[able, None], out=to)
                at = slice(low - first, high - first)
                reach[able, at] = np.maximum(reach[able, at], to)
        np.maximum.accumulate(reach, axis=1, out=reach)

    def _give(self, rows: slice, sets: Indices, reach: Floats, first: int) -> bool:
        """Pass on what these windows reach; return whether that is more than was known."""
        columns, grown = reach.shape[1], False
        for c, may_start in zip(self._classes, self._starts, strict=True):
            able = np.flatnonzero(may_start[rows])
            if len(able) == 0:
                continue
            begins = np.flatnonzero(np.diff(sets[able], prepend=-1))
            here = sets[able[begins]]
            own = np.maximum.reduceat(reach[able] + c.given[rows][able, None], begins, axis=0)
            c.widen(first, columns)
            at = slice(first - c.first, first - c.first + columns)
            old = c.best[here, at]
            grown |= bool((own > old).any())
            c.best[here, at] = np.maximum(old, own)
        return grown


def passed(
    nested: NestedWindows,
    costs: FlatCosts,
    period_s: float,
    expired: Callable[[], bool],
) -> tuple[Floats, NestedWindows] | None:
    """Return the windows that some walk passes, and how much load more than needed it may have.

    What is known of the GPUs before and after them comes back better; it is so for any shorter
    period, too.

    Returns
    -------
    tuple or None
        Windows ascending; ``None`` if no walk reaches the end, so that the period is refuted.
        Where time was over, all windows come back as they are, with infinite slack.
    """
    free = costs.first_sends_for_free
    room_s = _room_s(nested, costs)
    ahead = NestedWalk(nested, costs, period_s, expired, first_is_free=free)
    if not ahead.complete:
        return np.full(len(nested), np.inf), nested
    if not ahead.finishes():
        return None
    known = replace(nested, before=np.maximum(nested.before, ahead.fewest()))
    kept = known.useful(costs.gpus)
    known = known.take(kept)
    behind = known.narrowed(expired).mirrored()
    back = NestedWalk(behind, costs, period_s, expired, first_is_free=False)
    if not back.complete:
        return np.full(len(nested), np.inf), nested
    known = replace(known, after=np.maximum(known.after, back.fewest()[::-1]))
    some = np.zeros(len(ahead), dtype=bool)
    some[kept] = True
    reach, rest = ahead.for_all_gpus(some), back.for_all_gpus()[::-1]
    slack = (reach + rest[:, ::-1]).max(axis=1) - nested.load.total_s
    good = np.flatnonzero(slack >= -10 * room_s)
    return slack[good], known.take(good).narrowed(expired)


def _room_s(nested: NestedWindows, costs: FlatCosts) -> float:
    """By how much sums of loads and of all-reduce seconds may differ by rounding."""
    return (nested.load.total_s + costs.sync_s_per_byte * nested.load.total_bytes) * ROUNDING


def _by_level(reduce: np.ufunc, values: Floats, bounds: Indices, empty: float) -> Floats:
    """Reduce the values of each level; ``empty`` where it has none."""
    pairs = itertools.pairwise(bounds.tolist())
    return np.array([reduce.reduce(values[a:b]) if a < b else empty for a, b in pairs])
