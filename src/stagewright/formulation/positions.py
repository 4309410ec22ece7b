"""What a stage must know of the pipeline before it: the numbered side of the stage DPs.

Limits on the number of stages and pins ask for a stage's number, a plan to keep asks which of its
stages may still be continued and how many layers may still move. All are counted from the start
of the pipeline, so they only ever say what is still allowed, and the end may come at any of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stagewright.model.instance import Instance

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Positions:
    """Positions (level, first, budget), flat and in that order; one only where nothing is asked.

    Attributes
    ----------
    levels
        A stage that starts at level k is stage k of the plan.
    open_ended
        The last level stands for all further stages; otherwise no stage may start there.
    old_stages
        Stages of the plan to keep; only those from ``first`` on may still be continued.
    most_moved
        Layers that a whole plan may move; ``budget`` of them are left. ``None`` where no plan is
        to be kept.
    """

    levels: int = 1
    open_ended: bool = True
    old_stages: int = 0
    most_moved: int | None = None

    @property
    def _shape(self) -> tuple[int, int, int]:
        return self.levels, self.old_stages + 1, (self.most_moved or 0) + 1

    def __len__(self) -> int:
        """Count the positions."""
        levels, firsts, budgets = self._shape
        return levels * firsts * budgets

    @cached_property
    def _parts(self) -> Indices:
        parts: Indices = np.indices(self._shape).reshape(3, -1)
        return parts

    @property
    def level(self) -> Indices:
        """Level of each position."""
        level: Indices = self._parts[0]
        return level

    @property
    def budget(self) -> Indices:
        """Layers that may still move, at each position; the axis that varies fastest."""
        budget: Indices = self._parts[2]
        return budget

    @property
    def start(self) -> int:
        """Where a plan begins."""
        return self.most_moved or 0

    @property
    def continued(self) -> tuple[int | None, ...]:
        """What a stage may continue: one of the old stages, or none."""
        return None, *range(self.old_stages)

    def steps(self, old_stage: int | None) -> tuple[Indices, Indices]:
        """Positions after and at a stage that continues ``old_stage``, pairwise.

        The layers that the stage moves are still to be taken off the budget of the former.
        """
        level, first, budget = self._parts
        allowed = np.ones(len(self), dtype=bool) if self.open_ended else level < self.levels - 1
        if old_stage is not None:
            allowed &= first <= old_stage
        here = np.flatnonzero(allowed)
        following = (
            np.minimum(level[here] + 1, self.levels - 1),
            first[here] if old_stage is None else np.full(len(here), old_stage + 1),
            budget[here],
        )
        return np.ravel_multi_index(following, self._shape), here


def positions_of(instance: Instance) -> Positions:
    """Return what the rules of ``instance`` ask for, and no more."""
    rules, pinned = instance.rules, instance.pinned
    most_stages = min(instance.cluster.gpu_count, len(instance.nodes))
    levels, open_ended = 1, True
    if rules.max_stages is not None and rules.max_stages < most_stages:
        levels, open_ended = rules.max_stages + 1, False
    elif pinned:
        levels = min(max(pinned.values()) + 1, most_stages) + 1
    kept = rules.placement.kept
    known = sum(k >= 0 for k in instance.old_stage)
    if kept is None or kept.most_moved >= known:
        return Positions(levels, open_ended)
    return Positions(levels, open_ended, len(kept.stages), kept.most_moved)
