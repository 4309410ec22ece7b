"""Where a graph can be cut: order ideals (sets closed under producers) and their figures.

A plan's stages are the differences of a growing sequence of ideals; that makes every stage
convex. A chain of n layers has n + 1 ideals; parallel branches multiply them. Ideals that part
layers which belong together are left out.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.units import units_of
from stagewright.model.errors import DoesNotApply
from stagewright.model.instance import Instance

MAX_IDEALS = 8000
MAX_SECONDS = 5.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CutSpace:
    """Ideals by size, from the empty one to the whole graph.

    Attributes
    ----------
    instance
        The graph and its figures.
    members
        ``members[i, v]``: node v lies in ideal i; shape (ideals, nodes).
    is_chain
        Each ideal contains the one before it.
    """

    instance: Instance
    members: NDArray[np.bool_]
    is_chain: bool

    def __len__(self) -> int:
        """Count the ideals."""
        return len(self.members)

    @cached_property
    def time_s(self) -> Floats:
        """Seconds of each ideal on each group's type, shape (groups, ideals)."""
        total: Floats = self.instance.time_s @ self.members.T
        return total

    @cached_property
    def forward_s(self) -> Floats:
        """Forward seconds of each ideal on each group's type, shape (groups, ideals)."""
        total: Floats = self.instance.forward_s @ self.members.T
        return total

    @cached_property
    def parameter_bytes(self) -> Floats:
        """Parameter bytes of each ideal."""
        total: Floats = self.members @ self.instance.parameter_bytes
        return total

    @cached_property
    def activation_bytes(self) -> Floats:
        """Activation bytes of all layers in each ideal."""
        total: Floats = self.members @ self.instance.activation_bytes
        return total

    @cached_property
    def cut_bytes(self) -> Floats:
        """Bytes that leave each ideal: every layer with a consumer outside, once."""
        total = np.zeros(len(self))
        for v, consumers in enumerate(self.instance.consumers):
            if consumers:
                outside = ~self.members[:, list(consumers)].all(axis=1)
                total += self.instance.activation_bytes[v] * (self.members[:, v] & outside)
        return total

    def count(self, layers: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Count the layers of each ideal that are marked in ``layers``, shape (…, nodes)."""
        total: NDArray[np.int64] = layers.astype(np.int64) @ self.members.T
        return total

    @cached_property
    def _packed(self) -> NDArray[np.uint64]:
        padded = np.zeros((len(self), -(-self.members.shape[1] // 64) * 64), dtype=bool)
        padded[:, : self.members.shape[1]] = self.members
        return np.packbits(padded, axis=1).view(np.uint64)

    def larger(self, i: int, among: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """Indices of the ideals that contain ideal ``i`` and more; of ``among`` if it is given."""
        after = np.arange(i + 1, len(self))
        if among is not None:
            after = after[among[i + 1 :]]
        if self.is_chain:
            return after
        inside: NDArray[np.int64] = after[
            ((self._packed[after] & self._packed[i]) == self._packed[i]).all(axis=1)
        ]
        return inside


def all_ideals(instance: Instance, limit: int = MAX_IDEALS) -> CutSpace:
    """Enumerate every ideal of the graph.

    Raises
    ------
    DoesNotApply
        If there are more than ``limit``.
    """
    units = units_of(instance)
    size = len(units)
    needs = [sum(1 << u for u in producers) for producers in units.producers]
    found: set[int] = {0}
    layer = {0}
    deadline = time.monotonic() + MAX_SECONDS
    ordered = [0]
    while layer:
        following: set[int] = set()
        for ideal in layer:
            for v in range(size):
                if not ideal >> v & 1 and needs[v] & ideal == needs[v]:
                    following.add(ideal | 1 << v)
            if len(found) + len(following) > limit or time.monotonic() > deadline:
                raise DoesNotApply(
                    f"the graph can be cut in more than {limit:,} ways (many parallel "
                    "branches), too many for an exact dynamic programme. "
                    "Use --planner cpsat or linear-dp"
                )
        found |= following
        ordered += sorted(following)
        layer = following
    held = np.array([[ideal >> v & 1 for v in range(size)] for ideal in ordered], dtype=bool)
    members = np.zeros((len(ordered), len(instance.nodes)), dtype=bool)
    for unit, layers in enumerate(units.layers):
        members[:, list(layers)] = held[:, [unit]]
    return CutSpace(instance, members, is_chain=len(ordered) == size + 1)


def family(instance: Instance, members: NDArray[np.bool_]) -> CutSpace:
    """Return the ideals whose rows ``members`` holds, shape (ideals, nodes), and the two ends."""
    size = len(instance.nodes)
    ends = np.array([np.zeros(size, dtype=bool), np.ones(size, dtype=bool)])
    rows = np.unique(np.concatenate([ends, members]), axis=0)
    return CutSpace(instance, rows[np.argsort(rows.sum(axis=1), kind="stable")], is_chain=False)


def prefixes(instance: Instance, order: Sequence[int]) -> CutSpace:
    """Return the ideals that are prefixes of a topological order."""
    size = len(order)
    position = np.empty(size, dtype=np.int64)
    position[list(order)] = np.arange(size)
    members = position[None, :] < np.arange(size + 1)[:, None]
    for layers in map(list, instance.together):
        members = members[members[:, layers].all(axis=1) | ~members[:, layers].any(axis=1)]
    return CutSpace(instance, members, is_chain=True)
