"""Marks on a page: colours that everybody can tell apart, and the data of SVG paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from stagewright.report.columns import Point, Stroke

PAPER = "#ffffff"
INK = "#1b1f24"
MUTED = "#57606a"
LINE = "#6e7781"
WARNING = "#a40e26"

PALETTE = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#b7a800")
"""After Okabe and Ito, "Color universal design" (2008); its yellow darkened for white paper."""

CORNER = 6.0
LEGIBLE = 4.5
"""Least contrast of text, by the Web Content Accessibility Guidelines."""


@dataclass(frozen=True)
class Shade:
    """The colours of one stage: strong for areas, deep for lines and text, two pale ones."""

    strong: str
    deep: str
    box: str
    panel: str


def shade_of(stage: int) -> Shade:
    """Return the colours of a stage; neighbours always differ."""
    return _shade(PALETTE[stage % len(PALETTE)])


def grey() -> Shade:
    """Return the colours of what belongs to no stage."""
    return _shade("#8c959f")


def _shade(strong: str) -> Shade:
    deep, share = strong, 1.0
    while contrast(deep, PAPER) < LEGIBLE:
        share -= 0.05
        deep = mix(strong, "#000000", share)
    return Shade(strong, deep, mix(strong, PAPER, 0.2), mix(strong, PAPER, 0.07))


def mix(colour: str, other: str, share: float) -> str:
    """Mix ``share`` of one colour with the rest of another.

    >>> mix("#000000", "#ffffff", 0.2)
    '#cccccc'
    """
    parts = zip(_channels(colour), _channels(other), strict=True)
    return "#" + "".join(f"{round(a * share + b * (1 - share)):02x}" for a, b in parts)


def contrast(colour: str, other: str) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.1).

    >>> round(contrast("#000000", "#ffffff"))
    21
    """
    lighter, darker = sorted((_luminance(colour), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    linear = [
        c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4
        for c in (x / 255 for x in _channels(colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def number(value: float) -> str:
    """Write a coordinate: a tenth of a pixel is enough.

    >>> number(3.14159), number(2.0), number(-0.01)
    ('3.1', '2', '0')
    """
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def path_data(strokes: Sequence[Stroke]) -> str:
    """Write strokes as path data: rounded corners, and slopes as curves that start upright.

    >>> path_data([((0, 0), (0, 9)), ((0, 0), (8, 10))])
    'M0 0L0 9M0 0C0 5 8 5 8 10'
    """
    return "".join(_stroke_data(stroke) for stroke in strokes)


def _stroke_data(stroke: Stroke) -> str:
    data = [f"M{_point(stroke[0])}"]
    for i, (start, end) in enumerate(pairwise(stroke)):
        following = stroke[i + 2] if i + 2 < len(stroke) else None
        if not _straight(start, end):
            data.append(_slope(start, end))
        elif following is None or not _straight(end, following):
            data.append(f"L{_point(end)}")
        else:
            before, after = _towards(end, start), _towards(end, following)
            data.append(f"L{_point(before)}Q{_point(end)} {_point(after)}")
    return "".join(data)


def _straight(start: Point, end: Point) -> bool:
    return abs(start[0] - end[0]) < 0.05 or abs(start[1] - end[1]) < 0.05


def _slope(start: Point, end: Point) -> str:
    (x0, y0), (x1, y1) = start, end
    pull = (y1 - y0) / 2 if y1 > y0 else 60.0
    return f"C{_point((x0, y0 + pull))} {_point((x1, y1 - pull))} {_point(end)}"


def _towards(corner: Point, other: Point) -> Point:
    """The point where a rounded corner begins, on the way to ``other``."""
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    length = max(abs(dx), abs(dy))
    step = min(CORNER, length / 2) / length if length else 0.0
    return corner[0] + dx * step, corner[1] + dy * step


def arrow_data(tips: Sequence[Point]) -> str:
    """Write small arrow heads that point down to their tips."""
    return "".join(f"M{_point(tip)}l-3 -5.5h6z" for tip in tips)


def _point(point: Point) -> str:
    return f"{number(point[0])} {number(point[1])}"
