"""A sheet of paper: sizes, colours and hatches that all figures share, and how they are saved."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from stagewright.report.labels import clean
from stagewright.report.marks import INK, LINE, MUTED, Shade, grey, shade_of
from stagewright.report.page.period import COMPUTE, PART_NAMES, REDUCE, WAIT

WIDTH_IN = 6.8
ROW_IN = 0.27
DPI = 200
MOST_LABEL = 44
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 8.0,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "text.color": INK,
    "hatch.linewidth": 0.8,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "stagewright",
    "text.parse_math": False,
    "path.simplify": True,
}
HATCHES = {REDUCE: "////", WAIT: "...."}


@contextmanager
def paper() -> Iterator[None]:
    """Draw in the style of all figures; text is text, whatever dollar signs a name has."""
    with mpl.rc_context(STYLE):
        yield


def new_figure(height_in: float, width_in: float = WIDTH_IN) -> tuple[Figure, Axes]:
    """Return an empty figure and its axes, without any window."""
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def rows_height(rows: int) -> float:
    """Height in inches of a figure with so many rows."""
    return min(40.0, 0.95 + ROW_IN * rows)


def saved(figure: Figure) -> tuple[bytes, bytes]:
    """Return a figure as PNG and as SVG, the same bytes for the same figure."""
    images = []
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        stream = io.BytesIO()
        figure.savefig(stream, format=kind, dpi=DPI, metadata=metadata)
        images.append(stream.getvalue())
    return images[0], images[1]


def label_rows(axes: Axes, labels: list[str]) -> None:
    """Name the rows, the first on top; names from files are plain text."""
    axes.set_yticks(range(len(labels)), [clean(text, MOST_LABEL) for text in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def shade(stage: int | None) -> Shade:
    """Return the colours of a stage."""
    return grey() if stage is None else shade_of(stage)


def part_patch(kind: str) -> Patch:
    """Return a sample of a part of the period, for a legend."""
    return Patch(label=PART_NAMES[kind], **part_look(kind, grey()))


def part_look(kind: str, colours: Shade) -> dict[str, Any]:
    """Return how a part of the period is drawn; parts differ without colour too.

    What is neither computing nor all-reduce is pale: waiting and transfers.
    """
    if kind in {COMPUTE, REDUCE}:
        return {
            "facecolor": colours.strong,
            "edgecolor": "white" if kind == REDUCE else colours.strong,
            "hatch": HATCHES.get(kind),
            "linewidth": 0.0,
        }
    return {
        "facecolor": colours.box,
        "edgecolor": colours.deep,
        "hatch": HATCHES.get(kind),
        "linewidth": 0.6,
    }


def mark_line(axes: Axes, at: float, words: str) -> None:
    """Draw what bars are measured against."""
    axes.axvline(at, color=INK, linewidth=1.0, linestyle=(0, (4, 2)))
    axes.annotate(
        words,
        (at, 1.0),
        (0, 2),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right",
        va="bottom",
        color=INK,
    )


def faint_grid(axes: Axes) -> None:
    """Draw light lines behind everything."""
    axes.grid(axis="x", color=LINE, alpha=0.25, linewidth=0.5)
    axes.set_axisbelow(True)
