"""Sizes of boxes and headers, chosen by what they have to hold."""

from __future__ import annotations

from stagewright.report.captions import NAME_LIMIT, Captions
from stagewright.report.labels import clean, text_width
from stagewright.report.layout import Style

NAME_PX, SMALL_PX, HEADER_PX = 11.0, 10.0, 11.0
BOX_WIDTHS = 118.0, 196.0
BOX_INSET = 8.0
PANEL_WIDTHS = 248.0, 360.0
HEADER_LINE = 15.0
BOLD = 1.15
"""How much wider bold text is."""


def choose_style(captions: Captions) -> Style:
    """Return sizes that fit the names and headers of one plan, within limits."""
    lines = 3 if captions.panels > 1 else 2
    return Style(
        box_width=_box_width(captions),
        header_height=9 + HEADER_LINE * lines,
        panel_widths=tuple(map(_panel_width, map(captions.header, range(captions.panels)))),
    )


def _box_width(captions: Captions) -> float:
    """Wide enough for the longest name, within limits."""
    least, most = BOX_WIDTHS
    nodes = [layer.id for layer in captions.graph.layers]
    widest = max(
        max(
            text_width(captions.layer_name(node), NAME_PX),
            text_width(f"{clean(node, NAME_LIMIT)}  {captions.layer_time(node)}", SMALL_PX),
        )
        for node in nodes
    )
    return min(most, max(least, widest + 2 * BOX_INSET))


def _panel_width(header: list[list[str]]) -> float:
    """Wide enough for the first line of the header, within limits."""
    least, most = PANEL_WIDTHS
    widest = text_width(" · ".join(header[0]), HEADER_PX * BOLD)
    return min(most, max(least, widest + 2 * BOX_INSET))
