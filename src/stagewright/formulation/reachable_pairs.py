r"""Pairs of cuts that a stage may lie between, told from the walk before any is looked at.

Of n ideals n²/2 pairs may be stages, most of them with more on either side than the other GPUs can
do. The walk (:mod:`box_bound`) knows for each ideal I how many GPUs f(I) the layers inside need at
least, and b(I) those outside, whatever the other cuts. A stage J \ I has k = GPUs - f(I) - b(J) of
them left, so that its load T + 2(k-1)P/(βk), or its work if one replica is enough, is at most k
periods. Among ideals with the same f and those with the same b these are ranges of a sorted array.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.box_bound import ROUNDING, Walk, Windows
from stagewright.formulation.cut_space import CutSpace
from stagewright.formulation.flat_costs import SLACK, FlatCosts

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Ideals = NDArray[np.int32]

DENSE = 0.25
"""Part of the square of the ideals."""
AT_ONCE = 1_000_000
"""Pairs that are looked at together, for the sake of memory."""


@dataclass(frozen=True)
class ReachablePairs:
    """Pairs of an ideal and a larger one that some plan may have as neighbouring cuts.

    Attributes
    ----------
    first, last
        The two ideals of each pair, ascending by the first and then by the last.
    before
        Fewest GPUs for the layers inside of each ideal; infinite where no plan can be cut.
    thinned
        Whether some ideals were left out by chance.
    """

    first: Ideals
    last: Ideals
    before: Floats
    thinned: bool


def reachable_pairs(
    space: CutSpace,
    time_s: Floats,
    costs: FlatCosts,
    period_s: float,
    most: float = math.inf,
) -> ReachablePairs | None:
    """Return the pairs that matter for one period, and for every shorter one.

    Parameters
    ----------
    space
        Ideals, from the empty one to the whole graph.
    time_s
        Work of each.
    costs, period_s
        What a plan would have to keep.
    most
        Where more pairs would have to be looked at, ideals are left out by chance.

    Returns
    -------
    ReachablePairs or None
        ``None`` where nothing is to be left out, and the walk leaves so many pairs that all of
        them are found sooner.
    """
    size, held = len(space), space.parameter_bytes
    inner = slice(1, -1)
    columns = (time_s[inner], time_s[inner], held[inner], held[inner], space.cut_bytes[inner])
    walk = Walk(Windows(*columns), costs, period_s, float(time_s[-1]), float(held[-1]))
    before, after = walk.needs() or np.full((2, size - 2), np.inf)
    figures = _Figures(
        time_s=time_s,
        held=held,
        asked=np.concatenate([[1.0], walk.asked, [1.0]]),
        before=np.concatenate([[0.0], before, [np.inf]]),
        after=np.concatenate([[np.inf], after, [0.0]]),
    )
    ranges = list(_ranges(figures, costs, period_s * SLACK))
    count = sum(int(x.counts.sum()) for x in ranges)
    if most == math.inf and count > DENSE * size**2:
        return None
    share = math.sqrt(most / max(1, count))
    if share < 1:
        figures = figures.thinned(share)
        ranges = list(_ranges(figures, costs, period_s * SLACK))
    keys = [np.zeros(0, dtype=np.int64)]
    for found in ranges:
        for pairs in found.pairs():
            first, last = figures.growing(*pairs)
            nested = space.nested(first, last, found.first, found.last)
            keys.append(first[nested] * size + last[nested])
    # A pair that can do with one GPU comes with one and with all that are left.
    key = np.concatenate(keys)
    keys.clear()
    key.sort()
    key = key[np.diff(key, prepend=-1) > 0]
    first = key // size
    last = key - first * size
    return ReachablePairs(
        first.astype(np.int32), last.astype(np.int32), figures.before, thinned=share < 1
    )


def all_pairs(space: CutSpace) -> ReachablePairs:
    """Return all pairs, of which nothing is known; there can be 1e8."""
    larger = [space.larger(i).astype(np.int32) for i in range(len(space))]
    first = np.repeat(np.arange(len(space), dtype=np.int32), [len(x) for x in larger])
    return ReachablePairs(first, np.concatenate(larger), np.zeros(len(space)), thinned=False)


@dataclass(frozen=True)
class _Figures:
    """Arrays by ideal, the two ends among them.

    Attributes
    ----------
    time_s, held, asked
        Work and parameters inside, and replicas that the cut asks for.
    before, after
        Fewest GPUs for what is inside, and for what is not; infinite where nothing is cut.
    """

    time_s: Floats
    held: Floats
    asked: Floats
    before: Floats
    after: Floats

    def thinned(self, share: float) -> _Figures:
        """Keep a share of the ideals, chosen by chance, and the ends."""
        size = len(self.time_s)
        kept = np.random.default_rng(size).random(size) < share
        kept[[0, -1]] = True
        before, after = (np.where(kept, x, np.inf) for x in (self.before, self.after))
        return replace(self, before=before, after=after)

    def growing(self, first: Indices, last: Indices) -> tuple[Indices, Indices]:
        """Leave out pairs of which the second cannot contain the first."""
        # Sums in floating point may shrink where a layer without any goes.
        good = (first < last) & (self.held[last] * (1 + ROUNDING) >= self.held[first])
        good &= self.time_s[last] * (1 + ROUNDING) >= self.time_s[first]
        return first[good], last[good]


@dataclass(frozen=True)
class _Range:
    """Pairs of ``first[i]`` with ``counts[i]`` of ``last`` from ``low[i]`` on."""

    first: Indices
    last: Indices
    low: Indices
    counts: Indices

    @classmethod
    def of(cls, key: Floats, first: Indices, last: Indices, most: float) -> _Range:
        """Pairs of ideals between which a key grows by no more than ``most``."""
        last = last[np.argsort(key[last], kind="stable")]
        start, end = key[first], key[last]
        room = np.abs(start) * ROUNDING
        low = np.searchsorted(end, start - room, side="left")
        high = np.searchsorted(end, start + most * (1 + ROUNDING) + room, side="right")
        return cls(first, last, low, np.maximum(high - low, 0))

    def pairs(self) -> Iterator[tuple[Indices, Indices]]:
        """Yield the pairs, about AT_ONCE at a time."""
        done = np.cumsum(self.counts)
        if len(done) == 0 or done[-1] == 0:
            return
        bounds = np.searchsorted(done, np.arange(AT_ONCE, done[-1], AT_ONCE), side="right")
        edges = np.unique(np.concatenate([[0], bounds, [len(done)]]))
        for start, end in itertools.pairwise(edges.tolist()):
            counts = self.counts[start:end]
            skipped = np.cumsum(counts) - counts
            at = np.arange(int(counts.sum())) + np.repeat(self.low[start:end] - skipped, counts)
            yield np.repeat(self.first[start:end], counts), self.last[at]


def _ranges(figures: _Figures, costs: FlatCosts, period_s: float) -> Iterator[_Range]:
    """Pairs with few enough GPUs on either side, and a load that the others can do.

    What m >= 2 replicas can do, more can as well: m p - S(m-1)/m is convex in m, and where it falls
    to begin with one replica can do it too. So one, and as many as are left, say all.
    """
    loads: dict[int, Floats] = {}
    firsts, lasts = _by_value(figures.before), _by_value(figures.after)
    for (f, first), (b, last) in itertools.product(firsts.items(), lasts.items()):
        left = min(costs.gpus - f - b, costs.most)
        for replicas in sorted({1, left} if left >= 1 else ()):
            if replicas not in loads:
                per_byte = costs.sync_s_per_byte * (replicas - 1) / replicas
                loads[replicas] = figures.time_s + per_byte * figures.held
            # No cut lies before a plan's first stage, and some cost models let it send for free.
            free = f == 0 and costs.first_sends_for_free
            able_first = first[figures.asked[first] <= replicas]
            able_last = last if free else last[figures.asked[last] <= replicas]
            yield _Range.of(loads[replicas], able_first, able_last, replicas * period_s)


def _by_value(figures: Floats) -> dict[int, Indices]:
    """Return where each finite value is."""
    return {int(x): np.flatnonzero(figures == x) for x in np.unique(figures[np.isfinite(figures)])}
