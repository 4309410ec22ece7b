"""Ways to split a number of GPUs over places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def compositions(total: int, rooms: Sequence[int]) -> list[tuple[int, ...]]:
    """Return every way to split ``total`` over places with room for so many each.

    >>> compositions(2, [1, 0, 2])
    [(0, 0, 2), (1, 0, 1)]
    """
    if len(rooms) == 1:
        return [(total,)] if total <= rooms[0] else []
    beyond = sum(rooms[1:])
    return [
        (n, *rest)
        for n in range(max(0, total - beyond), min(total, rooms[0]) + 1)
        for rest in compositions(total - n, rooms[1:])
    ]


def compositions_within(
    total: int, rooms: Sequence[int], prices: Sequence[float], budget: float
) -> Iterator[tuple[float, tuple[int, ...]]]:
    """Yield (price, split) for every split of ``total`` that costs no more than ``budget``.

    >>> list(compositions_within(2, [2, 2], [1.0, 3.0], 4.0))
    [(4.0, (1, 1)), (2.0, (2, 0))]
    """
    size = len(rooms)
    beyond = [sum(rooms[place:]) for place in range(size + 1)]
    cheapest = [min(prices[place:], default=0.0) for place in range(size + 1)]

    def split(
        left: int, place: int, paid: float, taken: tuple[int, ...]
    ) -> Iterator[tuple[float, tuple[int, ...]]]:
        if place == size:
            yield paid, taken
            return
        for n in range(max(0, left - beyond[place + 1]), min(left, rooms[place]) + 1):
            now = paid + n * prices[place]
            if now + (left - n) * cheapest[place + 1] <= budget:
                yield from split(left - n, place + 1, now, (*taken, n))

    if total <= beyond[0]:
        yield from split(total, 0, 0.0, ())
