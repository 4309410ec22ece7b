r"""Which stages the rules allow in the stage DPs, and how many layers they move.

All questions are about the stages J \\ I from one ideal I to several J ⊃ I, equipped in one way.
Layers are counted by differences of counts over the ideals.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.cut_space import CutSpace
from stagewright.formulation.resources import Choice, ResourceSpace
from stagewright.model.instance import Instance

Bools = NDArray[np.bool_]
Indices = NDArray[np.int64]


class StageRules:
    """Memory, forbidden groups, pins and the plan to keep, for one run of the recursion."""

    def __init__(self, space: CutSpace, resources: ResourceSpace) -> None:
        instance, positions = space.instance, resources.positions
        self._space = space
        self._gpus = resources.gpus
        self._memory = instance.rules.memory
        self._limit = {c.replicas: _memory_bytes(instance, c) for c in resources.choices}
        self._forbidden: Indices | None = None
        self._misplaced: Indices | None = None
        self._known: Indices | None = None
        repeats = len(resources.gpus) // len(positions)
        if instance.forbidden.any():
            self._forbidden = space.count(instance.forbidden)
        if instance.pinned:
            elsewhere = np.zeros((positions.levels, len(instance.nodes)), dtype=bool)
            for v, k in instance.pinned.items():
                elsewhere[:, v] = np.arange(positions.levels) != k
            self._misplaced = space.count(elsewhere)
            self._level = np.tile(positions.level, repeats)
        if positions.most_moved is not None:
            old_stage = np.array(instance.old_stage)
            self._known = space.count(old_stage >= 0)
            self._shared = space.count(old_stage == np.arange(positions.old_stages)[:, None])

    def reachable(self, i: int, larger: Indices, choice: Choice) -> Indices:
        """Ideals J that a stage from I may reach on the groups of ``choice``."""
        if self._forbidden is None:
            return larger
        used = [g for g, n in enumerate(choice.replicas) if n > 0]
        held = self._forbidden[used].sum(axis=0)
        free: Indices = larger[held[larger] == held[i]]
        return free

    def admits(self, i: int, rows: Indices, choice: Choice) -> Bools | None:
        r"""Whether stage J \\ I fits memory and pins in each state after it; shape (J, states).

        ``None`` if all do.
        """
        admitted = None
        limit = self._limit[choice.replicas]
        if limit is not None:
            admitted = self._bytes(i, rows, choice) <= limit
        if self._misplaced is not None:
            wrong = self._misplaced[:, rows] - self._misplaced[:, [i]]
            in_place: Bools = wrong.T[:, self._level[choice.after]] == 0
            admitted = in_place if admitted is None else admitted & in_place
        return admitted

    def _bytes(self, i: int, rows: Indices, choice: Choice) -> NDArray[np.float64]:
        space, memory = self._space, self._memory
        activations = (space.activation_bytes[rows] - space.activation_bytes[i])[:, None]
        parameters = (space.parameter_bytes[rows] - space.parameter_bytes[i])[:, None]
        in_flight = -(-self._gpus[choice.after] // sum(choice.replicas))
        copies = np.array([memory.weight_copies(int(f)) for f in in_flight])
        minibatches = np.array([memory.activation_copies(int(f)) for f in in_flight])
        kept = minibatches * activations
        if choice.recompute:
            kept = minibatches * space.cut_bytes[i] + activations
        held: NDArray[np.float64] = kept + copies * parameters
        return held

    def moved(self, i: int, rows: Indices, choice: Choice) -> Indices | None:
        r"""Layers that stage J \\ I moves, shape (J,); ``None`` where no plan is to be kept."""
        if self._known is None:
            return None
        moved: Indices = self._known[rows] - self._known[i]
        if choice.old_stage is not None:
            shared = self._shared[choice.old_stage]
            moved = moved - (shared[rows] - shared[i])
        return moved


def _memory_bytes(instance: Instance, choice: Choice) -> float | None:
    """Memory of the smallest GPU that holds the stage, if memory is a rule."""
    if not instance.rules.use_memory:
        return None
    known = [
        g.memory_bytes
        for g, n in zip(instance.cluster.groups, choice.replicas, strict=True)
        if n > 0 and g.memory_bytes is not None
    ]
    return min(known, default=None)
