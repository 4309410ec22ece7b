"""How finely GPUs are told apart: by server, or by class of servers that are alike."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stagewright.formulation.stage_columns import Columns


@dataclass(frozen=True)
class Cell:
    """GPUs of one resource in a server, or (``server`` is ``None``) in all servers of its class."""

    resource: int
    server: int | None
    total: int


def cells_by_server(columns: Columns) -> list[Cell]:
    """One cell per group: exact."""
    return [
        Cell(r, server, x.each) for r, x in enumerate(columns.resources) for server in x.servers
    ]


def cells_by_class(columns: Columns) -> list[Cell]:
    """One cell per resource: a relaxation, unless each class is one server."""
    return [
        Cell(r, x.servers[0] if len(x.servers) == 1 else None, x.total)
        for r, x in enumerate(columns.resources)
    ]


def finest_first(columns: Columns, usages: int) -> list[list[Cell]]:
    """Return cells by server, then by class, where all but the largest have so few usages."""
    by_server, by_class = cells_by_server(columns), cells_by_class(columns)
    both = [by_server] if by_server == by_class else [by_server, by_class]
    return [cells for cells in both if _usages(cells) <= usages]


def _usages(cells: list[Cell]) -> int:
    sizes = [cell.total + 1 for cell in cells]
    return math.prod(sizes) // max(sizes)
