"""The shape of a picture: how many columns a panel wraps into, and how many shelves there are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from stagewright.report.columns import BOX_HEIGHT, BOX_SPACE, STRAIGHT_GAP, WIRE_WIDTH
from stagewright.report.layering import wrap

ASPECT = 1.4
"""Width over height that is aimed at: about a page's or a screen's."""

PADDING = 14.0
GUTTER = 56.0
COLUMN_SPACE = 26.0
SURROUND = 40.0, 120.0
MOST_SHELVES = 48


@dataclass(frozen=True)
class Shape:
    """Runs of layers, column by column, of each panel, and the shelf that it stands on."""

    columns: tuple[tuple[range, ...], ...]
    shelf_of: tuple[int, ...]


@dataclass(frozen=True)
class Bulk:
    """About how large a panel's layers are drawn.

    Attributes
    ----------
    counts
        Nodes in each layer.
    live
        Wires that come down to each layer from above.
    """

    counts: tuple[int, ...]
    live: tuple[int, ...]

    def heights(self) -> list[float]:
        """Height of each layer, with the gap below it."""
        below = (*self.live[1:], 0)
        chain = [a == 1 and b <= 1 for a, b in zip(self.counts, below, strict=bool(self.counts))]
        return [BOX_HEIGHT + (STRAIGHT_GAP if x else 2 * STRAIGHT_GAP) for x in chain]

    def widths(self, box_width: float) -> list[float]:
        """Width of each layer."""
        return [
            n * (box_width + BOX_SPACE) - BOX_SPACE + passing * (WIRE_WIDTH + BOX_SPACE / 2)
            for n, passing in zip(self.counts, self.live, strict=True)
        ]


def choose_shape(
    bulks: Sequence[Bulk],
    least_widths: Sequence[float],
    *,
    box_width: float,
    header_height: float,
) -> Shape:
    """Find columns and shelves whose picture has a good aspect ratio and little empty space.

    Parameters
    ----------
    bulks, least_widths
        For each panel.
    """
    best: tuple[float, Shape] | None = None
    heights = [bulk.heights() for bulk in bulks]
    widths = [bulk.widths(box_width) for bulk in bulks]
    known: set[tuple[int, ...]] = set()
    for limit in _limits(max(map(sum, heights))):
        counts = tuple(max(1, math.ceil(sum(h) / limit)) for h in heights)
        if counts in known:
            continue
        known.add(counts)
        runs = [
            tuple(wrap(bulk.live, n)) if bulk.counts else ()
            for bulk, n in zip(bulks, counts, strict=True)
        ]
        across = [
            max(
                least,
                sum(max(w[i] for i in run) + COLUMN_SPACE for run in columns)
                + 2 * PADDING
                - COLUMN_SPACE,
            )
            + GUTTER
            for w, columns, least in zip(widths, runs, least_widths, strict=True)
        ]
        down = [
            max((sum(h[i] for i in run) for run in columns), default=0.0)
            for h, columns in zip(heights, runs, strict=True)
        ]
        for shelves in _shelvings(across):
            score = _score(across, down, shelves, header_height)
            if best is None or score < best[0]:
                best = score, Shape(tuple(runs), shelves)
    if best is None:
        raise ValueError("a picture needs a panel")
    return best[1]


def _limits(tallest: float) -> list[float]:
    """Column heights to try."""
    least = 3 * (BOX_HEIGHT + STRAIGHT_GAP)
    return [max(tallest / part, least) for part in (1, 1.25, 1.5, 1.75, *range(2, 13), 16, 20)]


def _shelvings(across: Sequence[float]) -> Iterator[tuple[int, ...]]:
    """Shelf of each panel, for several widths of a shelf."""
    sums = list(accumulate(across))
    total, widest = sums[-1], max(across)
    for count in range(1, min(len(across), MOST_SHELVES) + 1):
        room, shelf, used = max(widest, total / count * 1.02), 0, 0.0
        shelves: list[int] = []
        for width in across:
            if used and used + width > room:
                shelf, used = shelf + 1, 0.0
            shelves.append(shelf)
            used += width
        yield tuple(shelves)


def _score(
    across: Sequence[float], down: Sequence[float], shelves: Sequence[int], header_height: float
) -> float:
    """How bad a shape is: far from the aspect ratio, or much larger than its panels' content."""
    rows = range(shelves[-1] + 1)
    width = SURROUND[0] + max(
        sum(a for a, s in zip(across, shelves, strict=True) if s == r) for r in rows
    )
    height = SURROUND[1] + sum(
        max(d for d, s in zip(down, shelves, strict=True) if s == r) + header_height + 3 * PADDING
        for r in rows
    )
    aspect = abs(math.log(width / height / ASPECT))
    return max(0.0, aspect - 0.25) + math.log(width * height) + 0.1 * len(rows)
