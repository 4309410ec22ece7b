"""What tests of landmarks start from: blocks and ideals of a problem, and windows of a table."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from random_instances import flat_problem
from stagewright.formulation.cut_space import all_ideals
from stagewright.formulation.ideal_table import IdealTable
from stagewright.formulation.nested_windows import Load, NestedWindows
from stagewright.formulation.problem import Problem
from stagewright.formulation.rates import rates_of
from stagewright.formulation.reduced_graph import ReducedGraph, reduce_graph


def blocks_of(problem: Problem, ceiling_s: float = float("inf")) -> ReducedGraph:
    rates = rates_of(problem.cost_model, problem.instance.cluster)
    return reduce_graph(problem.instance, rates, ceiling_s)


def any_ideals(data: st.DataObject) -> tuple[ReducedGraph, np.ndarray]:
    """A small graph, and all its ideals by blocks but the empty and the full one."""
    problem = flat_problem(data, "pipedream")
    assert problem is not None
    graph = blocks_of(problem)
    order = [layer for block in graph.blocks for layer in block]
    return graph, all_ideals(problem.instance).members[1:-1][:, order]


def totals_of(graph: ReducedGraph) -> tuple[float, float]:
    return float(graph.time_s.sum()), float(graph.parameter_bytes.sum())


def windows_of(
    table: IdealTable, graph: ReducedGraph, around: tuple[np.ndarray, np.ndarray] | None = None
) -> NestedWindows:
    """All rows; 1, 2, … GPUs are needed before each, as many fewer after it, if not given."""
    rows = np.arange(len(table.windows))
    gpus = np.arange(1.0, len(rows) + 1)
    found = NestedWindows.of(
        table, Load(0.0, *totals_of(graph)), around or (gpus, gpus[::-1]), rows
    )
    assert found is not None
    return found
