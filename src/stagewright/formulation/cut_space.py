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
from stagewright.model.plan import Stage

MAX_IDEALS = 8000
MAX_SECONDS = 5.0

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


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
        seconds: Floats = self._sums[:-1]
        return seconds

    @cached_property
    def forward_s(self) -> Floats:
        """Forward seconds of each ideal on each group's type, shape (groups, ideals)."""
        total: Floats = self.instance.forward_s @ self.members.T
        return total

    @cached_property
    def parameter_bytes(self) -> Floats:
        """Parameter bytes of each ideal."""
        held: Floats = self._sums[-1]
        return held

    @cached_property
    def _sums(self) -> Floats:
        """Seconds and parameter bytes at once: members by the ten million become floats for it."""
        layers = np.concatenate([self.instance.time_s, [self.instance.parameter_bytes]])
        total: Floats = layers @ self.members.T
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
    def _words(self) -> NDArray[np.uint64]:
        """Members as bits of words, shape (words, ideals)."""
        padded = np.zeros((len(self), -(-self.members.shape[1] // 64) * 64), dtype=bool)
        padded[:, : self.members.shape[1]] = self.members
        return np.ascontiguousarray(np.packbits(padded, axis=1).view(np.uint64).T)

    def larger(self, i: int) -> Indices:
        """Indices of the ideals that contain ideal ``i`` and more."""
        after = np.arange(i + 1, len(self), dtype=np.int64)
        if not self.is_chain:
            # Layers near the cut, which come late, are in the fewest of the others.
            for word in self._words[::-1]:
                if word[i]:
                    after = after[word[after] & word[i] == word[i]]
        return after

    def nested(self, first: Indices, last: Indices, firsts: Indices, lasts: Indices) -> Indices:
        """Positions of those pairs of which ideal ``last`` contains ideal ``first``.

        ``firsts`` and ``lasts`` are the ideals that there are among the first, and the last.
        """
        kept = np.arange(len(first), dtype=np.int64)
        some = np.bitwise_or.reduce(self._words[:, firsts], axis=1)
        all_of_them = np.bitwise_and.reduce(self._words[:, lasts], axis=1)
        for word in self._words[(some & ~all_of_them) != 0]:
            inside = word[first[kept]]
            kept = kept[word[last[kept]] & inside == inside]
        return kept

    @cached_property
    def pairs(self) -> tuple[Indices, Indices]:
        """All pairs of an ideal and a larger one.

        Returns
        -------
        start, last
            The ideals larger than ideal i are ``last[start[i]:start[i + 1]]``.
        """
        larger = [self.larger(i) for i in range(len(self))]
        start = np.concatenate([[0], np.cumsum([len(x) for x in larger])])
        return start, np.concatenate(larger)


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
    # Every ideal with the units that may be added to it, as bits.
    layer = {0: sum(1 << v for v in range(size) if not needs[v])}
    deadline = time.monotonic() + MAX_SECONDS
    ordered = [0]
    while layer:
        following: dict[int, int] = {}
        for ideal, free in layer.items():
            left = free
            while left:
                bit = left & -left
                left ^= bit
                larger = ideal | bit
                if larger not in following:
                    freed = (
                        1 << w
                        for w in units.consumers[bit.bit_length() - 1]
                        if needs[w] & larger == needs[w]
                    )
                    following[larger] = free ^ bit | sum(freed)
            if len(ordered) + len(following) > limit or time.monotonic() > deadline:
                raise DoesNotApply(
                    f"the graph can be cut in more than {limit:,} ways (many parallel "
                    "branches), too many for an exact dynamic programme. "
                    "Use --planner cpsat or linear-dp"
                )
        ordered += sorted(following)
        layer = following
    width = -(-max(size, 1) // 8)
    raw = b"".join(ideal.to_bytes(width, "little") for ideal in ordered)
    bits = np.frombuffer(raw, dtype=np.uint8).reshape(len(ordered), width)
    held = np.unpackbits(bits, axis=1, bitorder="little")[:, :size].astype(bool)
    members = np.zeros((len(ordered), len(instance.nodes)), dtype=bool)
    for unit, layers in enumerate(units.layers):
        members[:, list(layers)] = held[:, [unit]]
    return CutSpace(instance, members, is_chain=len(ordered) == size + 1)


def family(instance: Instance, members: NDArray[np.bool_]) -> CutSpace:
    """Return the ideals whose rows ``members`` holds, shape (ideals, nodes), and the two ends."""
    size = len(instance.nodes)
    ends = np.array([np.zeros(size, dtype=bool), np.ones(size, dtype=bool)])
    rows = np.concatenate([ends, members])
    words = np.packbits(rows, axis=1)
    _, first = np.unique(words.view(f"V{words.shape[1]}")[:, 0], return_index=True)
    rows = rows[first]
    return CutSpace(instance, rows[np.argsort(rows.sum(axis=1), kind="stable")], is_chain=False)


def cuts_of(instance: Instance, stages: Sequence[Stage]) -> NDArray[np.bool_]:
    """Return the ideals that a plan is cut at, shape (stages - 1, nodes)."""
    stage_of = {name: k for k, stage in enumerate(stages) for name in stage.nodes}
    place = np.array([stage_of[name] for name in instance.nodes])
    return place[None, :] < np.arange(1, len(stages))[:, None]


def prefixes(instance: Instance, order: Sequence[int]) -> CutSpace:
    """Return the ideals that are prefixes of a topological order."""
    size = len(order)
    position = np.empty(size, dtype=np.int64)
    position[list(order)] = np.arange(size)
    members = position[None, :] < np.arange(size + 1)[:, None]
    for layers in map(list, instance.together):
        members = members[members[:, layers].all(axis=1) | ~members[:, layers].any(axis=1)]
    return CutSpace(instance, members, is_chain=True)
