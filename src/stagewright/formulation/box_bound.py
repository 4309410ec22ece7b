r"""A lower bound on the period from boxes of ideals, on one flat cluster of like GPUs.

Walk along the work that is done: a stage with m replicas that keeps period p takes the pipeline
from work x to at most x + m p - (2(m-1)/(mβ)) P, P the parameters that it holds for certain. Its
ends lie in boxes, and a box lets a cut through only beside stages with enough replicas for the
fewest bytes that leave any of its ideals. Let

    reach(g, b) = the most work that g GPUs can have done when a cut lies in box b.

If the last GPU does not reach the end, no plan keeps p, whatever the ideals in the boxes. Else
only boxes that some such walk passes are worth splitting; they are split until the walk breaks
down, or time is over.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.flat_costs import SLACK, FlatCosts
from stagewright.formulation.ideal_boxes import Box, BoxTree

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

NOWHERE = -1.0


class BoxWalk:
    """Reach of every box at one period, from both ends of the pipeline."""

    def __init__(self, boxes: list[Box], tree: BoxTree, costs: FlatCosts, period_s: float) -> None:
        self._costs = costs
        self._period = period_s * SLACK
        parameters = tree.graph.parameter_bytes
        self._total = float(tree.time_s.sum())
        order = np.argsort([b.least_s for b in boxes], kind="stable")
        self.order = order
        kept = [boxes[i] for i in order]
        self._least = np.array([b.least_s for b in kept])
        self._most_work = np.array([b.most_s for b in kept])
        self._inside = np.array([parameters[b.inside].sum() for b in kept])
        self._not_outside = np.array([parameters[~b.outside].sum() for b in kept])
        self._all = float(parameters.sum())
        self._asked = costs.asked(np.array([b.cut_bytes for b in kept]), period_s)
        # Boxes i with least(i) <= most(j) may come before j: a prefix in order of `least`.
        self._upto = np.searchsorted(self._least, self._most_work, side="right") - 1
        by_most = np.argsort(self._most_work, kind="stable")
        self._by_most = by_most
        self._from = np.searchsorted(self._most_work[by_most], self._least, side="left")

    def passed(self) -> Bools | None:
        """Return ``None`` if no walk reaches the end; else which boxes some walk passes."""
        forward, finished = self._forward()
        if not finished:
            return None
        backward = self._backward()
        gpus = self._costs.gpus
        alive = np.zeros(len(self._least), dtype=bool)
        for g in range(gpus + 1):
            passes = (forward[g] > NOWHERE) & (backward[gpus - g] <= forward[g] + 1e-12)
            alive |= passes
        original = np.zeros(len(alive), dtype=bool)
        original[self.order[alive]] = True
        return original

    def _gain(self, m: int) -> tuple[float, float]:
        """Work that m replicas take on within the period, and what a parameter byte takes off."""
        return m * self._period, self._costs.sync_s_per_byte * (m - 1) / m

    def _forward(self) -> tuple[Floats, bool]:
        """reach(g, b), and whether the end is reached with all GPUs or fewer."""
        n, most = self._costs.gpus, self._costs.most
        reach = np.full((n + 1, len(self._least)), NOWHERE)
        finished = False
        for m in range(1, min(n, most) + 1):
            work, per_byte = self._gain(m)
            finished |= work - per_byte * self._all >= self._total * (1 - 1e-12)
            to = np.minimum(self._most_work, work - per_byte * self._inside)
            free = self._costs.first_sends_for_free
            asked = np.isfinite(self._asked) if free else self._asked <= m
            good = (to >= self._least) & asked
            reach[m] = np.where(good, np.maximum(reach[m], to), reach[m])
        for g in range(1, n):
            np.maximum(reach[g], reach[g - 1], out=reach[g])
            at = reach[g]
            if not (at > NOWHERE).any():
                continue
            for m in range(1, min(n - g, most) + 1):
                work, per_byte = self._gain(m)
                start = (at > NOWHERE) & (self._asked <= m)
                if not start.any():
                    continue
                far = np.where(start, at + work, NOWHERE)
                held = np.where(start, at + work + per_byte * self._not_outside, NOWHERE)
                last = np.minimum(far, held - per_byte * self._all)
                finished |= bool((last >= self._total * (1 - 1e-12)).any())
                best = np.maximum.accumulate(far)[self._upto]
                lighter = np.maximum.accumulate(held)[self._upto] - per_byte * self._inside
                to = np.minimum(np.minimum(self._most_work, best), lighter)
                good = (to >= self._least) & (self._asked <= m)
                reach[g + m] = np.where(good, np.maximum(reach[g + m], to), reach[g + m])
        return reach, finished

    def _backward(self) -> Floats:
        """Least work that has to be done in box b so that g GPUs can do the rest."""
        n, most = self._costs.gpus, self._costs.most
        rest = np.full((n + 1, len(self._least)), np.inf)
        for m in range(1, min(n, most) + 1):
            work, per_byte = self._gain(m)
            need = self._total - work + per_byte * (self._all - self._not_outside)
            need = np.maximum(need, self._least)
            good = (need <= self._most_work * (1 + 1e-12)) & (self._asked <= m)
            rest[m] = np.where(good, need, np.inf)
        for g in range(1, n):
            np.minimum(rest[g], rest[g - 1], out=rest[g])
            at = rest[g]
            if not np.isfinite(at).any():
                continue
            for m in range(1, min(n - g, most) + 1):
                work, per_byte = self._gain(m)
                end = np.isfinite(at) & (self._asked <= m)
                if not end.any():
                    continue
                far = np.where(end, at - work, np.inf)[self._by_most]
                held = np.where(end, at - work + per_byte * self._inside, np.inf)[self._by_most]
                best = np.minimum.accumulate(far[::-1])[::-1]
                lighter = np.minimum.accumulate(held[::-1])[::-1]
                place = np.minimum(self._from, len(best) - 1)
                need = np.maximum(
                    np.maximum(self._least, best[place]),
                    lighter[place] - per_byte * self._not_outside,
                )
                good = (need <= self._most_work * (1 + 1e-12)) & (self._asked <= m)
                good &= self._from < len(best)
                rest[g + m] = np.where(good, np.minimum(rest[g + m], need), rest[g + m])
        np.minimum(rest[n], rest[n - 1], out=rest[n])
        return rest
