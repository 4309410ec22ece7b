"""Figures with a bar a row: where the period comes from, memory, other planners."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from stagewright.report.figures.sheet import (
    faint_grid,
    label_rows,
    mark_line,
    new_figure,
    part_look,
    part_patch,
    rows_height,
    shade,
)
from stagewright.report.marks import INK, LINE, grey
from stagewright.report.page.comparison import BOUND, THIS, comparison_rows
from stagewright.report.page.facts import Facts, time_words
from stagewright.report.page.memory import ACTIVATIONS, WEIGHTS, memory_rows
from stagewright.report.page.period import PART_NAMES, period_rows


def period_figure(facts: Facts) -> Figure:
    """Stages and cuts against the period, in milliseconds."""
    rows = period_rows(facts)
    figure, axes = new_figure(rows_height(len(rows)))
    faint_grid(axes)
    kinds: dict[str, None] = {}
    for y, row in enumerate(rows):
        left = 0.0
        for kind, seconds in row.parts:
            look = part_look(kind, shade(row.stage))
            axes.barh(y, 1000 * seconds, left=left, height=0.5 if row.is_cut else 0.68, **look)
            left += 1000 * seconds
            kinds[kind] = None
    label_rows(axes, [f"{row.name}: {row.where}" for row in rows])
    axes.set_xlabel("milliseconds per minibatch")
    period_s = facts.evaluation.period_s
    if period_s > 0:
        mark_line(axes, 1000 * period_s, f"period {time_words(period_s)}")
    if kinds:
        handles = [part_patch(kind) for kind in PART_NAMES if kind in kinds]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def memory_figure(facts: Facts) -> Figure:
    """What one GPU of each kind holds against what it has, in GB."""
    rows = memory_rows(facts)
    figure, axes = new_figure(rows_height(len(rows)))
    faint_grid(axes)
    for y, row in enumerate(rows):
        colours, left = shade(row.stage), 0.0
        for kind, held in row.parts:
            strong = kind == WEIGHTS
            axes.barh(
                y,
                held / 1e9,
                left=left,
                height=0.68,
                facecolor=colours.strong if strong else colours.box,
                edgecolor=colours.deep,
                linewidth=0.6,
            )
            left += held / 1e9
        if row.limit_bytes is not None:
            at = row.limit_bytes / 1e9
            axes.plot([at, at], [y - 0.42, y + 0.42], color=INK, linewidth=1.4)
    label_rows(axes, [f"stage {row.stage}: {row.gpu}" for row in rows])
    axes.set_xlabel("GB on one GPU; the upright line is what the GPU has")
    colours = grey()
    handles = [
        Patch(facecolor=colours.strong, label=f"{WEIGHTS}, gradients, optimizer"),
        Patch(facecolor=colours.box, edgecolor=colours.deep, label=f"{ACTIVATIONS} in flight"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def comparison_figure(facts: Facts) -> Figure:
    """Periods of this plan and of others, in milliseconds."""
    rows = [row for row in comparison_rows(facts) if row.period_s is not None]
    figure, axes = new_figure(rows_height(len(rows)))
    faint_grid(axes)
    looks: dict[str, dict[str, Any]] = {
        THIS: {"facecolor": shade(0).strong},
        BOUND: {"facecolor": "white", "edgecolor": shade(2).strong, "hatch": "////"},
    }
    for y, row in enumerate(rows):
        milliseconds = 1000 * (row.period_s or 0.0)
        axes.barh(y, milliseconds, height=0.62, **looks.get(row.kind, {"facecolor": LINE}))
        axes.annotate(
            time_words(row.period_s or 0.0),
            (milliseconds, y),
            (3, 0),
            textcoords="offset points",
            va="center",
        )
    label_rows(axes, [row.name for row in rows])
    axes.set_xlabel("period in milliseconds; shorter is better")
    axes.margins(x=0.12)
    return figure
