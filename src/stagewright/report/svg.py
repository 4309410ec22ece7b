"""A plan as a picture: one self-contained SVG document, drawn without any other program.

Everything that comes from a file (descriptions, names of nodes, GPUs and servers) is data: it
passes through :func:`~stagewright.report.labels.clean` and
:func:`~stagewright.report.labels.escape`, and stands in text and quoted attributes only.
"""

from __future__ import annotations

from collections.abc import Iterator

from stagewright.model.evaluate import Evaluation
from stagewright.model.instance import Instance
from stagewright.model.plan import Plan
from stagewright.report.captions import NAME_LIMIT, Captions
from stagewright.report.columns import BOX_HEIGHT
from stagewright.report.labels import clean, escape, fit, fit_name, fit_parts, text_width
from stagewright.report.layout import Layout, Style, lay_out
from stagewright.report.marks import (
    INK,
    LINE,
    MUTED,
    PAPER,
    WARNING,
    Shade,
    arrow_data,
    grey,
    number,
    path_data,
    shade_of,
)
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

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
TITLE_PX = 18.0
EDGE = 20.0
LEAST_WIDTH = 600.0


def draw_plan(instance: Instance, plan: Plan, evaluation: Evaluation) -> str:
    """Draw the layer graph, stage by stage, as an SVG document.

    Parameters
    ----------
    instance
        What was planned.
    plan
        Any plan, also a wrong one: layers that it forgets stand in a panel of their own.
    evaluation
        The plan's figures, from :func:`stagewright.model.evaluate.evaluate`.

    Returns
    -------
    str
        One document, the same for the same arguments; to be written as UTF-8.
    """
    captions = Captions(instance, plan, evaluation)
    style = choose_style(captions)
    top = EDGE + 64 + (18 if captions.warning else 0)
    layout = lay_out(
        [layer.id for layer in captions.graph.layers],
        list(dict.fromkeys(captions.graph.edges)),
        captions.panel_of,
        style,
        (EDGE, top),
    )
    return _Page(captions, layout, style).document()


class _Page:
    """Writes a finished layout."""

    def __init__(self, captions: Captions, layout: Layout, style: Style) -> None:
        self.captions, self.layout, self.style = captions, layout, style
        self.width = max(layout.right + EDGE, LEAST_WIDTH)
        stages = len(captions.plan.stages)
        self.shades = [shade_of(p) if p < stages else grey() for p in range(captions.panels)]
        self.legend = list(self._legend_rows())
        self.height = layout.bottom + 14 + 18 * len(self.legend) + EDGE - 6

    def document(self) -> str:
        """The whole text."""
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{number(self.width)}" '
            f'height="{number(self.height)}" '
            f'viewBox="0 0 {number(self.width)} {number(self.height)}" role="img" '
            f'aria-labelledby="plan-title plan-description" font-family="{escape(FONT)}">',
            f'<title id="plan-title">{escape(self._title())}</title>',
            f'<desc id="plan-description">{escape(self.captions.description())}</desc>',
            f'<defs><clipPath id="{self._clip}"><rect width="{number(self.style.box_width)}" '
            f'height="{number(BOX_HEIGHT)}"/></clipPath></defs>',
            f'<rect width="100%" height="100%" fill="{PAPER}"/>',
            *self._heading(),
            *self._panels(),
            *self._wires(),
            *self._headers(),
            *self._boxes(),
            *self._tags(),
            *self._legend(),
            "</svg>",
        ]
        return "\n".join(parts) + "\n"

    def _title(self) -> str:
        return f"{self.captions.name}: {' · '.join(self.captions.summary[:2])}"

    def _heading(self) -> Iterator[str]:
        room = self.width - 2 * EDGE
        y = EDGE + 14
        name = fit(self.captions.name, TITLE_PX * BOLD, room)
        yield _text(EDGE, y, name, TITLE_PX, INK, "font-weight='700'")
        yield _text(EDGE, y + 20, fit_parts(self.captions.summary, 12, room), 12, INK)
        yield _text(EDGE, y + 36, fit_parts(self.captions.origin, 11, room), 11, MUTED)
        if self.captions.warning:
            warning = fit(self.captions.warning, 12 * BOLD, room)
            yield _text(EDGE, y + 54, warning, 12, WARNING, "font-weight='700'")

    def _panels(self) -> Iterator[str]:
        for panel, shade in zip(self.layout.panels, self.shades, strict=True):
            yield (
                f'<rect class="panel" {_rect(panel.x, panel.y, panel.width, panel.height)} rx="8" '
                f'fill="{shade.panel}" stroke="{shade.strong}"/>'
            )

    def _headers(self) -> Iterator[str]:
        for p, (panel, shade) in enumerate(zip(self.layout.panels, self.shades, strict=True)):
            lines = self.captions.header(p)
            whole = "; ".join(" · ".join(line) for line in lines)
            yield f'<g class="stage" data-stage="{p}"><title>{escape(whole)}</title>'
            x, y, width = panel.x, panel.y, panel.width
            height = self.style.header_height
            yield (
                f'<path d="M{number(x)} {number(y + height)}v{number(8 - height)}q0 -8 8 -8'
                f'h{number(width - 16)}q8 0 8 8v{number(height - 8)}z" fill="{shade.box}"/>'
                f'<path d="M{number(x)} {number(y + 8)}q0 -8 8 -8h{number(width - 16)}q8 0 8 8z" '
                f'fill="{shade.strong}"/>'
            )
            for i, line in enumerate(lines):
                weight = "font-weight='700'" if i == 0 else ""
                line_px = HEADER_PX * (BOLD if i == 0 else 1.0)
                text = fit_parts(line, line_px, width - 2 * BOX_INSET)
                yield _text(x + BOX_INSET, y + 21 + HEADER_LINE * i, text, HEADER_PX, INK, weight)
            yield "</g>"

    def _boxes(self) -> Iterator[str]:
        for node, (x, y) in self.layout.boxes.items():
            yield self._box(node, x, y, self.shades[self.captions.panel_of[node]])

    def _box(self, node: str, x: float, y: float, shade: Shade) -> str:
        captions, width = self.captions, self.style.box_width
        room = width - 2 * BOX_INSET
        time = fit(captions.layer_time(node), SMALL_PX, room / 2)
        identifier = fit(clean(node, NAME_LIMIT), SMALL_PX, room - text_width(f"{time} ", SMALL_PX))
        share = captions.layer_ms(node) / captions.longest_ms if captions.longest_ms else 0.0
        free = captions.is_free(node)
        fill, dash = (PAPER, ' stroke-dasharray="2 2"') if free else (shade.box, "")
        name = fit_name(captions.layer_name(node), NAME_PX, room)
        bar = (
            f'<rect class="share" {_rect(BOX_INSET, BOX_HEIGHT - 5, room * share, 2.5)} '
            f'fill="{shade.deep}"/>'
        )
        return (
            f'<g class="layer" data-node="{escape(clean(node, NAME_LIMIT))}" '
            f'transform="translate({number(x)} {number(y)})">'
            f"<title>{escape(captions.explain_layer(node))}</title>"
            f'<rect class="box" {_rect(0, 0, width, BOX_HEIGHT)} rx="6" fill="{fill}" '
            f'stroke="{shade.deep}"{dash}/>'
            f'<g clip-path="url(#{self._clip})">'
            + _text(BOX_INSET, 13.5, name, NAME_PX, INK)
            + _text(BOX_INSET, 25.5, identifier, SMALL_PX, MUTED)
            + _text(width - BOX_INSET, 25.5, time, SMALL_PX, INK, "text-anchor='end'")
            + (bar if share * room >= 0.5 else "")
            + "</g></g>"
        )

    @property
    def _clip(self) -> str:
        """Name of the boxes' clip path; pages with several pictures share it where they may."""
        return f"box-{number(self.style.box_width).replace('.', '-')}"

    def _wires(self) -> Iterator[str]:
        readers: dict[str, list[str]] = {}
        for u, v in dict.fromkeys(self.captions.graph.edges):
            readers.setdefault(u, []).append(v)
        for producer, wire in self.layout.wires.items():
            colour = self.shades[self.captions.panel_of[producer]].deep
            faint = ' opacity="0.35"' if wire.loose else ""
            title = escape(self.captions.explain_wire(producer, readers[producer]))
            yield f'<g class="wire"{faint}><title>{title}</title>'
            for strokes, crosses, look in (
                (wire.solid, False, f'stroke="{LINE}" stroke-width="1.3"'),
                (wire.cut, True, f'stroke="{colour}" stroke-width="1.6" stroke-dasharray="5 3"'),
            ):
                tips = [tip for tip, cut in wire.arrows if cut == crosses]
                if strokes:
                    yield f'<path d="{path_data(strokes)}" fill="none" {look}/>'
                if tips:
                    yield f'<path d="{arrow_data(tips)}" fill="{colour if crosses else LINE}"/>'
            yield "</g>"

    def _tags(self) -> Iterator[str]:
        for tag in self.layout.tags:
            text = fit(self.captions.wire_bytes(tag.producer), SMALL_PX, TAG_WIDTH - 8)
            colour = self.shades[self.captions.panel_of[tag.producer]].deep
            x, y = tag.centre
            width = text_width(text, SMALL_PX) + 6
            turn = " rotate(-90)" if tag.upright else ""
            yield (
                f'<g class="tag" transform="translate({number(x)} {number(y)}){turn}">'
                f'<rect {_rect(-width / 2, -TAG_HEIGHT / 2, width, TAG_HEIGHT)} rx="4" '
                f'fill="{PAPER}"/>'
                + _text(0, 3.5, text, SMALL_PX, colour, "text-anchor='middle'")
                + "</g>"
            )

    def _legend_rows(self) -> Iterator[list[tuple[str, str, float]]]:
        """Rows of (sample, text, width) that fit the page."""
        row: list[tuple[str, str, float]] = []
        used = 0.0
        for sample, words in self._legend_items():
            text = fit(words, SMALL_PX, self.width - 2 * EDGE - 34)
            width = 34 + text_width(text, SMALL_PX) + 14
            if row and used + width > self.width - 2 * EDGE + 14:
                yield row
                row, used = [], 0.0
            row.append((sample, text, width))
            used += width
        yield row

    def _legend_items(self) -> Iterator[tuple[str, str]]:
        captions, shade = self.captions, self.shades[0]
        gpu = clean(captions.gpu, 40)
        box = (
            f'<rect y="-9" width="26" height="12" rx="3" fill="{shade.box}" stroke="{shade.deep}"/>'
        )
        bar = f'<rect x="4" y="-1" width="12" height="2.5" fill="{shade.deep}"/>'
        yield box + bar, f"layer, its forward + backward time on {gpu}; bar: against the slowest"
        line = '<path d="M0 -3H26" fill="none" '
        wires = self.layout.wires.values()
        if any(wire.solid for wire in wires):
            yield line + f'stroke="{LINE}" stroke-width="1.3"/>', "activation inside a stage"
        if any(wire.cut for wire in wires):
            yield (
                line + f'stroke="{shade.deep}" stroke-width="1.6" stroke-dasharray="5 3"/>',
                "activation that crosses a cut, and its bytes",
            )
        dashed = box.replace(shade.box, PAPER).replace("/>", ' stroke-dasharray="2 2"/>')
        if captions.graph.inputs:
            yield dashed, "input: free"
        if captions.graph.dropped:
            yield dashed, "output that nobody uses: left out"

    def _legend(self) -> Iterator[str]:
        yield '<g class="legend">'
        for i, row in enumerate(self.legend):
            x, y = EDGE, self.layout.bottom + 24 + 18 * i
            for sample, text, width in row:
                yield f'<g transform="translate({number(x)} {number(y)})">{sample}'
                yield _text(34, 0.5, text, SMALL_PX, MUTED) + "</g>"
                x += width
        yield "</g>"


def _text(x: float, y: float, text: str, size_px: float, colour: str, more: str = "") -> str:
    return (
        f'<text x="{number(x)}" y="{number(y)}" font-size="{number(size_px)}" fill="{colour}"'
        f"{' ' + more if more else ''}>{escape(text)}</text>"
    )


def _rect(x: float, y: float, width: float, height: float) -> str:
    return f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"'
