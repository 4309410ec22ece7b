"""Figures of what lies where: stages over GPUs, and the layer graph by stage."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure

from stagewright.report.captions import Captions
from stagewright.report.columns import BOX_HEIGHT, Point
from stagewright.report.figures.sheet import WIDTH_IN, new_figure, shade
from stagewright.report.labels import fit_name, fit_parts
from stagewright.report.layout import Layout, Style, lay_out
from stagewright.report.marks import INK, LINE, MUTED
from stagewright.report.page.facts import Facts
from stagewright.report.page.stages import GpuTile, server_tiles
from stagewright.report.style import BOX_INSET, HEADER_PX, NAME_PX, choose_style

MOST_ABREAST = 8
LEGIBLE_PT = 2.0
"""Smaller than this, names of layers are left out."""

POINTS_PER_INCH = 72.0


def gpus_figure(facts: Facts) -> Figure:
    """Every GPU with its stage, server by server."""
    servers = server_tiles(facts)
    abreast = min(MOST_ABREAST, max(4, *(len(server.tiles) for server in servers)))
    rows = sum(1 + -(-len(server.tiles) // abreast) for server in servers)
    figure, axes = new_figure(min(40.0, 0.2 + 0.42 * rows))
    y = 0.0
    for server in servers:
        axes.text(0, y + 0.75, server.name, fontweight="bold", va="bottom")
        y += 1
        for i, tile in enumerate(server.tiles):
            _tile(axes, tile, i % abreast, y + i // abreast)
        y += -(-len(server.tiles) // abreast)
    axes.set_xlim(0, abreast)
    axes.set_ylim(y + 0.1, 0)
    axes.set_axis_off()
    return figure


def _tile(axes: Axes, tile: GpuTile, x: int, y: float) -> None:
    colours = shade(tile.stage)
    idle = tile.stage is None
    axes.add_collection(
        PolyCollection(
            [[(x, y + 0.06), (x + 0.94, y + 0.06), (x + 0.94, y + 0.94), (x, y + 0.94)]],
            facecolor="white" if idle else colours.box,
            edgecolor=colours.strong,
            linestyle="dashed" if idle else "solid",
            linewidth=0.8,
        )
    )
    axes.text(x + 0.06, y + 0.5, "–" if idle else str(tile.stage), fontsize=12, va="center")
    axes.text(x + 0.3, y + 0.38, tile.gpu[:14], fontsize=6, va="center")
    axes.text(x + 0.3, y + 0.68, tile.ranks or "idle", fontsize=5.5, va="center", color=MUTED)


def graph_figure(facts: Facts) -> Figure:
    """The layers in the panels of their stages, as on the page."""
    captions = Captions(facts.instance, facts.plan, facts.evaluation)
    style = choose_style(captions)
    layout = lay_out(
        [layer.id for layer in captions.graph.layers],
        list(dict.fromkeys(captions.graph.edges)),
        captions.panel_of,
        style,
        (4.0, 4.0),
    )
    width, height = layout.right + 4, layout.bottom + 4
    figure, axes = new_figure(min(40.0, WIDTH_IN * height / width))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_aspect("equal")
    axes.set_axis_off()
    for p in range(captions.panels):
        _panel(axes, captions, layout, style, p)
    point = WIDTH_IN * POINTS_PER_INCH / width
    _headers(axes, captions, layout, style, point)
    if NAME_PX * point >= LEGIBLE_PT:
        _names(axes, captions, layout, style, NAME_PX * point)
    return figure


def _panel(axes: Axes, captions: Captions, layout: Layout, style: Style, p: int) -> None:
    """One stage: its frame, its boxes and the wires that leave them."""
    stage = p if p < len(captions.plan.stages) else None
    colours, panel = shade(stage), layout.panels[p]
    frame = _box(panel.x, panel.y, panel.width, panel.height)
    head = _box(panel.x, panel.y, panel.width, style.header_height)
    look: dict[str, Any] = {"linewidth": 0.4, "zorder": 1}
    axes.add_collection(
        PolyCollection([frame], facecolor=colours.panel, edgecolor=colours.strong, **look)
    )
    axes.add_collection(PolyCollection([head], facecolor=colours.box, **look))
    nodes = [node for node in layout.boxes if captions.panel_of[node] == p]
    wires = [layout.wires[node] for node in nodes if node in layout.wires]
    for loose, opacity in ((False, 1.0), (True, 0.3)):
        here = [wire for wire in wires if wire.loose == loose]
        for strokes, colour, dash in (
            ([s for w in here for s in w.solid], LINE, "solid"),
            ([s for w in here for s in w.cut], colours.deep, "dashed"),
        ):
            axes.add_collection(
                LineCollection(
                    strokes,
                    colors=colour,
                    linestyles=dash,
                    linewidths=0.3,
                    alpha=opacity,
                    zorder=2,
                )
            )
    boxes = [_box(*layout.boxes[node], style.box_width, BOX_HEIGHT) for node in nodes]
    axes.add_collection(
        PolyCollection(
            boxes, facecolor=colours.box, edgecolor=colours.deep, linewidth=0.3, zorder=3
        )
    )


def _box(x: float, y: float, width: float, height: float) -> list[Point]:
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


def _headers(axes: Axes, captions: Captions, layout: Layout, style: Style, point: float) -> None:
    """The first line of each header, or a number where that could not be read."""
    legible = HEADER_PX * point >= LEGIBLE_PT
    for p, panel in enumerate(layout.panels):
        if legible:
            words = fit_parts(captions.header(p)[0], HEADER_PX, panel.width - 2 * BOX_INSET)
            middle = panel.y + style.header_height / 2
            axes.text(
                panel.x + BOX_INSET,
                middle,
                words,
                fontsize=HEADER_PX * point,
                va="center",
                fontweight="bold",
                zorder=5,
            )
        else:
            axes.text(
                panel.x + panel.width / 2,
                panel.y + panel.height / 2,
                str(p),
                fontsize=14,
                ha="center",
                va="center",
                fontweight="bold",
                color=INK,
                zorder=5,
            )


def _names(axes: Axes, captions: Captions, layout: Layout, style: Style, size_pt: float) -> None:
    for node, (x, y) in layout.boxes.items():
        name = fit_name(captions.layer_name(node), NAME_PX, style.box_width - 2 * BOX_INSET)
        axes.text(x + BOX_INSET, y + BOX_HEIGHT / 2, name, fontsize=size_pt, va="center", zorder=4)
