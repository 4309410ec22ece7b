"""What ``stagewright sweep`` prints for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from stagewright.cli.render import heading, open_console
from stagewright.cli.texts import gpus, milliseconds, money, percent
from stagewright.formulation.pareto import By, End, Front, Point
from stagewright.formulation.problem import Problem

LEAST = {
    By.GPUS: {
        End.LEAST: "One GPU is the least.",
        End.INFEASIBLE: "No plan uses fewer GPUs: proven.",
        End.NO_PLAN: "No plan with fewer GPUs was found; there may be one.",
        End.TIME: "The time limit ended the sweep; fewer GPUs were not tried.",
        End.STOPPED: "Interrupted; fewer GPUs were not tried.",
    },
    By.PRICE: {
        End.LEAST: "Nothing is cheaper than free.",
        End.INFEASIBLE: "No plan is cheaper: proven.",
        End.NO_PLAN: "No cheaper plan was found; there may be one.",
        End.TIME: "The time limit ended the sweep; lower prices were not tried.",
        End.STOPPED: "Interrupted; lower prices were not tried.",
    },
}


def show_front(problem: Problem, front: Front, written: str | None) -> None:
    """Print one row per point, what is proven, and why there is no further point."""
    with open_console() as console:
        heading(console, problem)
        console.print(_table(front))
        console.print(f"\n{_proven(front)} {LEAST[front.by][front.end]}")
        if written is not None:
            console.print(f"\nWritten: {escape(written)}")


def progress(found: Sequence[Point]) -> str:
    """Say after "searching" what for."""
    if not found:
        return " for the fastest plan"
    last = found[-1]
    return f" below {last.gpus} GPUs ({milliseconds(last.period_s)})"


def _table(front: Front) -> Table:
    priced = any(point.price_per_hour is not None for point in front.points)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("GPUs", *(["per hour"] if priced else []), "period", "minibatches/s", "slower"):
        table.add_column(name, justify="right")
    table.add_column("proven")
    table.add_column("stages")
    fastest = front.points[0].period_s
    for point in front.points:
        price = "-" if point.price_per_hour is None else money(point.price_per_hour)
        cluster = point.planned.problem.instance.cluster
        stages = " | ".join(gpus(cluster, stage.replicas) for stage in point.planned.plan.stages)
        table.add_row(
            str(point.gpus),
            *([price] if priced else []),
            milliseconds(point.period_s),
            f"{point.planned.evaluation.throughput_per_s:,.2f}",
            f"{point.period_s / fastest:.2f} ×" if fastest > 0 else "-",
            _certified(point),
            escape(stages),
        )
    return table


def _certified(point: Point) -> str:
    gap = point.planned.certificate.gap
    if point.proven:
        return "optimal"
    return "no" if gap is None else f"within {percent(gap)}"


def _proven(front: Front) -> str:
    count = len(front.points)
    proven = sum(point.proven for point in front.points)
    if proven == count:
        return "Every point is proven optimal." if count > 1 else "The point is proven optimal."
    return f"{proven} of {count} points are proven optimal."
