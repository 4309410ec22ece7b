"""Bars of tables: parts of a length, in per cent, so that they fit any screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """A piece of a bar.

    Attributes
    ----------
    kind
        What it stands for: a class of the style sheet.
    start, width
        In per cent of the whole length.
    """

    kind: str
    start: float
    width: float


@dataclass(frozen=True)
class Bar:
    """Parts side by side, and perhaps a mark that they are measured against."""

    parts: tuple[Part, ...]
    mark: float | None = None


def stacked(values: Iterable[tuple[str, float]], whole: float, mark: float | None = None) -> Bar:
    """Lay (kind, value) pieces end to end; ``whole`` is the value of the full length.

    >>> [(p.kind, p.start, p.width) for p in stacked([("a", 1), ("b", 2)], 4).parts]
    [('a', 0.0, 25.0), ('b', 25.0, 50.0)]
    """
    parts: list[Part] = []
    at = 0.0
    for kind, value in values:
        width = share(value, whole)
        if width > 0:
            parts.append(Part(kind, at, width))
        at = round(at + width, 3)
    return Bar(tuple(parts), None if mark is None else share(mark, whole))


def share(value: float, whole: float) -> float:
    """Return ``value`` in per cent of ``whole``, within the bar."""
    if whole <= 0:
        return 0.0
    return round(min(100.0, max(0.0, 100 * value / whole)), 3)


def longest(values: Sequence[float]) -> float:
    """Return the largest value, or 1 where there is none above 0."""
    return max([x for x in values if x > 0], default=1.0)
