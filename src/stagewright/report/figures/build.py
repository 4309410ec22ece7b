"""All figures of a report, by file name."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure

from stagewright.report.figures.bars import comparison_figure, memory_figure, period_figure
from stagewright.report.figures.places import gpus_figure, graph_figure
from stagewright.report.figures.sheet import paper, saved
from stagewright.report.figures.time import memory_over_time_figure, timeline_figure
from stagewright.report.page.facts import Facts
from stagewright.report.page.timeline import make_timeline


def draw_figures(facts: Facts) -> dict[str, bytes]:
    """Return every picture of the report as PNG and as SVG, by file name.

    The timeline and the memory over time are missing where a plan cannot be simulated.
    """
    files: dict[str, bytes] = {}
    with paper():
        for name, figure in _figures(facts):
            files[f"{name}.png"], files[f"{name}.svg"] = saved(figure)
    return files


def _figures(facts: Facts) -> Iterator[tuple[str, Figure]]:
    yield "gpus", gpus_figure(facts)
    yield "layers", graph_figure(facts)
    yield "period", period_figure(facts)
    yield "memory", memory_figure(facts)
    yield "planners", comparison_figure(facts)
    if not isinstance(facts.simulation, str):
        timeline = make_timeline(facts.simulation)
        yield "timeline", timeline_figure(timeline)
        yield "memory-over-time", memory_over_time_figure(timeline)
