"""Place the items of ordered layers: chains and wires straight, and no wider than need be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from stagewright.report.ordering import Strata

SWEEPS = 16
SLACK = 1.3
"""How much wider than its widest layer a column may be, so that wires are straight."""

MOST_DIVISIONS = 200


def place_items(strata: Strata, space: float) -> list[float]:
    """Return the centre of each item; the leftmost edge is at 0.

    Items that are aligned (see :func:`align`) stand exactly above one another. Everything is
    packed to the left first; then each row of aligned items moves towards the median of what
    it is linked to, as far as its neighbours let it.

    Parameters
    ----------
    space
        Least distance between two neighbours, halved where one of them is a thin wire.
    """
    rows = _Rows(strata, align(strata), space)
    for _ in range(MOST_DIVISIONS):
        if rows.width() <= SLACK * rows.least_width or not rows.divide():
            break
    rows.balance()
    return [rows.x[r] for r in rows.row_of]


def align(strata: Strata) -> list[list[int]]:
    """Gather items that shall stand above one another, from the top down.

    An item goes below one that it is linked to, if that crosses no better choice: a wire stays
    a straight wire, and the row that has come the longest way goes on, so that a network's
    trunk is straight and its branches stand beside it. (After Brandes and Köpf, 2001, with one
    alignment in place of their four.)
    """
    row_of = list(range(len(strata.width)))
    start = {item: i for i, layer in enumerate(strata.layers) for item in layer}
    for layer, following in pairwise(strata.layers):
        place = {item: i for part in (layer, following) for i, item in enumerate(part)}

        def urgency(link: tuple[int, int], place: dict[int, int] = place) -> tuple[int, ...]:
            a, b = link
            thin = strata.thin[a] + strata.thin[b]
            return (0 if thin == 2 else 1 + thin), start[row_of[a]], place[a], place[b]

        kept: list[tuple[int, int]] = []
        links = [(a, b) for a in layer for b in strata.below[a]]
        for a, b in sorted(links, key=urgency):
            i, j = place[a], place[b]
            if all((i < m and j < n) or (i > m and j > n) for m, n in kept):
                kept.append((i, j))
                row_of[b] = row_of[a]
    rows: dict[int, list[int]] = {}
    for layer in strata.layers:
        for item in layer:
            rows.setdefault(row_of[item], []).append(item)
    return list(rows.values())


class _Rows:
    """Rows of aligned items, and how far apart neighbouring rows must be."""

    def __init__(self, strata: Strata, rows: list[list[int]], space: float) -> None:
        self.strata, self.rows = strata, rows
        self.row_of = [0] * len(strata.width)
        for r in range(len(rows)):
            self._own(r)
        self._half = [max(strata.width[item] for item in row) / 2 for row in rows]
        self.layer_of = {item: i for i, layer in enumerate(strata.layers) for item in layer}
        self.left: dict[int, tuple[int, float]] = {}
        self.right: dict[int, tuple[int, float]] = {}
        self.least_width = 0.0
        for layer in strata.layers:
            width = strata.width[layer[0]] / 2 + strata.width[layer[-1]] / 2 if layer else 0.0
            for a, b in pairwise(layer):
                apart = space / 2 if strata.thin[a] or strata.thin[b] else space
                distance = (strata.width[a] + strata.width[b]) / 2 + apart
                self.left[b], self.right[a] = (a, distance), (b, distance)
                width += distance
            self.least_width = max(self.least_width, width)
        self.x: list[float] = []
        self._binding: list[int | None] = []
        self._pack()

    def _own(self, r: int) -> None:
        for item in self.rows[r]:
            self.row_of[item] = r

    def width(self) -> float:
        """Where the rightmost row ends."""
        return max((x + h for x, h in zip(self.x, self._half, strict=True)), default=0.0)

    def _pack(self) -> None:
        """Place every row as far to the left as its neighbours there let it."""
        self.x = list(self._half)
        self._binding = [None] * len(self.rows)
        waiting = [0] * len(self.rows)
        for item in self.left:
            waiting[self.row_of[item]] += 1
        ready = [r for r, count in enumerate(waiting) if count == 0]
        while ready:
            r = ready.pop()
            for item in self.rows[r]:
                if item not in self.right:
                    continue
                neighbour, distance = self.right[item]
                q = self.row_of[neighbour]
                if self.x[r] + distance > self.x[q]:
                    self.x[q], self._binding[q] = self.x[r] + distance, neighbour
                waiting[q] -= 1
                if waiting[q] == 0:
                    ready.append(q)

    def divide(self) -> bool:
        """Divide the row that carries its left neighbours' width down, or up, the farthest.

        The width is that of a path from the left edge to the right, which changes layers
        within rows only; a row that is divided there lets its two parts slide together.

        Returns
        -------
        bool
            Whether there was such a row.
        """
        r = max(range(len(self.rows)), key=lambda q: self.x[q] + self._half[q])
        best: tuple[int, int, int, int] | None = None
        while (item := self._binding[r]) is not None:
            neighbour = self.left[item][0]
            r = self.row_of[neighbour]
            enters = self._binding[r]
            if enters is None:
                break
            low, high = sorted((self.layer_of[enters], self.layer_of[neighbour]))
            if best is None or high - low > best[0]:
                best = high - low, r, low, high
        if best is None or best[0] == 0:
            return False
        _, r, low, high = best
        row = self.rows[r]
        first = self.layer_of[row[0]]
        cut = min(
            range(low + 1, high + 1), key=lambda i: self._keenness(row, i - first, low + high)
        )
        self.rows[r] = row[: cut - first]
        self.rows.append(row[cut - first :])
        self._own(len(self.rows) - 1)
        self._half[r] = max(self.strata.width[item] for item in self.rows[r]) / 2
        self._half.append(max(self.strata.width[item] for item in self.rows[-1]) / 2)
        self._pack()
        return True

    def _keenness(self, row: Sequence[int], at: int, twice_middle: int) -> tuple[bool, int]:
        """Divide rather where a wire meets a box, and near the middle."""
        alike = self.strata.thin[row[at - 1]] == self.strata.thin[row[at]]
        return alike, abs(2 * self.layer_of[row[at]] - twice_middle)

    def balance(self) -> None:
        """Move every row towards what it is linked to."""
        bound = self.width()
        sequence = sorted(range(len(self.rows)), key=lambda r: (self.x[r], r))
        wanted = [self._linked(r) for r in range(len(self.rows))]
        for sweep in range(SWEEPS):
            for r in sequence if sweep % 2 else reversed(sequence):
                if wanted[r]:
                    low, high = self._room(r, bound)
                    wish = _middle(sorted(self.x[self.row_of[q]] for q in wanted[r]))
                    self.x[r] = min(max(wish, low), max(low, high))

    def _room(self, r: int, bound: float) -> tuple[float, float]:
        low, high = self._half[r], bound - self._half[r]
        for item in self.rows[r]:
            if item in self.left:
                neighbour, distance = self.left[item]
                low = max(low, self.x[self.row_of[neighbour]] + distance)
            if item in self.right:
                neighbour, distance = self.right[item]
                high = min(high, self.x[self.row_of[neighbour]] - distance)
        return low, high

    def _linked(self, r: int) -> list[int]:
        """Items of other rows that the row is linked to."""
        items = self.rows[r]
        linked = (q for item in items for q in (*self.strata.above[item], *self.strata.below[item]))
        return [q for q in linked if self.row_of[q] != r]


def _middle(values: Sequence[float]) -> float:
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2


def isotonic(wishes: Sequence[float]) -> list[float]:
    """Return the non-decreasing numbers nearest to ``wishes``: pool adjacent violators.

    >>> isotonic([1, 3, 2, 4])
    [1.0, 2.5, 2.5, 4.0]
    """
    pools: list[tuple[float, int]] = []
    for wish in wishes:
        mean, members = float(wish), 1
        while pools and pools[-1][0] > mean:
            earlier, count = pools.pop()
            mean = (earlier * count + mean * members) / (count + members)
            members += count
        pools.append((mean, members))
    return [mean for mean, members in pools for _ in range(members)]


def spread(wishes: Mapping[str, float], low: float, high: float, apart: float) -> dict[str, float]:
    """Place points between ``low`` and ``high``, near their wishes and ``apart`` if there is room.

    >>> spread({"a": 5.0, "b": 5.0, "c": 90.0}, 0.0, 20.0, 4.0)
    {'a': 3.0, 'b': 7.0, 'c': 20.0}
    """
    names = sorted(wishes, key=wishes.__getitem__)
    if len(names) > 1:
        apart = min(apart, (high - low) / (len(names) - 1))
    shifted = isotonic([wishes[x] - i * apart for i, x in enumerate(names)])
    top = high - (len(names) - 1) * apart
    return {
        name: min(max(x, low), top) + i * apart
        for i, (name, x) in enumerate(zip(names, shifted, strict=True))
    }
