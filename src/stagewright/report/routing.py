"""Wires between columns: down to a channel, along it, up a gutter, and in from above.

Shelves of panels stand below each other. A shelf has a channel above its columns (below the
panels' headers) and one under them; there is a channel between two shelves, and one margin on
the left that joins those. A gutter stands to the left of every panel and between a panel's
columns. No box is in any of these places, so no wire runs behind one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from stagewright.report.columns import DrawnColumn, Point, Stroke
from stagewright.report.layering import Column, Net, positions

TRACK = 8.0
TAG_WIDTH = 56.0
TAG_HEIGHT = 14.0
TAGS_ABREAST = 2
TAG_LIFT = 24.0

Gutter = tuple[str, int]
"""``("panel", p)`` is to the left of a panel, ``("column", c)`` to the left of a column in it."""


@dataclass(frozen=True)
class Trip:
    """One wire's way from its producer's column up a gutter to columns of one panel."""

    producer: str
    home: int
    gutter: Gutter
    targets: tuple[int, ...]
    crosses: bool


@dataclass
class Frame:
    """Where things stand; the x are known before the y.

    Attributes
    ----------
    shelf_of
        Shelf of each panel.
    column_x, column_y
        Origin of each column.
    gutter_x
        Left edge of each gutter.
    above_y, below_y, between_y
        Where each shelf's channel above its columns, below them, and above it all starts.
    margin_x
        Left edge of the margin.
    """

    shelf_of: Sequence[int]
    column_x: list[float]
    gutter_x: dict[Gutter, float]
    column_y: list[float] = field(default_factory=list)
    above_y: list[float] = field(default_factory=list)
    below_y: list[float] = field(default_factory=list)
    between_y: list[float] = field(default_factory=list)
    margin_x: float = 0.0


@dataclass(frozen=True)
class Tag:
    """Where the bytes of a wire that crosses a cut are written; ``upright`` reads upwards."""

    producer: str
    centre: Point
    upright: bool


class Channel:
    """Parallel tracks, shared by wires that do not touch."""

    def __init__(self) -> None:
        self._spans: dict[str, tuple[float, float, float]] = {}
        self._track: dict[str, int] = {}

    def use(self, name: str, *xs: float, rank: float) -> None:
        """Reserve the range of ``xs`` for wire ``name``; low ranks get the upper tracks."""
        low, high, first = self._spans.get(name, (xs[0], xs[0], rank))
        self._spans[name] = (min(low, *xs), max(high, *xs), first)

    def pack(self) -> int:
        """Give each wire the first track that is free for its range; return their number."""
        taken: list[list[tuple[float, float]]] = []
        for name, (low, high, _) in sorted(self._spans.items(), key=lambda x: x[1][2]):
            free = (
                i
                for i, others in enumerate(taken)
                if all(high + TRACK < a or b + TRACK < low for a, b in others)
            )
            track = next(free, len(taken))
            if track == len(taken):
                taken.append([])
            taken[track].append((low, high))
            self._track[name] = track
        return len(taken)

    def offset(self, name: str) -> float:
        """Distance of the wire's track from the start of the channel."""
        return TRACK * (self._track[name] + 1)


def room(tracks: int) -> float:
    """Height or width of a channel with so many tracks."""
    return TRACK * (tracks + 1) if tracks else 0.0


class Router:
    """Reserves tracks first, so that there is room for them, and draws the wires afterwards."""

    def __init__(
        self,
        columns: Sequence[Column],
        nets: Sequence[Net],
        drawn: Sequence[DrawnColumn],
        shelf_of: Sequence[int],
    ) -> None:
        self._columns, self._drawn, self._shelf_of = columns, drawn, shelf_of
        column_of, _ = positions(columns)
        self._trips = [
            trip
            for net in nets
            if not net.loose
            for trip in _trips(net, columns, column_of[net.producer])
        ]
        self._gutters: dict[Gutter, list[Trip]] = {}
        self._jumps: list[str] = []
        for trip in sorted(
            self._trips, key=lambda x: (-x.home, -drawn[x.home].exits[x.producer][0])
        ):
            self._gutters.setdefault(trip.gutter, []).append(trip)
            if self._jumps_shelves(trip) and trip.producer not in self._jumps:
                self._jumps.append(trip.producer)
        shelves = range(max(shelf_of, default=0) + 2)
        self._above, self._below, self._between = ([Channel() for _ in shelves] for _ in range(3))

    @property
    def margin_width(self) -> float:
        """Room that the margin needs."""
        return room(len(self._jumps))

    def gutter_width(self, gutter: Gutter) -> float:
        """Room that a gutter needs."""
        tracks = len(self._gutters.get(gutter, ()))
        if gutter[0] == "column":
            return 18.0 + TRACK * tracks
        return 8.0 + self._pitch(gutter) * tracks if tracks else 0.0

    def reserve(self, frame: Frame) -> tuple[list[int], list[int], list[int]]:
        """Give every wire its tracks; count those above, below and between, by shelf."""
        for trip in self._trips:
            start, end = self._shelves(trip)
            leave, rise = self._exit(trip, frame)[0], self._rise(trip, frame)
            ends = [frame.column_x[c] + x for c, x in self._ends(trip)]
            self._above[end].use(_name(trip), rise, *ends, rank=rise)
            if start == end:
                self._below[start].use(trip.producer, leave, rise, rank=-leave)
            elif self._jumps_shelves(trip):
                margin = self._margin(trip, frame)
                self._between[start + 1].use(trip.producer, margin, leave, rank=-leave)
                self._between[end].use(trip.producer, margin, rise, rank=-leave)
            else:
                self._between[end].use(trip.producer, leave, rise, rank=-leave)
        above, below, between = (
            [channel.pack() for channel in channels]
            for channels in (self._above, self._below, self._between)
        )
        return above, below, between

    def strokes(self, frame: Frame) -> Iterator[tuple[Trip, Stroke]]:
        """Draw every trip: a stroke to each of its ends."""
        for trip in self._trips:
            way = self._way(trip, frame)
            for column, across in self._ends(trip):
                x = frame.column_x[column] + across
                yield trip, (*way, (x, way[-1][1]), (x, frame.column_y[column]))

    def tags(self, frame: Frame) -> Iterator[Tag]:
        """Place a tag on every wire that crosses a cut, in its gutter, level with the others."""
        for trips in self._gutters.values():
            upright = len(trips) > TAGS_ABREAST
            rises = [self._way(trip, frame)[-2:] for trip in trips]
            risen = [(start[1], end[1]) for start, end in rises if start[1] > end[1]]
            middle = (min(risen)[0] + max(end for _, end in risen)) / 2 if risen else 0.0
            for trip, ((x, start), (_, end)) in zip(trips, rises, strict=True):
                if trip.crosses:
                    shelf = self._shelves(trip)[1]
                    y = frame.above_y[shelf] - TAG_LIFT if start < end else middle
                    yield Tag(trip.producer, (x, y), upright)

    def _way(self, trip: Trip, frame: Frame) -> list[Point]:
        """Corners from the producer's column to the channel above the target's columns."""
        start, end = self._shelves(trip)
        x, y = self._exit(trip, frame)
        rise = self._rise(trip, frame)
        way = [(x, y)]
        if start == end:
            y = frame.below_y[end] + self._below[end].offset(trip.producer)
        else:
            if self._jumps_shelves(trip):
                y = frame.between_y[start + 1] + self._between[start + 1].offset(trip.producer)
                way.append((x, y))
                x = self._margin(trip, frame)
                way.append((x, y))
            y = frame.between_y[end] + self._between[end].offset(trip.producer)
        above = frame.above_y[end] + self._above[end].offset(_name(trip))
        return [*way, (x, y), (rise, y), (rise, above)]

    def _shelves(self, trip: Trip) -> tuple[int, int]:
        panels = self._columns[trip.home].panel, self._columns[trip.targets[0]].panel
        return self._shelf_of[panels[0]], self._shelf_of[panels[1]]

    def _jumps_shelves(self, trip: Trip) -> bool:
        start, end = self._shelves(trip)
        return end - start not in {0, 1}

    def _ends(self, trip: Trip) -> Iterator[tuple[int, float]]:
        for column in trip.targets:
            for x in self._drawn[column].entries[trip.producer]:
                yield column, x

    def _exit(self, trip: Trip, frame: Frame) -> Point:
        """Where the wire leaves its column; the y is right once the frame has it."""
        x, y = self._drawn[trip.home].exits[trip.producer]
        below = frame.column_y[trip.home] if frame.column_y else 0.0
        return frame.column_x[trip.home] + x, below + y

    def _pitch(self, gutter: Gutter) -> float:
        if gutter[0] == "column":
            return TRACK
        return TAG_WIDTH if len(self._gutters[gutter]) <= TAGS_ABREAST else TAG_HEIGHT + 2

    def _rise(self, trip: Trip, frame: Frame) -> float:
        place = self._gutters[trip.gutter].index(trip)
        pitch = self._pitch(trip.gutter)
        margin = 4.0 if trip.gutter[0] == "panel" else 9.0
        return frame.gutter_x[trip.gutter] + margin + pitch * (place + 0.5)

    def _margin(self, trip: Trip, frame: Frame) -> float:
        return frame.margin_x + TRACK * (self._jumps.index(trip.producer) + 1)


def _name(trip: Trip) -> str:
    """Name of the wire in the channel above: unique there, unlike its producer."""
    return f"{trip.gutter[0]} {trip.gutter[1]} {trip.producer}"


def _trips(net: Net, columns: Sequence[Column], home: int) -> Iterator[Trip]:
    targets: dict[Gutter, list[int]] = {}
    here = columns[home].panel
    for c in net.readers:
        if c != home:
            panel = columns[c].panel
            gutter = ("column", c) if panel == here else ("panel", panel)
            targets.setdefault(gutter, []).append(c)
    for gutter, reached in targets.items():
        yield Trip(net.producer, home, gutter, tuple(reached), crosses=gutter[0] == "panel")
