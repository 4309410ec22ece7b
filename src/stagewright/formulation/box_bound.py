r"""A lower bound on the period from windows of ideals, on one flat cluster of like GPUs.

Walk along the work that is done: a stage with m replicas that keeps period p takes the pipeline
from work x to at most x + m p - (2(m-1)/(mβ)) P, P the parameters that it holds for certain. Its
ends lie in windows, and a window lets a cut through only beside stages with enough replicas for
the fewest bytes that leave any of its ideals. Let

    reach(g, w) = the most work that g GPUs can have done when a cut lies in window w.

If the last GPU does not reach the end, no plan keeps p, whatever the ideals in the windows. Else
only windows that some such walk passes matter: boxes are split (:mod:`ideal_boxes`) until the
walk breaks down, and a table (:mod:`ideal_table`) is made finer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.flat_costs import SLACK, FlatCosts

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

NOWHERE = -1.0
ROUNDING = 1e-12


@dataclass(frozen=True)
class Windows:
    """Sets of ideals that together hold every one, as far as a walk knows them; arrays by set.

    Attributes
    ----------
    least_s, most_s
        Range of their work.
    least_bytes, most_bytes
        Range of their parameters.
    cut_bytes
        No ideal of the set is left by fewer.
    """

    least_s: Floats
    most_s: Floats
    least_bytes: Floats
    most_bytes: Floats
    cut_bytes: Floats

    def __len__(self) -> int:
        """Count the sets."""
        return len(self.least_s)

    def with_cut_bytes(self, further: float) -> Windows:
        """Return the sets with further bytes that leave each of them."""
        return replace(self, cut_bytes=self.cut_bytes + further)


class Walk:
    """Reach of every window at one period, from both ends of the pipeline.

    Parameters
    ----------
    total_s, total_bytes
        Work and parameters of the whole graph.
    """

    def __init__(
        self,
        windows: Windows,
        costs: FlatCosts,
        period_s: float,
        total_s: float,
        total_bytes: float,
    ) -> None:
        self._costs = costs
        self._period = period_s * SLACK
        self._total, self._all = total_s, total_bytes
        asked = costs.asked(windows.cut_bytes, period_s)
        passable = np.flatnonzero(np.isfinite(asked))
        order = passable[np.argsort(windows.least_s[passable], kind="stable")]
        self._order, self._size = order, len(windows)
        self.asked = asked
        self._asked = asked[order]
        self._least, self._most = windows.least_s[order], windows.most_s[order]
        self._inside, self._not_outside = windows.least_bytes[order], windows.most_bytes[order]
        # Windows i with least(i) <= most(j) may come before j: a prefix in order of `least`.
        self._before = np.searchsorted(self._least, self._most, side="right") - 1
        self._most_so_far = np.maximum.accumulate(self._most)
        # Windows i with most(i) >= least(j) may come after j: a suffix in order of `most`.
        self._by_most = np.argsort(self._most, kind="stable")
        self._after = np.searchsorted(self._most[self._by_most], self._least, side="left")

    def finishes(self) -> bool:
        """Whether some walk reaches the end; if not, no plan keeps the period."""
        return self._forward()[1]

    def slack_s(self) -> Floats | None:
        """How much more work than it must have some walk can have done in each window.

        Returns
        -------
        array or None
            Negative where no walk passes; ``None`` if no walk reaches the end.
        """
        forward, finished = self._forward()
        if not finished:
            return None
        backward = self._backward()
        slack = np.full(self._size, -np.inf)
        best = np.full(len(self._order), -np.inf)
        for g in range(self._costs.gpus + 1):
            room = forward[g] - backward[self._costs.gpus - g]
            best = np.maximum(best, np.where(forward[g] > NOWHERE, room, -np.inf))
        slack[self._order] = best + ROUNDING
        return slack

    def _gain(self, m: int) -> tuple[float, float]:
        """Work that m replicas take on within the period, and what a parameter byte takes off."""
        return m * self._period, self._costs.sync_s_per_byte * (m - 1) / m

    def _forward(self) -> tuple[Floats, bool]:
        """reach(g, w), and whether the end is reached with all GPUs or fewer.

        For each number of GPUs only windows matter that fewer do not get through already: those
        near the front.
        """
        n, most = self._costs.gpus, self._costs.most
        enough = self._total * (1 - ROUNDING)
        reach = np.full((n + 1, len(self._least)), NOWHERE)
        fronts: list[_Front] = []
        finished = False
        for count in range(1, n + 1):
            reach[count] = reach[count - 1]
            behind = np.flatnonzero(reach[count] < self._most)
            known = reach[count, behind]
            if count <= most:
                work, per_byte = self._gain(count)
                finished |= work - per_byte * self._all >= enough
                to = np.minimum(self._most[behind], work - per_byte * self._inside[behind])
                good = to >= self._least[behind]
                if not self._costs.first_sends_for_free:
                    good &= self._asked[behind] <= count
                known = np.where(good, np.maximum(known, to), known)
            asked = self._asked[behind]
            nearest = self._least[behind[0]] if len(behind) else np.inf
            for m, front in enumerate(reversed(fronts[-most:]), start=1):
                work, per_byte = self._gain(m)
                furthest = front.most + work
                if m < front.fewest or furthest < min(enough, nearest):
                    continue
                starts = front.able(m)
                far = starts.at + work
                held = far + per_byte * starts.bytes
                if furthest >= enough:
                    finished |= bool((np.minimum(far, held - per_byte * self._all) >= enough).any())
                end = self._least.searchsorted(furthest, side="right")
                low, high = behind.searchsorted(np.array([starts.limit, end]))
                chosen = low + (asked[low:high] <= m).nonzero()[0]
                here = behind[chosen]
                # The best start among those that may come before each window.
                upto = starts.place.searchsorted(self._before[here], side="right") - 1
                best = np.maximum.accumulate(far)[upto]
                lighter = np.maximum.accumulate(held)[upto] - per_byte * self._inside[here]
                to = np.minimum(np.minimum(self._most[here], best), lighter)
                good = (upto >= 0) & (to >= self._least[here])
                known[chosen] = np.where(good, np.maximum(known[chosen], to), known[chosen])
            reach[count, behind] = known
            # From elsewhere one GPU fewer has led as far.
            fresh = np.flatnonzero(reach[count] > reach[count - 1])
            first = self._least[fresh[0]] if len(fresh) else 0.0
            limit = int(self._most_so_far.searchsorted(first, side="left"))
            fronts.append(
                _Front.of(
                    fresh, reach[count, fresh], self._not_outside[fresh], self._asked[fresh], limit
                )
            )
        return reach, finished

    def _backward(self) -> Floats:
        """Least work that has to be done in window w so that g GPUs can do the rest."""
        n, most = self._costs.gpus, self._costs.most
        rest = np.full((n + 1, len(self._least)), np.inf)
        rank = np.empty(len(self._least), dtype=np.int64)
        rank[self._by_most] = np.arange(len(rank))
        within = self._most * (1 + ROUNDING)
        most_so_far = self._most_so_far * (1 + ROUNDING)
        fronts: list[_Front] = []
        for count in range(1, n + 1):
            rest[count] = rest[count - 1]
            behind = np.flatnonzero(rest[count] > self._least)
            known = rest[count, behind]
            if count <= most:
                work, per_byte = self._gain(count)
                need = self._total - work + per_byte * (self._all - self._not_outside[behind])
                need = np.maximum(need, self._least[behind])
                good = (need <= within[behind]) & (self._asked[behind] <= count)
                known = np.where(good, np.minimum(known, need), known)
            asked = self._asked[behind]
            furthest = self._most_so_far[behind[-1]] if len(behind) else -np.inf
            for m, front in enumerate(reversed(fronts[-most:]), start=1):
                work, per_byte = self._gain(m)
                if m < front.fewest or (front.least - work) > furthest * (1 + ROUNDING):
                    continue
                ends = front.able(m)
                far = ends.at - work
                held = far + per_byte * ends.bytes
                start = most_so_far.searchsorted(far.min(), side="left")
                low, high = behind.searchsorted(np.array([start, ends.limit]))
                chosen = low + (asked[low:high] <= m).nonzero()[0]
                here = behind[chosen]
                # The best end among those that may come after each window.
                since = ends.place.searchsorted(self._after[here], side="left")
                some = since < len(ends.place)
                since = np.minimum(since, len(ends.place) - 1)
                best = np.minimum.accumulate(far[::-1])[::-1][since]
                lighter = np.minimum.accumulate(held[::-1])[::-1][since]
                need = np.maximum(
                    np.maximum(self._least[here], best),
                    lighter - per_byte * self._not_outside[here],
                )
                good = some & (need <= within[here])
                known[chosen] = np.where(good, np.minimum(known[chosen], need), known[chosen])
            rest[count, behind] = known
            fresh = np.flatnonzero(rest[count] < rest[count - 1])
            fresh = fresh[np.argsort(rank[fresh], kind="stable")]
            last = self._most[fresh[-1]] if len(fresh) else -np.inf
            limit = int(self._least.searchsorted(last, side="right"))
            fronts.append(
                _Front.of(
                    rank[fresh], rest[count, fresh], self._inside[fresh], self._asked[fresh], limit
                )
            )
        return rest


@dataclass(frozen=True)
class _Front:
    """Windows that so many GPUs get through further than one fewer; arrays by window.

    Attributes
    ----------
    place
        Ascending, in the order that tells what may come before or after.
    at
        Work that is done there.
    bytes
        Parameters there: the most that lie inside of the start of a stage, the fewest at its end.
    asked
        Replicas that the cut asks for.
    limit
        From which window on some may follow, or, going backwards, up to which they may precede.
    least, most
        Of the work.
    fewest, enough
        Replicas of a stage beside any of them, and beside all.
    """

    place: Indices
    at: Floats
    bytes: Floats
    asked: Floats
    limit: int
    least: float
    most: float
    fewest: float
    enough: float

    @classmethod
    def of(cls, place: Indices, at: Floats, held: Floats, asked: Floats, limit: int) -> _Front:
        """Take a look at the windows; a front may have none."""
        if not len(place):
            return cls(place, at, held, asked, limit, np.inf, -np.inf, np.inf, np.inf)
        extremes = at.min(), at.max(), asked.min(), asked.max()
        return cls(place, at, held, asked, limit, *map(float, extremes))

    def able(self, replicas: int) -> _Front:
        """Return those beside which a stage may have so many replicas: ``fewest`` or more."""
        if replicas >= self.enough:
            return self
        able = self.asked <= replicas
        return replace(
            self,
            place=self.place[able],
            at=self.at[able],
            bytes=self.bytes[able],
            asked=self.asked[able],
        )
