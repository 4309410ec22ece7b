"""Layered placement of a layer graph whose nodes belong to panels, one for each stage.

Every panel holds its nodes in layers, top to bottom; a tall panel wraps into several columns,
and many panels stand on several shelves, so that the picture is about as wide as a page is.
Wires run down between the boxes (:mod:`stagewright.report.columns`) and around the columns
(:mod:`stagewright.report.routing`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import networkx as nx

from stagewright.report.columns import (
    BOX_HEIGHT,
    DrawnColumn,
    Point,
    Wire,
    draw_columns,
)
from stagewright.report.layering import Column, Net, collect_nets, panel_layers, positions, spans
from stagewright.report.routing import Frame, Router, Tag, room
from stagewright.report.shape import PADDING, Bulk, choose_shape

SHELF_SPACE = 16.0
PANEL_SPACE = 22.0
CLEARANCE = 6.0


@dataclass(frozen=True)
class Style:
    """Sizes that the contents of boxes and headers ask for, in pixels.

    Attributes
    ----------
    box_width, header_height
        The same everywhere.
    panel_widths
        The least for each panel.
    """

    box_width: float
    header_height: float
    panel_widths: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """The frame of one stage, its header included."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Layout:
    """A finished placement, in pixels.

    Attributes
    ----------
    right, bottom
        Where everything ends.
    boxes
        Upper left corner of each node's box.
    panels
        In the order given.
    wires
        By producer.
    tags
        Where wires that cross a cut are to be labelled.
    """

    right: float
    bottom: float
    boxes: dict[str, Point]
    panels: tuple[Panel, ...]
    wires: dict[str, Wire]
    tags: tuple[Tag, ...]


def lay_out(
    nodes: Sequence[str],
    edges: Sequence[tuple[str, str]],
    panel_of: Mapping[str, int],
    style: Style,
    origin: Point = (0.0, 0.0),
) -> Layout:
    """Place every node in its panel, and lay the wires.

    Parameters
    ----------
    nodes, edges
        A directed acyclic graph, in file order.
    panel_of
        Panel of each node, counted from 0; a panel may be empty.
    origin
        Where the upper left panel stands.
    """
    graphs: list[nx.DiGraph[str]] = [nx.DiGraph() for _ in style.panel_widths]
    for node in nodes:
        graphs[panel_of[node]].add_node(node)
    for u, v in edges:
        if panel_of[u] == panel_of[v]:
            graphs[panel_of[u]].add_edge(u, v)
    layers = [panel_layers(graph) for graph in graphs]
    bulks = [
        Bulk(tuple(map(len, rows)), tuple(spans(graph, rows)))
        for graph, rows in zip(graphs, layers, strict=True)
    ]
    shape = choose_shape(
        bulks,
        style.panel_widths,
        box_width=style.box_width,
        header_height=style.header_height,
    )
    columns = [
        Column(p, tuple(tuple(layers[p][i]) for i in run))
        for p, runs in enumerate(shape.columns)
        for run in runs
    ]
    nets = collect_nets(nodes, edges, columns)
    drawn = draw_columns(columns, nets, style.box_width)
    return _Assembly(columns, nets, drawn, shape.shelf_of, style, origin).layout()


class _Assembly:
    """Puts drawn columns into panels, panels on shelves, and wires around them."""

    def __init__(
        self,
        columns: Sequence[Column],
        nets: Sequence[Net],
        drawn: Sequence[DrawnColumn],
        shelf_of: Sequence[int],
        style: Style,
        origin: Point,
    ) -> None:
        self.columns, self.nets, self.drawn = columns, nets, drawn
        self.shelf_of, self.style, self.origin = shelf_of, style, origin
        self.places = positions(columns)
        self.members: list[list[int]] = [[] for _ in shelf_of]
        for c, column in enumerate(columns):
            self.members[column.panel].append(c)
        self.router = Router(columns, nets, drawn, shelf_of)
        self.frame = Frame(shelf_of, [0.0] * len(columns), {}, margin_x=origin[0])
        self.across: list[tuple[float, float]] = []

    def layout(self) -> Layout:
        self._place_across()
        panels = self._place_down()
        boxes = {
            node: (self.frame.column_x[c] + x, self.frame.column_y[c] + y)
            for c, drawn in enumerate(self.drawn)
            for node, (x, y) in drawn.boxes.items()
        }
        wires = self._wires(boxes)
        corners = [
            point
            for wire in wires.values()
            for s in (wire.solid, wire.cut)
            for stroke in s
            for point in stroke
        ]
        return Layout(
            right=max([p.x + p.width for p in panels] + [x for x, _ in corners]),
            bottom=max([p.y + p.height for p in panels] + [y for _, y in corners]),
            boxes=boxes,
            panels=tuple(panels),
            wires=wires,
            tags=tuple(self.router.tags(self.frame)),
        )

    def _place_across(self) -> None:
        """Set the x of panels, columns and gutters, shelf by shelf."""
        indent = max(
            self.router.gutter_width(("panel", p))
            for p, (before, shelf) in enumerate(pairwise((-1, *self.shelf_of)))
            if before != shelf
        )
        right, shelf = 0.0, -1
        for p, members in enumerate(self.members):
            gutter = self.router.gutter_width(("panel", p))
            left = right + max(gutter, PANEL_SPACE)
            if self.shelf_of[p] != shelf:
                shelf = self.shelf_of[p]
                left = self.origin[0] + self.router.margin_width + indent
            self.frame.gutter_x["panel", p] = left - gutter
            inner = sum(self.drawn[c].width for c in members) + sum(
                self.router.gutter_width(("column", c)) for c in members[1:]
            )
            width = max(inner + 2 * PADDING, self.style.panel_widths[p])
            x = left + (width - inner) / 2
            for i, c in enumerate(members):
                if i > 0:
                    self.frame.gutter_x["column", c] = x
                    x += self.router.gutter_width(("column", c))
                self.frame.column_x[c] = x
                x += self.drawn[c].width
            self.across.append((left, width))
            right = left + width

    def _place_down(self) -> list[Panel]:
        """Set every y, shelf by shelf, and return the panels."""
        above, below, between = self.router.reserve(self.frame)
        frame, y = self.frame, self.origin[1]
        frame.column_y = [0.0] * len(self.columns)
        panels: list[Panel] = []
        for shelf in range(self.shelf_of[-1] + 1):
            frame.between_y.append(y)
            y += room(between[shelf])
            frame.above_y.append(y + self.style.header_height)
            top = frame.above_y[-1] + max(PADDING, room(above[shelf]) + CLEARANCE)
            here = [
                c for c, column in enumerate(self.columns) if self.shelf_of[column.panel] == shelf
            ]
            for c in here:
                frame.column_y[c] = top
            frame.below_y.append(top + max((self.drawn[c].height for c in here), default=0.0))
            bottom = frame.below_y[-1] + max(PADDING, room(below[shelf]))
            panels += [
                Panel(x, y, width, bottom - y)
                for (x, width), at in zip(self.across, self.shelf_of, strict=True)
                if at == shelf
            ]
            y = bottom + SHELF_SPACE
        frame.between_y.append(y)
        return panels

    def _wires(self, boxes: Mapping[str, Point]) -> dict[str, Wire]:
        wires = {net.producer: Wire(loose=net.loose) for net in self.nets}
        for c, drawn in enumerate(self.drawn):
            x, y = self.frame.column_x[c], self.frame.column_y[c]
            for producer, wire in drawn.wires.items():
                wires[producer].extend(wire, x, y)
        for trip, stroke in self.router.strokes(self.frame):
            wire = wires[trip.producer]
            (wire.cut if trip.crosses else wire.solid).append(stroke)
        for net in self.nets:
            if net.loose:
                self._draw_loose(net, boxes, wires[net.producer])
        return wires

    def _draw_loose(self, net: Net, boxes: Mapping[str, Point], wire: Wire) -> None:
        column_of, _ = self.places
        half = self.style.box_width / 2
        x, y = boxes[net.producer]
        for c, readers in net.readers.items():
            crosses = self.columns[c].panel != self.columns[column_of[net.producer]].panel
            for reader in readers:
                end = boxes[reader][0] + half, boxes[reader][1]
                (wire.cut if crosses else wire.solid).append(((x + half, y + BOX_HEIGHT), end))
                wire.arrows.append((end, crosses))
