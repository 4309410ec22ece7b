"""Figures of a run: the steady-state period, fill and drain, bubbles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEAST_STEADY = 8
"""Minibatches that must pass in steady state for a period to be measured."""

SETTLED = 1e-3
"""Largest relative difference between the two halves of a steady state."""


@dataclass(frozen=True, slots=True)
class SteadyState:
    """A stretch of a run in which the pipeline is full.

    Attributes
    ----------
    period_s
        Seconds per minibatch.
    start_s, end_s
        When the stretch begins and ends.
    settled
        Whether both halves of the stretch have the same period.
    """

    period_s: float
    start_s: float
    end_s: float
    settled: bool


def steady_state(done_s: ArrayLike, drain: int) -> SteadyState | None:
    """Measure the period in the second half of a run, before it drains.

    Parameters
    ----------
    done_s
        When each minibatch leaves the pipeline, shape (minibatches,).
    drain
        Minibatches that leave last, while the pipeline runs empty; they do not count.

    Returns
    -------
    SteadyState or None
        ``None`` where fewer than :data:`LEAST_STEADY` minibatches are left.

    A schedule repeats itself after some number of minibatches (the rounds of all stages, a group
    between flushes). Over a whole number of repetitions the mean is exact, so the number is
    looked for: the one after which the times come back most nearly, moved by a constant.
    """
    times = np.sort(np.asarray(done_s, dtype=float))
    times = times[: len(times) - drain] if drain > 0 else times
    times = times[len(times) // 2 :]
    if len(times) < LEAST_STEADY:
        return None
    period, shift = _period(times)
    half = len(times) // 2
    settled = True
    if half >= LEAST_STEADY:
        early, late = (_period(part)[0] for part in (times[:half], times[half:]))
        settled = abs(early - late) <= SETTLED * period
    steps = (len(times) - 1) // shift * shift
    return SteadyState(period, float(times[-1 - steps]), float(times[-1]), settled)


def _period(times: NDArray[np.float64]) -> tuple[float, int]:
    """Return the mean time between two minibatches, and after how many the pattern repeats."""
    best, shift = np.inf, 1
    for candidate in range(1, len(times) // 2 + 1):
        moved = times[candidate:] - times[:-candidate]
        spread = float(moved.max() - moved.min())
        if spread < best * (1 - 1e-9) - 1e-12 * float(times[-1]):
            best, shift = spread, candidate
        if best <= 1e-9 * float(moved.mean()):
            break
    steps = (len(times) - 1) // shift * shift
    return float(times[-1] - times[-1 - steps]) / steps, shift


def overlap_s(
    starts_s: NDArray[np.float64], ends_s: NDArray[np.float64], window: tuple[float, float]
) -> float:
    """Seconds that intervals spend inside a window."""
    inside = np.minimum(ends_s, window[1]) - np.maximum(starts_s, window[0])
    return float(np.maximum(inside, 0.0).sum())
