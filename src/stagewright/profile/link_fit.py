"""From the times of messages of several sizes to a latency and a bandwidth."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stagewright.model.errors import NetworkError

Line = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Timing:
    """One size of message: the bytes that it moves, and the seconds that one takes one way."""

    bytes: float
    seconds: float


@dataclass(frozen=True, slots=True)
class LinkFit:
    """The line ``latency_s + bytes / bandwidth_bytes_per_s``, and how far off it is.

    Attributes
    ----------
    latency_s
        Seconds before the first byte, 0 or more.
    bandwidth_bytes_per_s
        Bytes a second from there on.
    deviation
        Largest distance of a measured time from the line, relative to that time.
    """

    latency_s: float
    bandwidth_bytes_per_s: float
    deviation: float


def fit_link(timings: Sequence[Timing]) -> LinkFit:
    """Fit a line that one disturbed size, or two, hardly ever move.

    The line has the least sum of relative distances from the measured times, so that small
    messages count as much as large ones. Such a line passes through two of the points, or through
    one where its latency is held at 0 (Bloomfield and Steiger, "Least Absolute Deviations", 1983),
    so trying those lines finds it. Only the smallest size tells of the latency, and two disturbed
    sizes at the large end of the bandwidth: those do move it.

    >>> fit_link([Timing(1e3, 0.011), Timing(1e4, 0.020), Timing(1e5, 0.110)])
    LinkFit(latency_s=0.01, bandwidth_bytes_per_s=1000000.0, deviation=0.0)

    Raises
    ------
    NetworkError
        If a time is no positive number, fewer than two sizes were measured, or larger messages
        take no longer than small ones.
    """
    for x in timings:
        if not (math.isfinite(x.seconds) and x.seconds > 0):
            raise NetworkError(f"a message of {x.bytes:,.0f} bytes took {x.seconds} s")
    if len({x.bytes for x in timings}) < 2:
        raise NetworkError("a bandwidth needs messages of two sizes at least")
    best = min(_lines(timings), key=lambda line: _misfit(line, timings), default=None)
    if best is None:
        raise NetworkError(
            "large messages took no longer than small ones, so there is no bandwidth to tell",
            hint="Measure again when the machine is less busy, or with more --repeats",
        )
    latency_s, s_per_byte = best
    worst = max(_distance(best, x) for x in timings)
    return LinkFit(round(latency_s, 12), round(1 / s_per_byte, 3), round(worst, 12))


def _lines(timings: Sequence[Timing]) -> Iterator[Line]:
    """Yield the lines (latency, seconds a byte) that may be the best."""
    for x, y in itertools.combinations(timings, 2):
        if x.bytes != y.bytes:
            slope = (y.seconds - x.seconds) / (y.bytes - x.bytes)
            latency = x.seconds - slope * x.bytes
            if slope > 0 and latency >= 0:
                yield latency, slope
    rising = max(timings, key=lambda x: x.bytes).seconds > min(x.seconds for x in timings)
    for x in timings if rising else ():
        if x.bytes > 0:
            yield 0.0, x.seconds / x.bytes


def _misfit(line: Line, timings: Sequence[Timing]) -> float:
    return sum(_distance(line, x) for x in timings)


def _distance(line: Line, timing: Timing) -> float:
    return abs(line[0] + line[1] * timing.bytes - timing.seconds) / timing.seconds
