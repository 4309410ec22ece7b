"""Runs of stages that share one server because the cuts between them may not leave it.

A cut that no link between servers carries within the period joins its stages: they lie in the same
server. A run goes from one cut that may leave the server to the next, and takes GPUs of that server
only; which GPUs, a small enumeration says: the usages that reach an ideal are the bits of one
integer, and a stage shifts them. Of all usages only the least matter.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from stagewright.formulation.compositions import compositions
from stagewright.formulation.stage_columns import Columns, Option


@dataclass(frozen=True)
class Run:
    """Stages of one server from ideal to ideal.

    Attributes
    ----------
    kind
        Class of the server.
    usage
        GPUs of each resource, shape (resources,).
    pairs, replicas
        The pairs of ideals of its stages, in order, and the GPUs of each resource of each.
    """

    first: int
    last: int
    kind: int
    usage: tuple[int, ...]
    pairs: tuple[int, ...]
    replicas: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class _Step:
    first: int
    last: int
    offset: int
    pair: int


class ServerRuns:
    """All least runs of one period, by class of servers."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._leaves = columns.across <= 1
        self.runs: list[Run] = []
        for kind in dict.fromkeys(r.kind for r in columns.resources):
            self._add(kind)

    def _add(self, kind: int) -> None:
        mine = [r for r, x in enumerate(self._columns.resources) if x.kind == kind]
        each = [self._columns.resources[r].each for r in mine]
        strides = list(itertools.accumulate([1, *(2 * n + 1 for n in each)], lambda a, b: a * b))
        valid = 1
        for n, stride in zip(each, strides, strict=False):
            valid = sum(valid << (count * stride) for count in range(n + 1))
        steps = self._steps(kind, mine, each, strides)
        size = len(self._columns.pairs.space)
        for start in np.flatnonzero(self._leaves[: size - 1]).tolist():
            if steps[start]:
                self._runs_from(start, kind, mine, each, strides, valid, steps)

    def _steps(
        self, kind: int, mine: list[int], each: list[int], strides: list[int]
    ) -> dict[int, list[_Step]]:
        """Every stage in one server with every way to equip it, by its start."""
        pairs = self._columns.pairs
        steps: dict[int, list[_Step]] = defaultdict(list)
        ways: dict[tuple[int, tuple[bool, ...]], list[int]] = {}
        for option in self._columns.options:
            if option.kind != kind:
                continue
            for pair in np.flatnonzero(np.isfinite(option.replicas)).tolist():
                key = self._demand(option, pair, mine)
                if key not in ways:
                    room = [n if ok else 0 for n, ok in zip(each, key[1], strict=True)]
                    ways[key] = [
                        sum(n * stride for n, stride in zip(counts, strides, strict=False))
                        for counts in compositions(key[0], room)
                    ]
                first, last = int(pairs.first[pair]), int(pairs.last[pair])
                steps[first] += [_Step(first, last, offset, pair) for offset in ways[key]]
        return steps

    def _demand(self, option: Option, pair: int, mine: list[int]) -> tuple[int, tuple[bool, ...]]:
        return int(option.replicas[pair]), tuple(bool(option.allowed[r, pair]) for r in mine)

    def _runs_from(
        self,
        start: int,
        kind: int,
        mine: list[int],
        each: list[int],
        strides: list[int],
        valid: int,
        steps: dict[int, list[_Step]],
    ) -> None:
        """Follow every run from one cut that may leave the server."""
        sets: dict[int, int] = {start: 1}
        into: dict[int, list[_Step]] = defaultdict(list)
        for i in range(start, len(self._columns.pairs.space)):
            if i not in sets or (i > start and self._leaves[i]):
                continue
            source = sets[i]
            for step in steps[i]:
                moved = (source << step.offset) & valid
                if moved:
                    sets[step.last] = sets.get(step.last, 0) | moved
                    into[step.last].append(step)
        for last, reached in sets.items():
            if last > start and self._leaves[last]:
                for bits in _least(reached, each, strides):
                    taken = self._walk_back(start, last, bits, sets, into)
                    by_stage = tuple(
                        self._by_resource(x.offset, mine, each, strides) for x in taken
                    )
                    usage = self._by_resource(bits, mine, each, strides)
                    pairs = tuple(x.pair for x in taken)
                    self.runs.append(Run(start, last, kind, usage, pairs, by_stage))

    def _by_resource(
        self, bits: int, mine: list[int], each: list[int], strides: list[int]
    ) -> tuple[int, ...]:
        usage = [0] * len(self._columns.resources)
        for r, n, stride in zip(mine, each, strides, strict=False):
            usage[r] = bits // stride % (2 * n + 1)
        return tuple(usage)

    def _walk_back(
        self, start: int, last: int, usage: int, sets: dict[int, int], into: dict[int, list[_Step]]
    ) -> list[_Step]:
        taken: list[_Step] = []
        while last > start:
            step = next(
                x
                for x in into[last]
                if x.offset <= usage and sets[x.first] >> (usage - x.offset) & 1
            )
            taken.append(step)
            usage -= step.offset
            last = step.first
        return taken[::-1]


def _least(reached: int, each: list[int], strides: list[int]) -> list[int]:
    """Usages of a set that exceed no other usage of it, as bit positions."""
    kept: list[tuple[int, tuple[int, ...]]] = []
    found = []
    while reached:
        bit = (reached & -reached).bit_length() - 1
        reached &= reached - 1
        counts = tuple(bit // s % (2 * n + 1) for n, s in zip(each, strides, strict=False))
        found.append((sum(counts), bit, counts))
    for _, bit, counts in sorted(found):
        if not any(all(a <= b for a, b in zip(k, counts, strict=True)) for _, k in kept):
            kept.append((bit, counts))
    return [bit for bit, _ in kept]
