"""One column of a picture: its boxes, and the wires between them, around its own origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from stagewright.report.alignment import place_items, spread
from stagewright.report.layering import Column, Net, passed_layers, positions
from stagewright.report.ordering import Strata, order

BOX_HEIGHT = 34.0
BOX_SPACE = 18.0
WIRE_WIDTH = 6.0
STRAIGHT_GAP = 14.0
PORT_INSET = 12.0
PORT_SPACE = 12.0

Point = tuple[float, float]
Stroke = tuple[Point, ...]


@dataclass
class Wire:
    """The strokes of one net.

    Attributes
    ----------
    solid, cut
        Strokes of edges inside a panel, and of edges that cross a cut.
    arrows
        The ends at readers, each with whether its edge crosses a cut.
    loose
        Whether it goes straight from box to box, behind whatever stands between.
    """

    solid: list[Stroke] = field(default_factory=list)
    cut: list[Stroke] = field(default_factory=list)
    arrows: list[tuple[Point, bool]] = field(default_factory=list)
    loose: bool = False

    def extend(self, other: Wire, x: float, y: float) -> None:
        """Add the strokes of ``other``, moved by (x, y)."""
        for mine, theirs in ((self.solid, other.solid), (self.cut, other.cut)):
            mine += [tuple((x + a, y + b) for a, b in stroke) for stroke in theirs]
        self.arrows += [((x + a, y + b), crosses) for (a, b), crosses in other.arrows]


@dataclass
class DrawnColumn:
    """A column's boxes by node, and what is inside by producer.

    Attributes
    ----------
    boxes
        Upper left corners.
    entries
        The x at which a wire from outside comes in from above: a reader's port, or where it
        passes the first layer.
    exits
        Where a wire leaves the last box or layer that it passes, on its way out.
    """

    width: float = 0.0
    height: float = 0.0
    boxes: dict[str, Point] = field(default_factory=dict)
    wires: dict[str, Wire] = field(default_factory=dict)
    entries: dict[str, list[float]] = field(default_factory=dict)
    exits: dict[str, Point] = field(default_factory=dict)


def draw_columns(
    columns: Sequence[Column], nets: Sequence[Net], box_width: float
) -> list[DrawnColumn]:
    """Draw every column by itself; a loose net has no wires yet."""
    column_of, layer_of = positions(columns)
    at: list[list[_Run]] = [[] for _ in columns]
    for net in nets:
        if net.loose:
            continue
        home, layer = column_of[net.producer], layer_of[net.producer]
        for c in sorted({home, *net.readers}):
            passed = passed_layers(net, c, home, layer, layer_of, len(columns[c].layers))
            stays = {d for d in net.readers if columns[d].panel == columns[home].panel}
            at[c].append(
                _Run(
                    producer=net.producer,
                    readers=net.readers.get(c, ()),
                    passed=passed,
                    inside=c == home,
                    leaves=c == home and any(d != c for d in net.readers),
                    crosses=columns[c].panel != columns[home].panel,
                    wraps=bool(stays - {home}),
                )
            )
    return [
        _Builder(column, runs, box_width).draw() for column, runs in zip(columns, at, strict=True)
    ]


@dataclass(frozen=True)
class _Run:
    """What one net does in one column."""

    producer: str
    readers: tuple[str, ...]
    passed: range
    inside: bool
    leaves: bool
    crosses: bool
    wraps: bool


class _Builder:
    def __init__(self, column: Column, runs: Sequence[_Run], box_width: float) -> None:
        self.column, self.runs, self.box_width = column, runs, box_width
        self.layer_of = {v: i for i, layer in enumerate(column.layers) for v in layer}
        self.strata = Strata([[] for _ in column.layers])
        self.box: dict[str, int] = {}
        self.passing: dict[tuple[str, int], int] = {}
        self._fill()
        order(self.strata)
        self.x = place_items(self.strata, BOX_SPACE)
        self.top = self._layer_tops()
        self.port = {v: self._ports(v) for v in self.box}

    def _fill(self) -> None:
        for run in self.runs:
            if not run.inside:
                self._add_passing(run)
        for i, layer in enumerate(self.column.layers):
            for node in layer:
                self.box[node] = self.strata.add(i, self.box_width, thin=False)
        for run in self.runs:
            if run.inside:
                self._add_passing(run)
        for run in self.runs:
            for upper, lower in self._links(run):
                self.strata.link(upper, lower)

    def _add_passing(self, run: _Run) -> None:
        for i in run.passed:
            self.passing[run.producer, i] = self.strata.add(i, WIRE_WIDTH, thin=True)

    def _source(self, run: _Run, layer: int) -> int | None:
        """The item of ``layer`` - 1 that carries the net down to ``layer``."""
        if run.inside and layer == self.layer_of[run.producer] + 1:
            return self.box[run.producer]
        return self.passing.get((run.producer, layer - 1))

    def _links(self, run: _Run) -> list[tuple[int, int]]:
        lower = [(self.layer_of[v], self.box[v]) for v in run.readers]
        lower += [(i, self.passing[run.producer, i]) for i in run.passed]
        sources = [(self._source(run, layer), item) for layer, item in lower]
        return [(upper, item) for upper, item in sources if upper is not None]

    def _layer_tops(self) -> list[float]:
        tops = [0.0]
        for layer, _ in pairwise(self.strata.layers):
            reach = max(
                (abs(self.x[a] - self.x[b]) for a in layer for b in self.strata.below[a]),
                default=0.0,
            )
            gap = STRAIGHT_GAP if reach < 1 else min(44.0, 22.0 + reach / 16)
            tops.append(tops[-1] + BOX_HEIGHT + gap)
        return tops

    def _ports(self, node: str) -> dict[str, float]:
        """Where on its upper edge the wire of each producer ends."""
        centre, half = self.x[self.box[node]], self.box_width / 2 - PORT_INSET
        wishes = {}
        for run in self.runs:
            if node in run.readers:
                source = self._source(run, self.layer_of[node])
                wishes[run.producer] = centre if source is None else self.x[source]
        return spread(wishes, centre - half, centre + half, PORT_SPACE)

    def draw(self) -> DrawnColumn:
        drawn = DrawnColumn(
            width=max(
                (x + w / 2 for x, w in zip(self.x, self.strata.width, strict=True)), default=0.0
            ),
            height=self.top[-1] + BOX_HEIGHT if self.box else 0.0,
        )
        for node, item in self.box.items():
            x = self.x[item] - self.box_width / 2
            drawn.boxes[node] = (x, self.top[self.layer_of[node]])
        for run in self.runs:
            drawn.wires[run.producer] = self._wire(run)
            if not run.inside:
                drawn.entries[run.producer] = self._entries(run)
            if run.leaves:
                drawn.exits[run.producer] = self._trunk(run)[-1]
        return drawn

    def _entries(self, run: _Run) -> list[float]:
        entries = [self.port[v][run.producer] for v in run.readers if self.layer_of[v] == 0]
        if run.passed:
            entries.append(self.x[self.passing[run.producer, 0]])
        return entries

    def _trunk(self, run: _Run) -> Stroke:
        """The net's way down the column, past every layer that it passes."""
        points: list[Point] = []
        if run.inside:
            box = self.box[run.producer]
            points.append((self.x[box], self.top[self.layer_of[run.producer]] + BOX_HEIGHT))
        for i in run.passed:
            x = self.x[self.passing[run.producer, i]]
            points += [(x, self.top[i]), (x, self.top[i] + BOX_HEIGHT)]
        return tuple(points)

    def _wire(self, run: _Run) -> Wire:
        wire = Wire()
        strokes = wire.cut if run.crosses else wire.solid
        trunk = self._trunk(run)
        deepest = max((self.layer_of[v] for v in run.readers), default=-1)
        if run.leaves and not run.wraps and not run.crosses:
            split = sum(y < self.top[max(deepest, 0)] for _, y in trunk) if deepest >= 0 else 1
            _append(wire.solid, trunk[:split])
            _append(wire.cut, trunk[split - 1 :])
        else:
            _append(strokes, trunk)
        for node in run.readers:
            layer = self.layer_of[node]
            source = self._source(run, layer)
            end = (self.port[node][run.producer], self.top[layer])
            wire.arrows.append((end, run.crosses))
            if source is not None:
                _append(strokes, ((self.x[source], self.top[layer - 1] + BOX_HEIGHT), end))
        return wire


def _append(strokes: list[Stroke], stroke: Stroke) -> None:
    if len(stroke) > 1:
        strokes.append(stroke)
