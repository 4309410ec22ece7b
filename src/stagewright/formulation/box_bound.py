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
        """reach(g, w), and whether the end is reached with all GPUs or fewer."""
        n, most = self._costs.gpus, self._costs.most
        enough = self._total * (1 - ROUNDING)
        reach = np.full((n + 1, len(self._least)), NOWHERE)
        finished = False
        for m in range(1, min(n, most) + 1):
            work, per_byte = self._gain(m)
            finished |= work - per_byte * self._all >= enough
            to = np.minimum(self._most, work - per_byte * self._inside)
            good = to >= self._least
            if not self._costs.first_sends_for_free:
                good &= self._asked <= m
            reach[m] = np.where(good, np.maximum(reach[m], to), reach[m])
        for g in range(1, n):
            at = np.maximum(reach[g], reach[g - 1], out=reach[g])
            # From elsewhere one GPU fewer has led as far.
            fresh = np.flatnonzero(at > reach[g - 1])
            if len(fresh) == 0:
                continue
            asked, first = self._asked[fresh], int(fresh[0])
            lowest = int(np.searchsorted(self._most_so_far, self._least[first], side="left"))
            for m in range(int(asked.min()), min(n - g, most) + 1):
                work, per_byte = self._gain(m)
                starts = fresh[asked <= m]
                far = at[starts] + work
                held = far + per_byte * self._not_outside[starts]
                last = np.minimum(far, held - per_byte * self._all)
                finished |= bool((last >= enough).any())
                end = int(np.searchsorted(self._least, far.max(), side="right"))
                if end <= lowest:
                    continue
                here = slice(lowest, end)
                # The best start among those that may come before each window.
                upto = np.searchsorted(starts, self._before[here], side="right") - 1
                some = upto >= 0
                best = np.maximum.accumulate(far)[upto]
                lighter = np.maximum.accumulate(held)[upto] - per_byte * self._inside[here]
                to = np.minimum(np.minimum(self._most[here], best), lighter)
                good = some & (to >= self._least[here]) & (self._asked[here] <= m)
                known = reach[g + m, here]
                reach[g + m, here] = np.where(good, np.maximum(known, to), known)
        return reach, finished

    def _backward(self) -> Floats:
        """Least work that has to be done in window w so that g GPUs can do the rest."""
        n, most = self._costs.gpus, self._costs.most
        rest = np.full((n + 1, len(self._least)), np.inf)
        for m in range(1, min(n, most) + 1):
            work, per_byte = self._gain(m)
            need = self._total - work + per_byte * (self._all - self._not_outside)
            need = np.maximum(need, self._least)
            good = (need <= self._most * (1 + ROUNDING)) & (self._asked <= m)
            rest[m] = np.where(good, need, np.inf)
        rank = np.empty(len(self._least), dtype=np.int64)
        rank[self._by_most] = np.arange(len(rank))
        most_so_far = self._most_so_far * (1 + ROUNDING)
        for g in range(1, n):
            at = np.minimum(rest[g], rest[g - 1], out=rest[g])
            fresh = np.flatnonzero(at < rest[g - 1])
            if len(fresh) == 0:
                continue
            fresh = fresh[np.argsort(rank[fresh], kind="stable")]
            asked, ranks = self._asked[fresh], rank[fresh]
            end = int(np.searchsorted(self._least, self._most[fresh[-1]], side="right"))
            for m in range(int(asked.min()), min(n - g, most) + 1):
                work, per_byte = self._gain(m)
                able = asked <= m
                ends = fresh[able]
                far = at[ends] - work
                held = far + per_byte * self._inside[ends]
                lowest = int(np.searchsorted(most_so_far, float(far.min()), side="left"))
                if end <= lowest:
                    continue
                here = slice(lowest, end)
                # The best end among those that may come after each window.
                since = np.searchsorted(ranks[able], self._after[here], side="left")
                some = since < len(ends)
                since = np.minimum(since, len(ends) - 1)
                best = np.minimum.accumulate(far[::-1])[::-1][since]
                lighter = np.minimum.accumulate(held[::-1])[::-1][since]
                need = np.maximum(
                    np.maximum(self._least[here], best),
                    lighter - per_byte * self._not_outside[here],
                )
                good = some & (need <= self._most[here] * (1 + ROUNDING))
                good &= self._asked[here] <= m
                known = rest[g + m, here]
                rest[g + m, here] = np.where(good, np.minimum(known, need), known)
        np.minimum(rest[n], rest[n - 1], out=rest[n])
        return rest
