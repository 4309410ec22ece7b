r"""The dynamic programme that ``exact-dp`` and ``linear-dp`` share.

Over a cut space (ideals), a resource space (GPUs in use) and what the next cut needs to know of
the stage before it, from the end of the pipeline to its start::

    F(I, u, κ) = min over J ⊃ I and ways c to equip the stage J \\ I of
                 max(stage(I, J, c), cut(I, κ, key(c)), F(J, u - c, key(c)))

F(whole graph, 0, ·) = 0. Going backwards makes the replicas from a stage to the end known, and
with them the minibatches in flight, so that memory is a plain filter. Rules that ask for what lies
before a stage add a position to u (:class:`~stagewright.formulation.positions.Positions`). Exact
for every plan whose cuts lie in the cut space: the cost models are maxima over stages and
neighbouring pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.cut_space import CutSpace
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.rates import CutKey, Rates, rates_of
from stagewright.formulation.resources import ResourceSpace
from stagewright.formulation.stage_rules import StageRules
from stagewright.model.costs import is_proportional
from stagewright.model.plan import Stage

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

SLACK = 1 + 1e-9


@dataclass
class StageDp:
    """One run of the recursion.

    Parameters
    ----------
    problem, space, resources
        What is planned, where it may be cut, and which GPUs there are.
    ceiling_s
        Only plans up to this period are of interest; everything above is skipped.
    """

    problem: Problem
    space: CutSpace
    resources: ResourceSpace
    settings: Settings
    ceiling_s: float = np.inf
    rates: Rates = field(init=False)
    rules: StageRules = field(init=False)

    def __post_init__(self) -> None:
        instance = self.problem.instance
        self.rates = rates_of(self.problem.cost_model, instance.cluster)
        self.rules = StageRules(self.space, self.resources)
        keys: dict[CutKey, int] = {}
        self._first_key: list[int] = []
        self._key: list[int] = []
        for choice in self.resources.choices:
            for into, first in ((self._key, False), (self._first_key, True)):
                key = self.rates.key(choice.replicas, is_first=first)
                into.append(keys.setdefault(key, len(keys)))
        cuts = [[self.rates.cut(a, b) for b in keys] for a in keys]
        self._latency = np.array([[x.latency_s for x in row] for row in cuts])
        self._per_byte = np.array([[x.s_per_byte for x in row] for row in cuts])
        self._received = np.array([[x.received_s_per_byte for x in row] for row in cuts])
        self._sync = [self.rates.sync_s_per_byte(c.replicas) for c in self.resources.choices]
        self._seconds = {False: self.space.time_s}
        if any(choice.recompute for choice in self.resources.choices):
            self._seconds[True] = self.space.time_s + self.space.forward_s
        states = len(self.resources.gpus)
        positions = self.resources.positions
        self._budget = np.tile(positions.budget, states // len(positions))
        self._best = np.full((len(keys), len(self.space), states), np.inf)
        self._best[:, -1, self.resources.gpus == 0] = 0.0
        self._alive = np.zeros(len(self.space), dtype=bool)
        self._alive[-1] = True

    def solve(self) -> tuple[float, tuple[Stage, ...]] | None:
        """Return the best period and its stages, or ``None`` if no plan is below the ceiling.

        Of the plans within a hair of the best one, it takes one with the fewest GPUs.
        """
        last = len(self.space) - 1
        for i in range(last - 1, 0, -1):
            if self.settings.expired:
                return None
            self._step(i)
            rest = self._best[:, i]
            rest[rest > self.ceiling_s * SLACK] = np.inf
            self._alive[i] = np.isfinite(rest).any()
        start = np.full(len(self.resources.gpus), np.inf)
        larger = self._open(0)
        for c, choice in enumerate(self.resources.choices):
            rows, value = self._stage_and_rest(0, larger, c, 0.0)
            if len(rows) > 0:
                start[choice.after] = np.minimum(start[choice.after], value.min(axis=0))
        start[~self.resources.final] = np.inf
        best = float(start.min())
        if not np.isfinite(best):
            return None
        near = np.flatnonzero(start <= best * SLACK)
        used = min(near.tolist(), key=lambda state: (self.resources.gpus[state], start[state]))
        return best, self._trace(used)

    def _open(self, i: int) -> Indices:
        """Ideals beyond ``i`` from which the end can be reached below the ceiling."""
        larger = self.space.larger(i)
        reachable: Indices = larger[self._alive[larger]]
        return reachable

    def _step(self, i: int) -> None:
        """Fill F(I, ·, ·)."""
        larger = self._open(i)
        overlap = self.problem.cost_model.overlap
        cut_bytes = self.space.cut_bytes[i]
        for c, choice in enumerate(self.resources.choices):
            key = self._key[c]
            cut = self._latency[:, key] + self._per_byte[:, key] * cut_bytes
            if overlap:
                rows, value = self._stage_and_rest(i, larger, c, 0.0)
                if len(rows) == 0:
                    continue
                rest = np.maximum(cut[:, None], value.min(axis=0)[None, :])
                here = self._best[:, i, choice.after]
                self._best[:, i, choice.after] = np.minimum(here, rest)
                continue
            waits = self._latency[:, key] + self._received[:, key] * cut_bytes
            for wait in np.unique(waits):
                rows, value = self._stage_and_rest(i, larger, c, float(wait))
                if len(rows) == 0:
                    continue
                alike = np.flatnonzero(waits == wait)
                rest = np.maximum(cut[alike, None], value.min(axis=0)[None, :])
                where = np.ix_(alike, np.array([i]), choice.after)
                self._best[where] = np.minimum(self._best[where], rest[:, None, :])

    def _stage_and_rest(
        self, i: int, larger: Indices, c: int, wait_s: float
    ) -> tuple[Indices, Floats]:
        """Ideals J that a stage from I can reach, and max(stage(I, J, c), F(J, u - c, key)).

        The latter has shape (J, states after the stage).
        """
        choice = self.resources.choices[c]
        rows, stage = self._stage(i, larger, c, wait_s)
        if len(rows) == 0:
            return rows, np.empty((0, len(choice.after)))
        key = self._first_key[c] if i == 0 else self._key[c]
        before = choice.before[None, :]
        moved = self.rules.moved(i, rows, choice)
        if moved is None:
            rest = self._best[key][rows[:, None], before]
        else:
            left = self._budget[before] - moved[:, None]
            rest = self._best[key][
                rows[:, None], np.where(left < 0, before, before - moved[:, None])
            ]
            rest[left < 0] = np.inf
        value: Floats = np.maximum(stage[:, None], rest)
        admitted = self.rules.admits(i, rows, choice)
        if admitted is not None:
            value[~admitted] = np.inf
        return rows, value

    def _stage(self, i: int, larger: Indices, c: int, wait_s: float) -> tuple[Indices, Floats]:
        """Ideals J that a stage from I can reach below the ceiling, and its seconds."""
        choice = self.resources.choices[c]
        replicas, seconds = choice.replicas, self._seconds[choice.recompute]
        larger = self.rules.reachable(i, larger, choice)
        m = sum(replicas)
        used = [g for g, n in enumerate(replicas) if n > 0]
        times = seconds[used][:, larger] - seconds[used, i][:, None]
        stage = (self.space.parameter_bytes[larger] - self.space.parameter_bytes[i]) * self._sync[c]
        if is_proportional(self.problem.cost_model):
            shares = np.array([replicas[g] for g in used])[:, None]
            with np.errstate(divide="ignore"):
                stage = stage + 1 / (shares / np.maximum(times, 0.0)).sum(axis=0)
        else:
            stage = stage + times.max(axis=0) / m
        stage = stage + wait_s
        keep = np.flatnonzero(stage <= self.ceiling_s * SLACK)
        return larger[keep], stage[keep]

    def _trace(self, used: int) -> tuple[Stage, ...]:
        """Walk the best choices from the start of the pipeline to its end."""
        nodes = self.problem.instance.nodes
        stages: list[Stage] = []
        i, key = 0, -1
        while i < len(self.space) - 1:
            i_next, c, before = self._best_choice(i, used, key)
            inside = np.flatnonzero(self.space.members[i_next] & ~self.space.members[i])
            choice = self.resources.choices[c]
            stages.append(Stage(tuple(nodes[v] for v in inside), choice.replicas, choice.recompute))
            key = self._first_key[c] if i == 0 else self._key[c]
            i, used = i_next, before
        return tuple(stages)

    def _best_choice(self, i: int, used: int, key: int) -> tuple[int, int, int]:
        """Next ideal, choice and resource state of the best stage from ideal ``i``."""
        larger = self._open(i)
        cut_bytes = self.space.cut_bytes[i]
        best: tuple[float, int, int, int] = (np.inf, -1, -1, -1)
        for c, choice in enumerate(self.resources.choices):
            column = np.flatnonzero(choice.after == used)
            if len(column) == 0:
                continue
            cut = wait = 0.0
            if i > 0:
                latency = self._latency[key, self._key[c]]
                cut = latency + self._per_byte[key, self._key[c]] * cut_bytes
                if not self.problem.cost_model.overlap:
                    wait = latency + self._received[key, self._key[c]] * cut_bytes
            rows, value = self._stage_and_rest(i, larger, c, wait)
            if len(rows) == 0:
                continue
            row = int(value[:, column[0]].argmin())
            seconds = max(float(value[row, column[0]]), cut)
            if seconds < best[0]:
                moved = self.rules.moved(i, rows[[row]], choice)
                before = int(choice.before[column[0]]) - (0 if moved is None else int(moved[0]))
                best = (seconds, int(rows[row]), c, before)
        return best[1], best[2], best[3]
