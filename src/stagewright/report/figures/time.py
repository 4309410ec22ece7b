"""Figures over time: what each GPU does, and what it holds."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from stagewright.report.figures.sheet import label_rows, new_figure, rows_height, shade
from stagewright.report.labels import clean
from stagewright.report.marks import INK, LINE, grey
from stagewright.report.page.timeline import Timeline, TimelineRow
from stagewright.simulation import Work

LANES = {
    Work.FORWARD: (-0.4, 0.52),
    Work.BACKWARD: (-0.4, 0.52),
    Work.RECOMPUTE: (-0.4, 0.52),
    Work.ALL_REDUCE: (-0.4, 0.52),
    Work.ACTIVATION: (0.18, 0.1),
    Work.GRADIENT: (0.31, 0.1),
}
"""Where a kind of work lies in its row: from where, and how high."""

NUMBER_SHARE = 0.018
"""Blocks narrower than this part of the figure carry no number."""


def timeline_figure(timeline: Timeline) -> Figure:
    """The first minibatches on each GPU, in milliseconds."""
    figure, axes = new_figure(rows_height(len(timeline.rows)) + 0.2)
    for work in Work:
        _draw_work(axes, timeline, work)
    for y, row in enumerate(timeline.rows):
        _number(axes, row, y, timeline.end_s)
    label_rows(axes, [f"{row.gpu.stage}: {clean(row.gpu.name, 40)}" for row in timeline.rows])
    axes.set_xlim(0, 1000 * timeline.end_s)
    axes.set_xlabel("milliseconds")
    axes.set_ylabel("stage: GPU")
    present = {block.work for row in timeline.rows for block in row.blocks}
    handles = [Patch(label=work.value, **_look(work, None)) for work in Work if work in present]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _draw_work(axes: Axes, timeline: Timeline, work: Work) -> None:
    """Draw all blocks of one kind, a collection a stage."""
    low, height = LANES[work]
    for stage in dict.fromkeys(row.gpu.stage for row in timeline.rows):
        boxes = [
            _rectangle(1000 * block.start_s, 1000 * block.end_s, y + low, y + low + height)
            for y, row in enumerate(timeline.rows)
            if row.gpu.stage == stage
            for block in row.blocks
            if block.work is work
        ]
        if boxes:
            axes.add_collection(PolyCollection(boxes, **_look(work, stage)))


def _rectangle(x0: float, x1: float, y0: float, y1: float) -> list[tuple[float, float]]:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def _look(work: Work, stage: int | None) -> dict[str, Any]:
    colours = grey() if stage is None else shade(stage)
    if work is Work.BACKWARD:
        return {"facecolor": colours.deep, "edgecolor": "white", "linewidth": 0.3}
    if work is Work.ALL_REDUCE:
        return {"facecolor": "white", "edgecolor": INK, "linewidth": 0.3, "hatch": "//////"}
    if work.is_transfer:
        return {"facecolor": LINE if work is Work.ACTIVATION else INK, "linewidth": 0.0}
    style = "dashed" if work is Work.RECOMPUTE else "solid"
    return {
        "facecolor": colours.box,
        "edgecolor": colours.deep,
        "linewidth": 0.5,
        "linestyle": style,
    }


def _number(axes: Axes, row: TimelineRow, y: int, end_s: float) -> None:
    for block in row.blocks:
        numbered = block.work in {Work.FORWARD, Work.BACKWARD}
        if numbered and block.end_s - block.start_s >= NUMBER_SHARE * end_s:
            axes.text(
                500 * (block.start_s + block.end_s),
                y - 0.14,
                str(block.minibatch),
                ha="center",
                va="center",
                fontsize=6,
                color=INK if block.work is Work.FORWARD else "white",
            )


def memory_over_time_figure(timeline: Timeline) -> Figure:
    """What each GPU holds while the first minibatches pass, in GB."""
    figure, axes = new_figure(2.6)
    most = max(held for row in timeline.rows for _, held in row.held) / 1e9
    named: set[int] = set()
    for row in timeline.rows:
        stage = row.gpu.stage
        axes.step(
            [1000 * time for time, _ in row.held] + [1000 * timeline.end_s],
            [held / 1e9 for _, held in row.held] + [row.held[-1][1] / 1e9],
            where="post",
            color=shade(stage).deep,
            linewidth=1.0,
            linestyle=("-", "--", "-.", ":")[stage % 4],
            label=None if stage in named else f"stage {stage}",
        )
        named.add(stage)
    axes.set_xlim(0, 1000 * timeline.end_s)
    axes.set_ylim(0, 1.05 * most if most > 0 else 1.0)
    axes.set_xlabel("milliseconds")
    axes.set_ylabel("GB held by each GPU")
    figure.legend(loc="outside right upper", ncols=1 + len(named) // 16)
    return figure
