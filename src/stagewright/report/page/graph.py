"""The layer graph for the page: drawn in few elements, so that thousands of layers stay light.

A stage's boxes are one path, its wires another. What a box means is in the table of layers; the
page's script finds the box under the pointer by its place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from stagewright.report.captions import NAME_LIMIT, Captions
from stagewright.report.columns import BOX_HEIGHT, Point
from stagewright.report.labels import clean, escape, fit, fit_name, fit_parts, text_width
from stagewright.report.layout import Layout, Style, lay_out
from stagewright.report.marks import arrow_data, number, path_data
from stagewright.report.page.facts import Facts
from stagewright.report.page.theme import stage_class
from stagewright.report.routing import TAG_HEIGHT, TAG_WIDTH
from stagewright.report.style import (
    BOLD,
    BOX_INSET,
    HEADER_LINE,
    HEADER_PX,
    NAME_PX,
    SMALL_PX,
    choose_style,
)

EDGE = 12.0
FAR_WIDTH = 2600.0
"""A picture wider than this is first shown without names, which nobody could read."""

BIG_SHARE = 26.0
"""The picture's width over the size of the stage numbers that stand in for the names."""


@dataclass(frozen=True)
class GraphDrawing:
    """The picture, and where each layer stands in it.

    Attributes
    ----------
    svg
        One ``svg`` element; everything from files is escaped.
    data
        JSON for the page's script, safe inside a ``script`` element: size of a box, and for each
        layer its corner and the layers that read it, in file order.
    """

    svg: str
    data: str


def draw_graph(facts: Facts) -> GraphDrawing:
    """Draw the layers stage by stage."""
    captions = Captions(facts.instance, facts.plan, facts.evaluation)
    style = choose_style(captions)
    layout = lay_out(
        [layer.id for layer in captions.graph.layers],
        list(dict.fromkeys(captions.graph.edges)),
        captions.panel_of,
        style,
        (EDGE, EDGE),
    )
    drawing = _Drawing(captions, layout, style)
    return GraphDrawing("\n".join(drawing.elements()), _data(captions, layout, style))


def _data(captions: Captions, layout: Layout, style: Style) -> str:
    """Write the places of all layers; ``<`` is spelled so that no element can end there."""
    layers = captions.graph.layers
    index = {layer.id: i for i, layer in enumerate(layers)}
    readers: list[list[int]] = [[] for _ in layers]
    for u, v in dict.fromkeys(captions.graph.edges):
        readers[index[u]].append(index[v])
    data = {
        "box": [round(style.box_width, 1), BOX_HEIGHT],
        "at": [[round(x, 1) for x in layout.boxes[layer.id]] for layer in layers],
        "readers": readers,
    }
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


class _Drawing:
    def __init__(self, captions: Captions, layout: Layout, style: Style) -> None:
        self.captions, self.layout, self.style = captions, layout, style
        self.width, self.height = layout.right + EDGE, layout.bottom + EDGE
        stages = len(captions.plan.stages)
        self.classes = [stage_class(p if p < stages else None) for p in range(captions.panels)]
        self.members: list[list[str]] = [[] for _ in self.classes]
        for node in layout.boxes:
            self.members[captions.panel_of[node]].append(node)

    def elements(self) -> Iterator[str]:
        far = ' class="far"' if self.width > FAR_WIDTH else ""
        box = f"0 0 {number(self.width)} {number(self.height)}"
        yield (
            f'<svg id="graph"{far} viewBox="{box}" role="img" '
            'aria-labelledby="graph-title graph-words">'
        )
        name = escape(self.captions.name)
        yield f'<title id="graph-title">Layer graph of {name} by stage</title>'
        yield f'<desc id="graph-words">{escape(self.captions.description())}</desc>'
        for draw in (self._panel, self._wires, self._header, self._boxes, self._names, self._big):
            yield from self._per_panel(draw)
        yield from self._tags()
        yield '<rect id="graph-mark" visibility="hidden" rx="8"/>'
        yield "</svg>"

    def _per_panel(self, draw: Callable[[int], Iterator[str]]) -> Iterator[str]:
        for p, css in enumerate(self.classes):
            inner = "".join(draw(p))
            if inner:
                yield f'<g class="{css}">{inner}</g>'

    def _panel(self, p: int) -> Iterator[str]:
        panel = self.layout.panels[p]
        yield (
            f'<rect class="panel" x="{number(panel.x)}" y="{number(panel.y)}" '
            f'width="{number(panel.width)}" height="{number(panel.height)}" rx="8"/>'
        )

    def _header(self, p: int) -> Iterator[str]:
        panel, height = self.layout.panels[p], self.style.header_height
        x, y, width = panel.x, panel.y, panel.width
        yield (
            f'<path class="head" d="M{number(x)} {number(y + height)}v{number(8 - height)}'
            f'q0 -8 8 -8h{number(width - 16)}q8 0 8 8v{number(height - 8)}z"/>'
        )
        for i, line in enumerate(self.captions.header(p)):
            size = HEADER_PX * (BOLD if i == 0 else 1.0)
            text = fit_parts(line, size, width - 2 * BOX_INSET)
            css = "name strong" if i == 0 else "name"
            yield _text(css, x + BOX_INSET, y + 21 + HEADER_LINE * i, text)

    def _boxes(self, p: int) -> Iterator[str]:
        captions, width = self.captions, self.style.box_width
        outline = f"h{number(width)}v{number(BOX_HEIGHT)}h{number(-width)}z"
        paid = [node for node in self.members[p] if not captions.is_free(node)]
        free = [node for node in self.members[p] if captions.is_free(node)]
        for css, nodes in (("box", paid), ("box free", free)):
            if nodes:
                data = "".join(f"M{_at(self.layout.boxes[node])}{outline}" for node in nodes)
                yield f'<path class="{css}" d="{data}"/>'
        bars = []
        for node in paid:
            share = captions.layer_ms(node) / captions.longest_ms if captions.longest_ms else 0.0
            length = (width - 2 * BOX_INSET) * share
            if length >= 0.5:
                x, y = self.layout.boxes[node]
                corner = _at((x + BOX_INSET, y + BOX_HEIGHT - 5))
                bars.append(f"M{corner}h{number(length)}v2.5h{number(-length)}z")
        if bars:
            yield f'<path class="bar" d="{"".join(bars)}"/>'

    def _names(self, p: int) -> Iterator[str]:
        captions, room = self.captions, self.style.box_width - 2 * BOX_INSET
        for node in self.members[p]:
            x, y = self.layout.boxes[node]
            name = fit_name(captions.layer_name(node), NAME_PX, room)
            time = captions.layer_time(node)
            left = room - text_width(f" · {time}", SMALL_PX)
            second = f"{fit(clean(node, NAME_LIMIT), SMALL_PX, left)} · {time}"
            yield _text("name", x + BOX_INSET, y + 13.5, name)
            yield _text("small", x + BOX_INSET, y + 25.5, fit(second, SMALL_PX, room))

    def _wires(self, p: int) -> Iterator[str]:
        solid: list[str] = []
        cut: list[str] = []
        loose: list[str] = []
        tips: list[Point] = []
        cut_tips: list[Point] = []
        for node in self.members[p]:
            wire = self.layout.wires.get(node)
            if wire is None:
                continue
            (loose if wire.loose else solid).append(path_data(wire.solid))
            (loose if wire.loose else cut).append(path_data(wire.cut))
            for tip, crosses in wire.arrows:
                (cut_tips if crosses else tips).append(tip)
        for css, data in (
            ("wire loose", "".join(loose)),
            ("wire", "".join(solid)),
            ("wire cut", "".join(cut)),
            ("tip", arrow_data(tips)),
            ("tip cut", arrow_data(cut_tips)),
        ):
            if data:
                yield f'<path class="{css}" d="{data}"/>'

    def _big(self, p: int) -> Iterator[str]:
        """A number that can be read from afar."""
        panel = self.layout.panels[p]
        size = min(self.width / BIG_SHARE, panel.width / 3)
        text = str(p) if p < len(self.captions.plan.stages) else "?"
        yield (
            f'<text class="big" x="{number(panel.x + panel.width / 2)}" '
            f'y="{number(panel.y + panel.height / 2)}" font-size="{number(size)}">{text}</text>'
        )

    def _tags(self) -> Iterator[str]:
        for tag in self.layout.tags:
            text = fit(self.captions.wire_bytes(tag.producer), SMALL_PX, TAG_WIDTH - 8)
            width = text_width(text, SMALL_PX) + 6
            turn = " rotate(-90)" if tag.upright else ""
            css = self.classes[self.captions.panel_of[tag.producer]]
            yield (
                f'<g class="tag {css}" transform="translate({_at(tag.centre)}){turn}">'
                f'<rect x="{number(-width / 2)}" y="{number(-TAG_HEIGHT / 2)}" '
                f'width="{number(width)}" height="{number(TAG_HEIGHT)}" rx="4"/>'
                f'<text y="3.5">{escape(text)}</text></g>'
            )


def _at(point: Point) -> str:
    return f"{number(point[0])} {number(point[1])}"


def _text(css: str, x: float, y: float, text: str) -> str:
    return f'<text class="{css}" x="{number(x)}" y="{number(y)}">{escape(text)}</text>'
