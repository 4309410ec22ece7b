"""Lower bounds on the period that hold for every plan, and cuts that follow from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from ortools.linear_solver import pywraplp

from stagewright.formulation.rates import Rates
from stagewright.formulation.reduced_graph import ReducedGraph

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class WorkBound:
    """Work can go no faster than all groups together.

    For prices λ_g >= 0 with Σ_g λ_g n_g = 1 let w_v = min_g λ_g T_{v,g}. A stage V on replicas
    n has T_g(V) <= m P for each used g, so w(V) <= Σ_g (n_g/m) λ_g T_g(V) <= P Σ_g λ_g n_g:
    summed over stages, P >= w(all), and the same holds for every prefix of the pipeline.
    The prices are the dual of the fractional assignment of layers to groups.

    Attributes
    ----------
    price
        λ, shape (groups,).
    work
        w, shape (blocks,).
    """

    price: Floats
    work: Floats

    @property
    def period_s(self) -> float:
        """The bound: w(all), a little rounded down."""
        return float(self.work.sum()) * (1 - 1e-12)


def work_bound(graph: ReducedGraph, counts: tuple[int, ...]) -> WorkBound:
    """Return the tightest work bound; one GPU type gives total work / GPUs."""
    gpus = np.array(counts, dtype=float)
    price = np.full(len(counts), 1 / gpus.sum())
    if (graph.time_s != graph.time_s[0]).any():
        price = _best_prices(graph.time_s, gpus, price)
    price = price / (price @ gpus)
    work: Floats = (price[:, None] * graph.time_s).min(axis=0)
    return WorkBound(price, work)


def _best_prices(time_s: Floats, gpus: Floats, fallback: Floats) -> Floats:
    """Maximise Σ_v min_g λ_g T_{v,g} over prices, with GLOP."""
    solver = pywraplp.Solver.CreateSolver("GLOP")
    if solver is None:
        return fallback
    scale = float(time_s.max()) or 1.0
    groups, blocks = time_s.shape
    price = [solver.NumVar(0.0, 1.0, "") for _ in range(groups)]
    solver.Add(sum(float(gpus[g]) * price[g] for g in range(groups)) == 1.0)
    work = [solver.NumVar(0.0, solver.infinity(), "") for _ in range(blocks)]
    for v in range(blocks):
        for g in range(groups):
            solver.Add(work[v] <= float(time_s[g, v] / scale) * price[g])
    solver.Maximize(sum(work))
    solver.SetTimeLimit(5_000)
    if solver.Solve() not in {pywraplp.Solver.OPTIMAL, pywraplp.Solver.FEASIBLE}:
        return fallback
    found = np.maximum(np.array([x.solution_value() for x in price]), 0.0)
    return found if found @ gpus > 0 else fallback


def block_bound_s(graph: ReducedGraph, rates: Rates) -> float:
    """Every block lies in some stage: the least time of the worst block over all stage sizes.

    Uses the fastest type and the widest link, so it holds wherever the block goes.
    """
    cluster = rates.cluster
    fastest = graph.time_s.min(axis=0)
    m = np.arange(1, cluster.gpu_count + 1)[:, None]
    beta = float(cluster.bandwidth.max())
    least = (fastest + 2 * (m - 1) * graph.parameter_bytes / (beta * m)) / m
    return float(least.min(axis=0).max()) * (1 - 1e-12)
