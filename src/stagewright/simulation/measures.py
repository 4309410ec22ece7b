"""Figures of a run: the steady-state period, fill and drain, bubbles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEAST_STEADY = 8
"""Minibatches that must pass in steady state for a period to be measured."""

SETTLED = 1e-3
"""Largest relative difference between the paces of the stages in a steady state."""


@dataclass(frozen=True, slots=True)
class SteadyState:
    """A stretch of a run in which the pipeline is full.

    Attributes
    ----------
    period_s
        Seconds per minibatch.
    start_s, end_s
        When the stretch begins and ends in the first stage.
    settled
        Whether all stages keep the same pace, in both halves of the stretch.
    """

    period_s: float
    start_s: float
    end_s: float
    settled: bool


def steady_state(done_s: Sequence[ArrayLike], drain: int) -> SteadyState | None:
    """Measure the period in the second half of a run, before it drains.

    Parameters
    ----------
    done_s
        For each stage, when each minibatch's backward pass ends there, shape (minibatches,).
    drain
        Minibatches that leave last, while the pipeline runs empty; they do not count.

    Returns
    -------
    SteadyState or None
        ``None`` where fewer than :data:`LEAST_STEADY` minibatches are left.

    The period is that of the slowest stage: what has piled up before a faster one keeps it going
    at a pace of its own for a while, but not for ever.
    """
    stretches = [_stretch(np.asarray(times, dtype=float), drain) for times in done_s]
    if len(stretches[0]) < LEAST_STEADY:
        return None
    whole = [_period(times) for times in stretches]
    periods = [period for period, _ in whole]
    half = len(stretches[0]) // 2
    if half >= LEAST_STEADY:
        periods += [_period(part)[0] for x in stretches for part in (x[:half], x[half:])]
    period = max(period for period, _ in whole)
    settled = max(periods) - min(periods) <= SETTLED * period
    first, shift = stretches[0], whole[0][1]
    steps = (len(first) - 1) // shift * shift
    return SteadyState(period, float(first[-1 - steps]), float(first[-1]), settled)


def _stretch(times: NDArray[np.float64], drain: int) -> NDArray[np.float64]:
    """Return when all minibatches up to each are done, from half-way on until the drain.

    Replicas that never wait for one another may run ahead; the one behind sets the pace.
    """
    kept = np.maximum.accumulate(times)[: len(times) - drain]
    return kept[len(kept) // 2 :]


def _period(times: NDArray[np.float64]) -> tuple[float, int]:
    """Return the mean time between two minibatches, and after how many the pattern repeats.

    A schedule repeats itself after some number of minibatches (the rounds of all stages, a group
    between flushes). Over a whole number of repetitions the mean is exact, so that number is
    looked for: the one after which the times come back most nearly, moved by a constant.
    """
    best, shift = np.inf, 1
    for candidate in range(1, len(times) // 2 + 1):
        moved = times[candidate:] - times[:-candidate]
        longest = float(moved.max())
        spread = longest - float(moved.min())
        if spread < best * (1 - 1e-9) - 1e-12 * float(times[-1]):
            best, shift = spread, candidate
        if best <= 1e-9 * longest:
            break
    steps = (len(times) - 1) // shift * shift
    return float(times[-1] - times[-1 - steps]) / steps, shift


def overlap_s(
    starts_s: NDArray[np.float64], ends_s: NDArray[np.float64], window: tuple[float, float]
) -> float:
    """Seconds that intervals spend inside a window."""
    inside = np.minimum(ends_s, window[1]) - np.maximum(starts_s, window[0])
    return float(np.maximum(inside, 0.0).sum())
