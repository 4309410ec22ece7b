r"""A lower bound on the period from windows of ideals, on one flat cluster of like GPUs.

Walk along the work that is done: a stage with m replicas that keeps period p takes the pipeline
from work x to at most x + m p - (2(m-1)/(mβ)) P, P the parameters that it holds for certain. Its
ends lie in windows, and a window lets a cut through only beside stages with enough replicas for
the fewest bytes that leave any of its ideals. A later ideal contains an earlier one, so it has no
less work and no fewer parameters. Let

    reach(g, w) = the most work that g GPUs can have done when a cut lies in window w.

If the last GPU does not reach the end, no plan keeps p, whatever the ideals in the windows. Else
only windows that some such walk passes matter: boxes are split (:mod:`ideal_boxes`) until the
walk breaks down, and a table (:mod:`ideal_table`) is made finer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.flat_costs import SLACK, FlatCosts

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Bools = NDArray[np.bool_]

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

    def take(self, sets: Indices) -> Windows:
        """Return some of the sets."""
        columns = (self.least_s, self.most_s, self.least_bytes, self.most_bytes, self.cut_bytes)
        return Windows(*(column[sets] for column in columns))

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
        self._before = np.searchsorted(self._least, self._most * (1 + ROUNDING), side="right") - 1
        self._most_so_far = np.maximum.accumulate(self._most)
        # Windows i with most(i) >= least(j) may come after j: a suffix in order of `most`.
        self._by_most = np.argsort(self._most, kind="stable")
        least_s = self._least * (1 - ROUNDING)
        self._after = np.searchsorted(self._most[self._by_most], least_s, side="left")
        # The same of parameters: sums in floating point may grow where a layer without any goes.
        self._may_hold = self._not_outside * (1 + ROUNDING)
        self._must_hold = self._inside * (1 - ROUNDING)

    def finishes(self) -> bool:
        """Whether some walk reaches the end; if not, no plan keeps the period."""
        return self._forward[1]

    def slack_s(self) -> Floats | None:
        """How much more work than it must have some walk can have done in each window.

        Returns
        -------
        array or None
            Negative where no walk passes; ``None`` if no walk reaches the end.
        """
        forward, finished = self._forward
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

    def needs(self) -> tuple[Floats, Floats] | None:
        """Fewest GPUs that can do what lies before each window, and what lies after it.

        Returns
        -------
        tuple of arrays or None
            Infinite where no walk passes; ``None`` if no walk reaches the end.
        """
        forward, finished = self._forward
        if not finished:
            return None
        backward = self._backward()
        meets = forward >= backward[::-1] - ROUNDING
        passes = ((forward > NOWHERE) & meets).any(axis=0)
        found = np.full((2, self._size), np.inf)
        for needs, reached in zip(found, (forward > NOWHERE, np.isfinite(backward)), strict=True):
            needs[self._order[passes]] = reached.argmax(axis=0)[passes]
        return found[0], found[1]

    def _gain(self, m: int) -> tuple[float, float]:
        """Work that m replicas take on within the period, and what a parameter byte takes off."""
        return m * self._period, self._costs.sync_s_per_byte * (m - 1) / m

    @cached_property
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
                by_work, by_bytes = front.able(m)
                if furthest >= enough:
                    far = by_work.at + work
                    left = per_byte * (self._all - by_work.bytes)
                    finished |= bool((np.minimum(far, far - left) >= enough).any())
                end = self._least.searchsorted(furthest, side="right")
                low, high = behind.searchsorted(np.array([front.limit, end]))
                chosen = low + (asked[low:high] <= m).nonzero()[0]
                here = behind[chosen]
                to, good = self._most[here], np.ones(len(here), dtype=bool)
                # The best start among those that may come before each window.
                for starts, most_key in ((by_work, self._before), (by_bytes, self._may_hold)):
                    upto = starts.key.searchsorted(most_key[here], side="right") - 1
                    far = starts.at + work
                    held = np.maximum.accumulate(far + per_byte * starts.bytes)[upto]
                    to = np.minimum(to, np.maximum.accumulate(far)[upto])
                    to = np.minimum(to, held - per_byte * self._inside[here])
                    good &= upto >= 0
                good &= to >= self._least[here]
                known[chosen] = np.where(good, np.maximum(known[chosen], to), known[chosen])
            reach[count, behind] = known
            # From elsewhere one GPU fewer has led as far.
            fresh = np.flatnonzero(reach[count] > reach[count - 1])
            first = self._least[fresh[0]] if len(fresh) else 0.0
            limit = int(self._most_so_far.searchsorted(first * (1 - ROUNDING), side="left"))
            columns = reach[count, fresh], self._not_outside[fresh], self._asked[fresh]
            fronts.append(_Front.of(fresh, self._inside[fresh], columns, limit))
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
                by_work, by_bytes = front.able(m)
                start = most_so_far.searchsorted(by_work.at.min() - work, side="left")
                low, high = behind.searchsorted(np.array([start, front.limit]))
                chosen = low + (asked[low:high] <= m).nonzero()[0]
                here = behind[chosen]
                need, good = self._least[here], np.ones(len(here), dtype=bool)
                # The best end among those that may come after each window.
                for ends, least_key in ((by_work, self._after), (by_bytes, self._must_hold)):
                    since = ends.key.searchsorted(least_key[here], side="left")
                    good &= since < len(ends.key)
                    since = np.minimum(since, len(ends.key) - 1)
                    far = (ends.at - work)[::-1]
                    held = far + per_byte * ends.bytes[::-1]
                    need = np.maximum(need, np.minimum.accumulate(far)[::-1][since])
                    lighter = np.minimum.accumulate(held)[::-1][since]
                    need = np.maximum(need, lighter - per_byte * self._not_outside[here])
                good &= need <= within[here]
                known[chosen] = np.where(good, np.minimum(known[chosen], need), known[chosen])
            rest[count, behind] = known
            fresh = np.flatnonzero(rest[count] < rest[count - 1])
            last = self._most[fresh[np.argmax(rank[fresh])]] if len(fresh) else -np.inf
            limit = int(self._least.searchsorted(last * (1 + ROUNDING), side="right"))
            columns = rest[count, fresh], self._inside[fresh], self._asked[fresh]
            fronts.append(_Front.of(rank[fresh], self._not_outside[fresh], columns, limit))
        return rest


@dataclass(frozen=True)
class _Order:
    """Windows in an order that tells which may come before or after another; arrays by window.

    Attributes
    ----------
    key
        Ascending.
    at
        Work that is done there.
    bytes
        Parameters there: the most that lie inside of the start of a stage, the fewest at its end.
    asked
        Replicas that the cut asks for.
    """

    key: Floats | Indices
    at: Floats
    bytes: Floats
    asked: Floats

    def take(self, index: Bools | Indices) -> _Order:
        return _Order(self.key[index], self.at[index], self.bytes[index], self.asked[index])


@dataclass(frozen=True)
class _Front:
    """Windows that so many GPUs get through further than one fewer.

    Attributes
    ----------
    by_work, by_bytes
        What contains another has no less work, and no fewer parameters.
    limit
        From which window on some may follow, or, going backwards, up to which they may precede.
    least, most
        Of the work.
    fewest, enough
        Replicas of a stage beside any of them, and beside all.
    """

    by_work: _Order
    by_bytes: _Order
    limit: int
    least: float
    most: float
    fewest: float
    enough: float

    @classmethod
    def of(
        cls, place: Indices, held: Floats, columns: tuple[Floats, Floats, Floats], limit: int
    ) -> _Front:
        """Put windows in order of their places, and of the parameters that they may hold."""
        by_work, by_bytes = (
            _Order(key, *columns).take(np.argsort(key, kind="stable")) for key in (place, held)
        )
        at, _, asked = columns
        if not len(at):
            return cls(by_work, by_bytes, limit, np.inf, -np.inf, np.inf, np.inf)
        extremes = at.min(), at.max(), asked.min(), asked.max()
        return cls(by_work, by_bytes, limit, *map(float, extremes))

    def able(self, replicas: int) -> tuple[_Order, _Order]:
        """Return those beside which a stage may have so many replicas: ``fewest`` or more."""
        if replicas >= self.enough:
            return self.by_work, self.by_bytes
        by_work, by_bytes = self.by_work, self.by_bytes
        return (
            by_work.take(by_work.asked <= replicas),
            by_bytes.take(by_bytes.asked <= replicas),
        )
