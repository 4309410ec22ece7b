"""The walk over windows against the recursion that it stands for, window by window."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagewright.formulation.box_bound import Walk, Windows
from stagewright.formulation.flat_costs import FlatCosts

TOTAL_S, TOTAL_BYTES = 10.0, 8.0


@st.composite
def windows(draw: st.DrawFn) -> Windows:
    """A few windows of work and parameters, some of them single points."""
    count = draw(st.integers(1, 8))
    numbers = st.integers(0, 40)
    work = [sorted(draw(st.tuples(numbers, numbers))) for _ in range(count)]
    held = [sorted(draw(st.tuples(numbers, numbers))) for _ in range(count)]
    cut = [draw(st.integers(0, 30)) for _ in range(count)]
    return Windows(
        np.array([x for x, _ in work]) * TOTAL_S / 40,
        np.array([x for _, x in work]) * TOTAL_S / 40,
        np.array([x for x, _ in held]) * TOTAL_BYTES / 40,
        np.array([x for _, x in held]) * TOTAL_BYTES / 40,
        np.array(cut) / 10,
    )


def costs(gpus: int, most: int, cost_model: str) -> FlatCosts:
    return FlatCosts(gpus, most, 0.25, 1.0, 0.0, cost_model, overlap=True)


class Literal:
    """Reach of every window from both ends, by trying every window before and after it."""

    def __init__(self, found: Windows, flat: FlatCosts, period_s: float) -> None:
        self.w, self.costs, self.period_s = found, flat, period_s
        self.asked = flat.asked(found.cut_bytes, period_s)
        self.gpus, self.sets = range(flat.gpus + 1), range(len(found))

    def gain(self, m: int) -> tuple[float, float]:
        return m * self.period_s, self.costs.sync_s_per_byte * (m - 1) / m

    def forward(self) -> tuple[np.ndarray, bool]:
        w = self.w
        reach = np.full((len(self.gpus), len(w)), -np.inf)
        finished = False
        for g, m in itertools.product(self.gpus, self.gpus[1 : self.costs.most + 1]):
            work, per_byte = self.gain(m)
            if g == 0:
                finished |= work - per_byte * TOTAL_BYTES >= TOTAL_S
            if g + m > self.gpus[-1]:
                continue
            able = self.asked <= m
            starts = [i for i in self.sets if g > 0 and able[i] and reach[g, i] > reach[g - 1, i]]
            for j in self.sets:
                before = [i for i in starts if w.least_s[i] <= w.most_s[j]]
                lighter = [i for i in starts if w.least_bytes[i] <= w.most_bytes[j]]
                if g == 0:
                    to = min(w.most_s[j], work - per_byte * w.least_bytes[j])
                    good = able[j] or self.costs.first_sends_for_free
                elif before and lighter:
                    to = w.most_s[j]
                    for earlier in (before, lighter):
                        far = max(reach[g, i] for i in earlier) + work
                        held = max(reach[g, i] + per_byte * w.most_bytes[i] for i in earlier)
                        to = min(to, far, held + work - per_byte * w.least_bytes[j])
                    good = able[j]
                else:
                    continue
                if good and np.isfinite(self.asked[j]) and to >= w.least_s[j]:
                    reach[g + m, j] = max(reach[g + m, j], to)
            for i in starts:
                left = TOTAL_BYTES - w.most_bytes[i]
                finished |= reach[g, i] + work - per_byte * max(left, 0.0) >= TOTAL_S
            # More GPUs lead as far; what g GPUs reach is known once those before have had a turn.
            if m == min(self.costs.most, self.gpus[-1] - g):
                reach[g + 1] = np.maximum(reach[g + 1], reach[g])
        return np.maximum.accumulate(reach), finished

    def backward(self) -> np.ndarray:
        w = self.w
        rest = np.full((len(self.gpus), len(w)), np.inf)
        for g in self.gpus[:-1]:
            for m in self.gpus[1 : min(self.costs.most, self.gpus[-1] - g) + 1]:
                work, per_byte = self.gain(m)
                able = self.asked <= m
                ends = [j for j in self.sets if g > 0 and able[j] and rest[g, j] < rest[g - 1, j]]
                for i in self.sets:
                    after = [j for j in ends if w.most_s[j] >= w.least_s[i]]
                    heavier = [j for j in ends if w.most_bytes[j] >= w.least_bytes[i]]
                    if g == 0:
                        need = TOTAL_S - work + per_byte * (TOTAL_BYTES - w.most_bytes[i])
                    elif after and heavier:
                        need = -np.inf
                        for later in (after, heavier):
                            far = min(rest[g, j] for j in later) - work
                            held = min(rest[g, j] + per_byte * w.least_bytes[j] for j in later)
                            need = max(need, far, held - work - per_byte * w.most_bytes[i])
                    else:
                        continue
                    need = max(need, w.least_s[i])
                    if able[i] and need <= w.most_s[i]:
                        rest[g + m, i] = min(rest[g + m, i], need)
            rest[g + 1] = np.minimum(rest[g + 1], rest[g])
        return rest

    def slack_s(self) -> np.ndarray:
        forward, _ = self.forward()
        backward = self.backward()
        with np.errstate(invalid="ignore"):
            room = forward - backward[::-1]
        return np.where(np.isfinite(forward), room, -np.inf).max(axis=0)


@pytest.mark.parametrize("cost_model", ["pipedream", "topology"])
@given(
    found=windows(),
    gpus=st.integers(1, 6),
    most=st.integers(1, 6),
    share=st.floats(0.7, 2.5),
)
def test_a_walk_reaches_what_the_recursion_reaches(cost_model, found, gpus, most, share):
    flat = costs(gpus, min(gpus, most), cost_model)
    period_s = share * TOTAL_S / gpus
    walk = Walk(found, flat, period_s, TOTAL_S, TOTAL_BYTES)
    literal = Literal(found, flat, period_s)
    _, finished = literal.forward()
    assert walk.finishes() == finished
    slack_s = walk.slack_s()
    assert (slack_s is not None) == finished
    if slack_s is not None:
        expected = literal.slack_s()
        # Passed or not is what counts, and by how much where a walk passes.
        passed = expected >= 0
        np.testing.assert_array_equal(slack_s >= 0, passed)
        np.testing.assert_allclose(slack_s[passed], expected[passed], rtol=1e-6, atol=1e-6)
    needs = walk.needs()
    assert (needs is not None) == finished
    if needs is not None:
        reached = (literal.forward()[0] > -np.inf, np.isfinite(literal.backward()))
        for found_needs, can in zip(needs, reached, strict=True):
            fewest = np.where(literal.slack_s() >= 0, can.argmax(axis=0), np.inf)
            np.testing.assert_array_equal(found_needs, fewest)
