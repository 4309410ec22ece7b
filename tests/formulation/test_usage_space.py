"""Shifts, chains and splits of usages, against every way to lay replicas into cells."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stagewright.formulation.compositions import compositions
from stagewright.formulation.usage_space import UNREACHED, Counts, Demand, Place, UsageSpace


@dataclass(frozen=True)
class Case:
    """Cells in places, what is known of their usages, and a demand."""

    totals: tuple[int, ...]
    places: tuple[Place, ...]
    least: Counts
    cells: tuple[int, ...]
    servers: int

    @property
    def space(self) -> UsageSpace:
        return UsageSpace(self.totals, self.places)

    def touched(self, counts: tuple[int, ...]) -> int:
        """Most servers that have one of these GPUs."""
        here = [sum(counts[c] for c in place.cells) for place in self.places]
        return sum(min(n, place.servers) for n, place in zip(here, self.places, strict=True))

    def ways(self, replicas: int) -> list[tuple[int, ...]]:
        """All counts by cell that the demand allows."""
        rooms = [replicas if c in self.cells else 0 for c in range(len(self.totals))]
        ways = compositions(replicas, rooms)
        return [counts for counts in ways if self.touched(counts) >= self.servers]

    def following(self, counts: tuple[int, ...]) -> Counts:
        """What follows with so many more GPUs, number by number."""
        found = np.full_like(self.least, UNREACHED)
        for u in itertools.product(*map(range, self.least.shape)):
            before = tuple(a - b for a, b in zip(u, counts[:-1], strict=True))
            if min(before, default=0) >= 0 and self.least[before] < UNREACHED:
                found[u] = self.least[before] + counts[-1]
        return found


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """One to three places of one to three servers, with one or two cells; in any order."""
    sizes = draw(st.lists(st.sampled_from([1, 1, 2, 3]), min_size=1, max_size=3))
    kinds = [draw(st.lists(st.integers(1, 2), min_size=1, max_size=2)) for _ in sizes]
    owners = draw(st.permutations([p for p, held in enumerate(kinds) for _ in held]))
    left = [iter(held) for held in kinds]
    totals = tuple(next(left[p]) * sizes[p] for p in owners)
    places = tuple(
        Place(n, tuple(c for c, p in enumerate(owners) if p == place))
        for place, n in enumerate(sizes)
    )
    shape = [total + 1 for total in totals[:-1]]
    size = int(np.prod(shape, dtype=int))
    held = st.lists(st.sampled_from([0, 0, 1, 2, 5, UNREACHED]), min_size=size, max_size=size)
    least = np.array(draw(held), dtype=np.int16).reshape(shape)
    cells = tuple(sorted(draw(st.sets(st.sampled_from(range(len(totals))), min_size=1))))
    return Case(totals, places, least, cells, draw(st.integers(2, 4)))


def reached(least: NDArray[np.int16]) -> NDArray[np.int16]:
    return np.minimum(least, UNREACHED)


@given(case=cases(), data=st.data())
def test_moved_shifts_every_number(case, data):
    counts = tuple(data.draw(st.integers(0, total + 1)) for total in case.totals)
    moved = reached(case.space.moved(case.least, counts))
    assert (moved == case.following(counts)).all()


@given(case=cases())
def test_chain_is_the_best_of_all_ways_that_touch_enough_servers(case):
    demand = case.space.demand(case.cells, case.servers)
    levels = dict(case.space.chain(case.least, demand, case.servers + 2))
    for m in range(case.servers, case.servers + 3):
        expected = np.full_like(case.least, UNREACHED)
        for counts in case.ways(m):
            expected = np.minimum(expected, case.following(counts))
        assert (reached(levels[m]) == expected).all()


@given(case=cases(), more=st.integers(0, 2), seed=st.integers(0, 99))
def test_split_finds_a_way_where_there_is_one(case, more, seed):
    demand, replicas = case.space.demand(case.cells, case.servers), case.servers + more
    after = {counts: case.following(counts) for counts in case.ways(replicas)}
    tops = np.array(case.totals)
    usages = np.random.default_rng(seed).integers(0, tops + 1, (20, len(tops)))
    for *others, most in usages.tolist():
        ways = [counts for counts, least in after.items() if least[tuple(others)] <= most]
        found = case.space.split(case.least, [*others, most], demand, replicas)
        assert found in ways if ways else found is None


@given(case=cases())
def test_counts_the_shifts_of_a_chain(case):
    demand = case.space.demand(case.cells, case.servers)
    shifts = 0
    moved = UsageSpace.moved

    def counted(self, least, counts):
        nonlocal shifts
        shifts += 1
        return moved(self, least, counts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UsageSpace, "moved", counted)
        list(case.space.chain(case.least, demand, case.servers + 2))
    assert shifts == case.space.shifts(demand, case.servers + 2)


def test_the_most_gpus_that_it_can_count_do_not_overflow():
    totals = (1, UNREACHED - 2)
    space = UsageSpace(totals, [Place(1, (0,)), Place(1, (1,))])
    assert space.countable
    assert not UsageSpace((2, UNREACHED - 2), []).countable
    for m, level in space.chain(space.start(), Demand((1,), 0), sum(totals)):
        assert level.tolist() == [m, UNREACHED + m]
    assert m == sum(totals)
    assert space.moved(space.start(), (1, UNREACHED - 2)).tolist() == [UNREACHED, UNREACHED - 2]


def test_draws_only_what_there_are_gpus_for():
    space = UsageSpace((2, 3), [])
    least = np.array([4, 3, UNREACHED], dtype=np.int16)
    assert space.has(least)
    assert space.any_of(least, np.random.default_rng(0)) == [1, 3]
    assert not space.has(np.array([4, 4, UNREACHED], dtype=np.int16))
