r"""The fewest GPUs that keep a period, over any family of ideals: one flat cluster of like GPUs.

For a period p, H(I) is the least number of GPUs on which the layers outside ideal I keep p::

    H(I) = min over J ⊃ I of m(I, J) + H(J),    H(all) = 0,

m(I, J) the fewest replicas with (T + 2(m-1)P/(βm)) / m <= p for the stage J \ I that also carry
the cuts at I and J. More GPUs than a stage needs never help its neighbours, for each cut asks for
replicas of either side by itself. So if all ideals are given, H(∅) > GPUs proves that no plan
keeps p; and bisecting p gives the best plan. Rules that this recursion does not know (memory,
limits, demands on layers) only take plans away: the proof stays one, the plan has to be checked.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.assemble import with_inputs
from stagewright.formulation.cut_space import CutSpace
from stagewright.formulation.flat_costs import SLACK, FlatCosts
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.reachable_pairs import all_pairs, reachable_pairs
from stagewright.model.costs import SparsePipe
from stagewright.model.evaluate import evaluate
from stagewright.model.plan import Plan, Stage
from stagewright.model.rules import Recompute

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Ideals = NDArray[np.int32]

NEXT = 1 - 8e-7
"""The next period to try below a plan's: a refusal there proves the plan optimal to 1e-6."""
FEW_IDEALS, MANY_GPUS = 1000, 128
"""All pairs of so few ideals, or where there are so many GPUs, are found sooner than those that the
walk leaves."""
FEW_PAIRS = 20_000
"""So few are looked at again sooner than sorted out."""
NOTHING = 1e-12
"""Part of a known plan's period below which no period is looked for: where layers take no time,
plans that other rules forbid keep any."""
AT_ONCE = 500_000
"""Pairs that are looked at together, for the sake of memory."""
FAR, NEAR, MIDDLE = 1.3, 0.125, 0.5
"""Where a known plan takes FAR times the floor, the best one is mostly much closer to the floor:
what is tried first lies NEAR it, as a part of the gap; else just below the known plan, or in the
MIDDLE."""


def fewest_replicas(period_s: Floats | float, total: Floats, sync: Floats, least: Floats) -> Floats:
    """Smallest m >= least with ``period m² - total m + sync >= 0``; infinite where there is none.

    ``total`` is T + S and ``sync`` is S = 2P/β. If ``least`` does not satisfy it, it lies between
    the two roots, and the answer is the larger one.
    """
    possible = np.isfinite(least) & (np.asarray(period_s) > 0)
    m = np.where(possible, least, 1.0)
    fits = period_s * SLACK * m**2 - total * m + sync >= 0
    root = np.sqrt(np.maximum(total**2 - 4 * period_s * sync, 0.0))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        larger = np.ceil((total + root) / (2 * period_s) - 1e-9)
    return np.where(possible, np.where(fits, m, np.maximum(m, larger)), np.inf)


@dataclass
class FewestGpus:
    """The recursion over one family of ideals.

    Attributes
    ----------
    most_pairs
        Where the walk leaves more, ideals are left out by chance, and a refusal proves nothing.
    period_s, stages
        The best valid plan found so far, or infinity and ``None``.
    refuted_s
        The longest period that is proven impossible for plans whose cuts lie in the family.
    """

    problem: Problem
    space: CutSpace
    settings: Settings
    most_pairs: float = float("inf")

    def __post_init__(self) -> None:
        instance = self.problem.instance
        self._costs = FlatCosts.of(self.problem)
        self._time = self.space.time_s[0]
        if instance.rules.recompute == Recompute.ALWAYS:
            self._time = self._time + self.space.members @ instance.forward_s[0]
        # Pairs of an ideal and a larger one, ascending by the first, that may be stages where a
        # period is no longer than this.
        self._first = self._last = np.zeros(0, dtype=np.int32)
        self._paired_s = 0.0
        self._thinned = False
        few = len(self.space) <= FEW_IDEALS or self.space.is_chain
        self._sparse = not few and self._costs.gpus <= MANY_GPUS
        self._before: Floats = np.zeros(len(self.space))
        self._kept_s = float("inf")
        self.period_s = float("inf")
        self.stages: tuple[Stage, ...] | None = None
        self.refuted_s = 0.0

    def search(self, ceiling_s: float, floor_s: float, close: float = 1 - NEXT) -> None:
        """Narrow down the best period between a proven floor and a known plan's ceiling.

        ``close``: end when a plan is known to be within this fraction of the family's best.
        """
        high, low = ceiling_s, floor_s
        # Pairs are found for a period and all shorter ones, and the shorter it is, the fewer: of
        # too many, some are left out.
        some = self._sparse and self.most_pairs < float("inf")
        trial = low + MIDDLE * (high - low) if some else high * NEXT
        if high > FAR * low > 0:
            trial = low + NEAR * (high - low)
        step = trial - low if some else high - low
        least = NOTHING * ceiling_s
        while low < high * (1 - close) and trial > least and not self.settings.expired:
            keeps = self.keeps(trial)
            if keeps is None:
                return
            if keeps:
                high = min(trial, self.period_s)
            else:
                low = trial
            trial = min((low + high) / 2, low + step, high * NEXT)
            if not keeps and trial > self._paired_s and not some:
                trial = high * NEXT

    def keeps(self, period_s: float) -> bool | None:
        """Whether some choice of cuts keeps the period; ``None`` if time was over first.

        A plan that keeps it is judged, and remembered if it is valid and the best so far.
        """
        if period_s >= self._kept_s:
            return True
        if period_s > self._paired_s or self._thinned:
            self._pair(period_s)
        found = self._keep(period_s)
        if found is None and self.settings.expired:
            return None
        if found is None and self._thinned:
            return False
        if found is None:
            self.refuted_s = max(self.refuted_s, period_s)
            return False
        stages, fewest = found
        self._kept_s = period_s
        plan = Plan(stages, "fewest-gpus")
        judged = evaluate(self.problem.instance, plan, self.problem.cost_model)
        if judged.valid and judged.period_s < self.period_s:
            self.period_s, self.stages = judged.period_s, stages
        self._narrow(period_s, fewest)
        return True

    def _pair(self, period_s: float) -> None:
        """Find the pairs that may be stages where ``period_s`` is kept."""
        found = None
        if self._sparse:
            found = reachable_pairs(self.space, self._time, self._costs, period_s, self.most_pairs)
        self._paired_s = float("inf") if found is None else period_s
        found = found or all_pairs(self.space)
        self._first, self._last, self._before = found.first, found.last, found.before
        self._thinned = found.thinned

    def _keep(self, period_s: float) -> tuple[tuple[Stage, ...], Floats] | None:
        """Return stages that keep ``period_s`` on the GPUs there are, or ``None``.

        With them comes H, the fewest GPUs outside each ideal; infinite where it is of no use.
        Level by level, from the whole graph to the empty ideal; the pairs of one level at once.
        """
        size, gpus = len(self.space), self._costs.gpus
        asked = self._asked(period_s)
        # The layers before an ideal need at least the share of the GPUs that their work takes.
        before = np.maximum(self._before, np.ceil(self._time / (period_s * SLACK) - 1e-9))
        fewest = np.full(size, np.inf)
        fewest[-1] = 0
        following = np.full(size, -1, dtype=np.int64)
        replicas = np.zeros(size, dtype=np.int64)
        for level in reversed(self._levels(self._first, self._first, self._last)):
            if self.settings.expired:
                return None
            first, last = self._first[level], self._last[level]
            left = gpus - before[first] - fewest[last]
            hopeful = self._time[last] - self._time[first] <= left * period_s * SLACK
            hopeful &= self._least(first, last, asked) <= left
            first, last = first[hopeful], last[hopeful]
            if len(first) == 0:
                continue
            m = self._replicas(first, last, asked, period_s)
            needed = m + fewest[last]
            begins = np.flatnonzero(np.diff(first, prepend=-1))
            least = np.minimum.reduceat(needed, begins)
            ideals = first[begins]
            good = least + before[ideals] <= gpus
            attained = np.flatnonzero(needed == np.repeat(least, np.diff(begins, append=len(m))))
            best = attained[np.searchsorted(attained, begins[good])]
            ideals = ideals[good]
            fewest[ideals] = least[good]
            following[ideals] = last[best]
            replicas[ideals] = m[best]
        return (self._stages(following, replicas), fewest) if np.isfinite(fewest[0]) else None

    def _narrow(self, period_s: float, fewest: Floats) -> None:
        """Leave out pairs of cuts that no plan has which keeps a period, or a shorter one.

        The same recursion from the other end tells the fewest GPUs before each ideal; what is
        longer than the GPUs there are with those after it is out.
        """
        if len(self._first) < FEW_PAIRS or self._thinned:
            return
        gpus, asked = self._costs.gpus, self._asked(period_s)
        there = np.isfinite(fewest)
        kept = np.flatnonzero(there[self._first] & there[self._last])
        kept = kept[np.argsort(self._last[kept], kind="stable")]
        first, last = self._first[kept], self._last[kept]
        before = np.full(len(self.space), np.inf)
        before[0] = 0
        passed = np.zeros(len(kept), dtype=bool)
        for level in self._levels(last, self._first, self._last):
            if self.settings.expired:
                return
            start, end = first[level], last[level]
            left = gpus - before[start] - fewest[end]
            hopeful = np.flatnonzero(self._time[end] - self._time[start] <= left * period_s * SLACK)
            if len(hopeful) == 0:
                continue
            start, end = start[hopeful], end[hopeful]
            m = self._replicas(start, end, asked, period_s)
            needed = before[start] + m
            good = needed + fewest[end] <= gpus
            passed[level.start + hopeful[good]] = True
            np.minimum.at(before, end[good], needed[good])
        kept = np.sort(kept[passed])
        self._first, self._last = self._first[kept], self._last[kept]
        self._before = before

    @staticmethod
    def _levels(ideals: Ideals, first: Ideals, last: Ideals) -> list[slice]:
        """Return parts of an ascending array of ideals between which no pair is: levels.

        ``first`` and ``last`` are all pairs, ascending. Each part is as long as can be, up to
        :data:`AT_ONCE` pairs by the first.
        """
        begins = np.flatnonzero(np.append(True, first[1:] != first[:-1])[: len(first)])
        counts = np.diff(begins, append=len(first)).tolist()
        bounds, end, held = [0], np.iinfo(np.int32).max, 0
        ends = zip(first[begins].tolist(), last[begins].tolist(), counts, strict=True)
        for ideal, larger, count in ends:
            if ideal >= end or held + count > AT_ONCE:
                bounds.append(min(ideal, end))
                end, held = larger, 0
            end, held = min(end, larger), held + count
        bounds.append(end)
        starts = np.searchsorted(ideals, np.array(bounds, dtype=ideals.dtype))
        parts = np.unique(np.append(starts, len(ideals))).tolist()
        return [slice(low, high) for low, high in itertools.pairwise(parts)]

    def _asked(self, period_s: float) -> Floats:
        """Replicas that the cut at each ideal asks of the stages beside it; infinite: no cut."""
        asked = self._costs.asked(self.space.cut_bytes, period_s)
        asked[[0, -1]] = 1.0
        return asked

    def _replicas(self, first: Ideals, last: Ideals, asked: Floats, period_s: float) -> Floats:
        """m(I, J) for pairs of ideals; infinite where no number of replicas will do."""
        space, costs = self.space, self._costs
        sync = costs.sync_s_per_byte * (space.parameter_bytes[last] - space.parameter_bytes[first])
        total = self._time[last] - self._time[first] + sync
        room: Floats = np.full(len(first), period_s)
        if not costs.overlap:
            waits = np.where(first > 0, costs.transfer_s_per_byte * space.cut_bytes[first], 0.0)
            if costs.cost_model == SparsePipe.name:
                room -= waits
            else:
                room -= np.where(first > 0, costs.latency_s, 0.0)
                total = total + waits
        m = fewest_replicas(room, total, sync, self._least(first, last, asked))
        m[m > costs.most] = np.inf
        return m

    def _least(self, first: Ideals, last: Ideals, asked: Floats) -> Floats:
        """Replicas that the cuts at both ends of stages ask for."""
        least = np.maximum(asked[last], asked[first])
        if self._costs.first_sends_for_free:
            least = np.where(first == 0, 1.0, least)
        return least

    def _stages(self, following: Indices, replicas: Indices) -> tuple[Stage, ...]:
        """Read the stages from the start."""
        instance = self.problem.instance
        always = instance.rules.recompute == Recompute.ALWAYS
        stages: list[Stage] = []
        i = 0
        while i < len(self.space) - 1:
            j = int(following[i])
            inside = np.flatnonzero(self.space.members[j] & ~self.space.members[i])
            nodes = tuple(instance.nodes[v] for v in inside)
            stages.append(Stage(nodes, (int(replicas[i]),), always))
            i = j
        return with_inputs(instance, stages)
