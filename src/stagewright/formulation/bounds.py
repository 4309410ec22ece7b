"""Lower bounds on the period that hold for every plan, and cuts that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from ortools.math_opt.python import mathopt

from stagewright.formulation.problem import Settings
from stagewright.formulation.rates import Rates
from stagewright.formulation.reduced_graph import ReducedGraph, reduce_graph
from stagewright.model.instance import Instance

Floats = NDArray[np.float64]

MARGIN = 1 + 1e-9
BISECTION = 1e-6
LP_LIMIT_S = 5


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


class Timed(Protocol):
    """Anything that takes time, shape (groups, blocks)."""

    @property
    def time_s(self) -> Floats:
        """Seconds of each block on each group's type."""


def work_bound(graph: Timed, counts: tuple[int, ...]) -> WorkBound:
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
    scale = float(time_s.max()) or 1.0
    groups, blocks = time_s.shape
    model = mathopt.Model()
    price = [model.add_variable(lb=0.0, ub=1.0) for _ in range(groups)]
    work = [model.add_variable(lb=0.0) for _ in range(blocks)]
    model.add_linear_constraint(
        mathopt.fast_sum(float(gpus[g]) * price[g] for g in range(groups)) == 1.0
    )
    for v in range(blocks):
        for g in range(groups):
            model.add_linear_constraint(work[v] - float(time_s[g, v] / scale) * price[g] <= 0.0)
    model.maximize(mathopt.fast_sum(work))
    limit = mathopt.SolveParameters(time_limit=timedelta(seconds=LP_LIMIT_S))
    answer = mathopt.solve(model, mathopt.SolverType.GLOP, params=limit)
    if not answer.has_primal_feasible_solution():
        return fallback
    found = np.maximum(np.array(answer.variable_values(price)), 0.0)
    return found if found @ gpus > 0 else fallback


def stage_work(
    graph: ReducedGraph, rates: Rates, price: Floats, period_s: float, *, mixed: bool
) -> Floats | None:
    """Least priced work of each block in any stage that keeps ``period_s``, shape (blocks,).

    A block that is too heavy for one GPU needs a stage of at least m replicas, and with them
    their all-reduce: a stage of m pays (T + S_m) P-seconds of m GPUs, S_m = 2(m-1)P/(βm). The
    fastest link that m replicas can have is taken for β.

    Parameters
    ----------
    mixed
        Whether replicas of one stage may run at their own pace (proportional dispatch).

    Returns
    -------
    array or None
        ``None`` if some block fits no stage at all: no plan keeps the period.
    """
    m = np.arange(1, rates.cluster.gpu_count + 1)[:, None]
    beta = np.array([rates.widest_reduce_bandwidth(int(x)) for x in m[:, 0]])[:, None]
    sync = 2 * (m - 1) * graph.parameter_bytes / (beta * m)
    room = m * period_s * MARGIN
    if mixed:
        fits = graph.time_s.min(axis=0) + sync <= room
        work = (price[:, None] * graph.time_s).min(axis=0) + price.min() * sync
        least = np.where(fits, work, np.inf).min(axis=0)
    else:
        least = np.full(len(graph), np.inf)
        for share, time_s in zip(price, graph.time_s, strict=True):
            work = np.where(time_s + sync <= room, share * (time_s + sync), np.inf)
            least = np.minimum(least, work.min(axis=0))
    return least if np.isfinite(least).all() else None


def period_bound_s(
    instance: Instance,
    rates: Rates,
    price: Floats,
    ceiling_s: float,
    settings: Settings,
    *,
    mixed: bool,
) -> float:
    """Return a lower bound on the period that knows about cuts and all-reduce.

    No plan keeps a period p below which either some block of the graph reduced at p fits no
    stage, or all blocks together need more than all GPUs give. Both are monotone in p: the
    bound is found by bisection.
    """

    def impossible(period_s: float) -> bool:
        graph = reduce_graph(instance, rates, period_s)
        work = stage_work(graph, rates, price, period_s, mixed=mixed)
        return work is None or float(work.sum()) > period_s * MARGIN

    low, high = 0.0, ceiling_s
    if not impossible(high / 2):
        high = ceiling_s / 2
    while high - low > BISECTION * ceiling_s and not settings.expired:
        middle = (low + high) / 2
        if impossible(middle):
            low = middle
        else:
            high = middle
    return low
