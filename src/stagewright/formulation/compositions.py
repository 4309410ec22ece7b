"""Ways to split a number of GPUs over places."""

from __future__ import annotations

from collections.abc import Sequence


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
