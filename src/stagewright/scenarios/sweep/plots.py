"""Pictures of a sweep: period over bandwidth, and how the best plan's stages change with it."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stagewright.scenarios.sweep.changes import Series, bandwidth, period_s
from stagewright.scenarios.sweep.outcome import StageShape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 24
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6B6B6B", "#B0A000")
"""Told apart by colour-blind people too (Okabe and Ito, 2008; the last two are ours)."""

MARKS = "osD^vP*X"
LABELLED = 0.055
"""Height of a stage, as a share of the panel, from which a text fits in."""


def draw(found: Sequence[Series]) -> dict[str, bytes]:
    """Return files (name to content) of all pictures; none if no series has two bandwidths."""
    lines = [x for x in found if len(x.best) > 1][:MOST_PANELS]
    if not lines:
        return {}
    from matplotlib import rc_context  # noqa: PLC0415 - optional

    files: dict[str, bytes] = {}
    for name, figure in (("period", period_figure(lines)), ("shape", shape_figure(lines))):
        for kind in ("png", "svg"):
            out = io.BytesIO()
            # Neither a date nor random names, so that the same results are the same bytes.
            with rc_context({"svg.hashsalt": "stagewright"}):
                dated = {"Date": None} if kind == "svg" else {}
                figure.savefig(out, format=kind, dpi=150, metadata=dated)
            files[f"{name}.{kind}"] = out.getvalue()
    return files


def period_figure(found: Sequence[Series]) -> Figure:
    """Period over bandwidth, a line a planner, a panel a series; both axes logarithmic."""
    planners = list(dict.fromkeys(name for line in found for name in line.by_planner))
    figure, panels = _panels(found, width=4.4, height=3.3)
    for panel, line in zip(panels, found, strict=True):
        # The first planner is drawn last, and smallest: those that answer the same show behind.
        for place in reversed(range(len(planners))):
            answers = line.by_planner.get(planners[place], ())
            panel.plot(
                [bandwidth(x) for x in answers],
                [period_s(x) * 1000 for x in answers],
                color=COLOURS[place % len(COLOURS)],
                marker=MARKS[place % len(MARKS)],
                markersize=4 + 5 * place / len(planners),
                label=planners[place],
            )
        _logarithmic(panel)
        panel.set_ylabel("period, ms per minibatch")
    handles, names = panels[0].get_legend_handles_labels()
    _legend(figure, handles[::-1], names[::-1])
    return figure


def shape_figure(found: Sequence[Series]) -> Figure:
    """The best plan at each bandwidth as a column of its stages; a dashed line marks a change."""
    from matplotlib.patches import Patch  # noqa: PLC0415 - optional

    kinds = sorted({_kind(s) for line in found for x in line.best for s in x.outcome.stages})
    colour = {kind: COLOURS[i % len(COLOURS)] for i, kind in enumerate(kinds)}
    widest = max(len(line.best) for line in found)
    figure, panels = _panels(found, width=max(4.4, 0.95 * widest + 1), height=3.8)
    for panel, line in zip(panels, found, strict=True):
        before = None
        for place, each in enumerate(line.best):
            _column(panel, place, each.outcome.stages, colour)
            if before is not None and each.outcome.shape != before:
                panel.axvline(place - 0.5, color="black", linestyle="--", linewidth=1.2)
            before = each.outcome.shape
        ticks = [f"{_rate(bandwidth(x))}\n{_milliseconds(period_s(x))}" for x in line.best]
        panel.set_xticks(range(len(ticks)), ticks, fontsize=8)
        panel.set_xlim(-0.5, len(ticks) - 0.5)
        panel.set_ylim(1, 0)
        panel.set_yticks([0, 1], ["input", "output"])
        panel.set_ylabel("layers")
        panel.set_xlabel("bandwidth of the outermost link, and period")
    _legend(figure, [Patch(color=colour[kind]) for kind in kinds], kinds)
    return figure


def _column(panel: Axes, place: int, stages: Sequence[StageShape], colour: dict[str, str]) -> None:
    total = sum(len(stage.nodes) for stage in stages)
    done = 0.0
    for stage in stages:
        share = len(stage.nodes) / total
        panel.bar(
            place, share, 0.86, done, color=colour[_kind(stage)], edgecolor="white", linewidth=1.5
        )
        if share >= LABELLED:
            middle, text = done + share / 2, f"× {_counts(stage)}"
            ink = _ink(colour[_kind(stage)])
            panel.text(place, middle, text, ha="center", va="center", color=ink, fontsize=8)
        done += share


def _kind(stage: StageShape) -> str:
    return " + ".join(dict.fromkeys(share.gpu for share in stage.replicas))


def _counts(stage: StageShape) -> str:
    """GPUs of each type, in the order of :func:`_kind`."""
    counts: dict[str, int] = {}
    for share in stage.replicas:
        counts[share.gpu] = counts.get(share.gpu, 0) + share.count
    return "+".join(map(str, counts.values()))


def _ink(background: str) -> str:
    """Black or white, whichever reads better."""
    from matplotlib.colors import to_rgb  # noqa: PLC0415 - optional

    red, green, blue = to_rgb(background)
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"


def _panels(found: Sequence[Series], width: float, height: float) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure  # noqa: PLC0415 - optional

    columns = min(len(found), 3)
    rows = math.ceil(len(found) / columns)
    figure = Figure(figsize=(width * columns, height * rows + 0.5), layout="constrained")
    grid: Any = figure.subplots(rows, columns, squeeze=False)
    panels: list[Axes] = list(grid.flat)
    for spare in panels[len(found) :]:
        spare.remove()
    for panel, line in zip(panels, found, strict=False):
        panel.set_title(line.name.replace("$", r"\$"), fontsize=10)
    return figure, panels[: len(found)]


def _legend(figure: Figure, handles: Sequence[Any], names: Sequence[str]) -> None:
    columns = min(len(names), 5)
    figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False)


def _logarithmic(panel: Axes) -> None:
    from matplotlib.ticker import (  # noqa: PLC0415 - optional
        EngFormatter,
        FuncFormatter,
        LogLocator,
        NullFormatter,
    )

    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.xaxis.set_major_formatter(EngFormatter(unit="B/s"))
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.grid(visible=True, alpha=0.3)
    panel.set_xlabel("bandwidth of the outermost link")


def _rate(value: float) -> str:
    from matplotlib.ticker import EngFormatter  # noqa: PLC0415 - optional

    return EngFormatter(unit="B/s")(value)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.4g} ms"
