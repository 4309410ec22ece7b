r"""A lower bound on the period from windows of ideals, on one flat cluster of like GPUs.

Walk along the work that is done: a stage with m replicas that keeps period p takes the pipeline
from work x to at most x + m p - (2(m-1)/(mβ)) P, P the parameters that it holds for certain. Its
ends lie in windows, and a window lets a cut through only beside stages with enough replicas for
the fewest bytes that leave any of its ideals. A later ideal contains an earlier one, so it has no
less work and no fewer parameters. Let

    reach(g, w) = the most work that g GPUs can have done when a cut lies in window w,

and the same from the end of the pipeline, where all is mirrored.

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

    def mirrored(self, total_s: float, total_bytes: float) -> Windows:
        """Return the sets as they look from the other end of a pipeline of such work."""
        return Windows(
            total_s - self.most_s,
            total_s - self.least_s,
            total_bytes - self.most_bytes,
            total_bytes - self.least_bytes,
            self.cut_bytes,
        )

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
        self.asked = costs.asked(windows.cut_bytes, period_s)
        self._size = len(windows)
        self._passable = np.flatnonzero(np.isfinite(self.asked))
        self._windows = windows.take(self._passable)
        self._pipeline = _Pipeline(costs, period_s * SLACK, total_s, total_bytes)

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
        total_s = self._pipeline.total_s
        slack = np.full(self._size, -np.inf)
        best = np.full(len(self._passable), -np.inf)
        for ahead, back in zip(forward, self._backward[::-1], strict=True):
            met = (ahead > NOWHERE) & (back > NOWHERE)
            best = np.maximum(best, np.where(met, ahead + back - total_s, -np.inf))
        slack[self._passable] = best + total_s * ROUNDING
        return slack

    def needs(self) -> tuple[Floats, Floats] | None:
        """Fewest GPUs that can do what lies before each window, and what lies after it.

        Returns
        -------
        tuple of arrays or None
            Infinite where no walk passes; ``None`` if no walk reaches the end.
        """
        slack = self.slack_s()
        if slack is None:
            return None
        passes = slack[self._passable] >= 0
        found = np.full((2, self._size), np.inf)
        for needs, reach in zip(found, (self._forward[0], self._backward), strict=True):
            needs[self._passable[passes]] = (reach > NOWHERE).argmax(axis=0)[passes]
        return found[0], found[1]

    @cached_property
    def _forward(self) -> tuple[Floats, bool]:
        reach = _Reach(self._windows, self.asked[self._passable], self._pipeline)
        return reach.of_all(first_is_free=self._pipeline.costs.first_sends_for_free)

    @cached_property
    def _backward(self) -> Floats:
        pipeline = self._pipeline
        mirrored = self._windows.mirrored(pipeline.total_s, pipeline.total_bytes)
        reach = _Reach(mirrored, self.asked[self._passable], pipeline)
        return reach.of_all(first_is_free=False)[0]


@dataclass(frozen=True)
class _Pipeline:
    """What is to be kept: a period (with room for rounding) on so much work and parameters."""

    costs: FlatCosts
    period_s: float
    total_s: float
    total_bytes: float

    def gain(self, m: int) -> tuple[float, float]:
        """Work that m replicas take on within the period, and what a parameter byte takes off."""
        return m * self.period_s, self.costs.sync_s_per_byte * (m - 1) / m


class _Reach:
    """How far GPUs get from one end of the pipeline."""

    def __init__(self, windows: Windows, asked: Floats, pipeline: _Pipeline) -> None:
        self._pipeline = pipeline
        self._order = np.argsort(windows.least_s, kind="stable")
        sorted_ = windows.take(self._order)
        self._asked = asked[self._order]
        self._least, self._most = sorted_.least_s, sorted_.most_s
        self._inside, self._not_outside = sorted_.least_bytes, sorted_.most_bytes
        # Work and parameters are sums in floating point.
        self._room_s = pipeline.total_s * ROUNDING
        # Windows i with least(i) <= most(j) may come before j: a prefix.
        self._before = np.searchsorted(self._least, self._most + self._room_s, side="right") - 1
        self._most_so_far = np.maximum.accumulate(self._most)
        self._may_hold = self._not_outside + pipeline.total_bytes * ROUNDING

    def of_all(self, *, first_is_free: bool) -> tuple[Floats, bool]:
        """reach(g, w) for g from 0 on, and whether the other end is reached with all GPUs or fewer.

        For each number of GPUs only windows matter that fewer do not get through already: those
        near the front.

        Parameters
        ----------
        first_is_free
            The cut asks nothing of the stage at this end.
        """
        costs, total_bytes = self._pipeline.costs, self._pipeline.total_bytes
        n, most = costs.gpus, costs.most
        enough = self._pipeline.total_s - self._room_s
        reach = np.full((n + 1, len(self._least)), NOWHERE)
        fronts: list[_Front] = []
        finished = False
        for count in range(1, n + 1):
            reach[count] = reach[count - 1]
            behind = np.flatnonzero(reach[count] < self._most)
            known = reach[count, behind]
            asked = self._asked[behind]
            if count <= most:
                work, per_byte = self._pipeline.gain(count)
                finished |= work - per_byte * total_bytes >= enough
                to = np.minimum(self._most[behind], work - per_byte * self._inside[behind])
                good = to >= self._least[behind] - self._room_s
                if not first_is_free:
                    good &= asked <= count
                known = np.where(good, np.maximum(known, to), known)
            nearest = self._least[behind[0]] if len(behind) else np.inf
            for m, front in enumerate(reversed(fronts[-most:]), start=1):
                work, per_byte = self._pipeline.gain(m)
                furthest = front.most + work
                if m < front.fewest or furthest < min(enough, nearest):
                    continue
                by_work, by_bytes = front.able(m)
                if furthest >= enough:
                    far = by_work.at + work
                    left = per_byte * (total_bytes - by_work.bytes)
                    finished |= bool((np.minimum(far, far - left) >= enough).any())
                end = self._least.searchsorted(furthest + self._room_s, side="right")
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
                good &= to >= self._least[here] - self._room_s
                known[chosen] = np.where(good, np.maximum(known[chosen], to), known[chosen])
            reach[count, behind] = known
            # From elsewhere one GPU fewer has led as far.
            fresh = np.flatnonzero(reach[count] > reach[count - 1])
            first = self._least[fresh[0]] if len(fresh) else 0.0
            limit = int(self._most_so_far.searchsorted(first - self._room_s, side="left"))
            columns = reach[count, fresh], self._not_outside[fresh], self._asked[fresh]
            fronts.append(_Front.of(fresh, self._inside[fresh], columns, limit))
        found = np.empty_like(reach)
        found[:, self._order] = reach
        return found, finished


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
        The most parameters that have come with it.
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
        From which window on some may follow.
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
