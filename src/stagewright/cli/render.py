"""All tables that commands print on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stagewright.cli.texts import (
    bare_milliseconds,
    bytes_per_s,
    certificate_sentence,
    gigabytes,
    gpus,
    milliseconds,
    money,
    percent,
)
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.run import Planned
from stagewright.model.errors import printable
from stagewright.model.evaluate import StageFigures, over_memory
from stagewright.model.instance import Instance
from stagewright.model.plan import Certificate, Status, price_per_hour
from stagewright.model.rule_names import rules_in_words
from stagewright.scenarios.compare import Comparison, Row, compare

PLAIN_WIDTH = 110
BESIDE_LIMIT_S = 2.0
BESIDE = ("single-gpu", "data-parallel", "pipedream-dp", "sparsepipe-dp")


@contextmanager
def open_console() -> Iterator[Console]:
    """Give a console as wide as the terminal, or 110 columns in a file, and print its text.

    Lines end where their text ends: rich pads the cells of a table.
    """
    terminal = sys.stdout is not None and sys.stdout.isatty()
    console = Console(width=None if terminal else PLAIN_WIDTH, highlight=False)
    with console.capture() as captured:
        yield console
    click.echo("\n".join(line.rstrip() for line in captured.get().rstrip().split("\n")))


def show_plan(planned: Planned, written: Sequence[Path]) -> None:
    """Print a plan: what was asked, stages, period, certificate, others beside it, files."""
    instance, evaluation = planned.problem.instance, planned.evaluation
    with open_console() as console:
        heading(console, planned.problem)
        console.print(_stage_table(planned))
        console.print("[dim]Milliseconds per minibatch; memory of one replica.[/]")
        console.print(
            f"\n[bold]Period {milliseconds(evaluation.period_s)}[/] per minibatch, "
            f"{evaluation.throughput_per_s:,.2f} minibatches/s. {_speed_up(planned)}"
        )
        price = price_per_hour(instance.cluster, planned.plan)
        if price is not None:
            console.print(f"Price of the GPUs in use: {money(price)} per hour.")
        console.print(certificate_sentence(planned.certificate, planned.problem.cost_model.name))
        if planned.second:
            console.print(f"{planned.second[:1].upper()}{planned.second[1:]}.")
        _idle(console, planned)
        for k, (stage, figures) in enumerate(
            zip(planned.plan.stages, evaluation.stages, strict=True)
        ):
            for text in over_memory(instance, stage, figures, k):
                console.print(f"[yellow]Warning:[/] {escape(text)}; add --use-memory-constraint.")
        console.print("\nBeside it, under the same evaluator:")
        console.print(_beside(planned))
        if written:
            console.print("\nWritten: " + ", ".join(escape(str(path)) for path in written))


def _idle(console: Console, planned: Planned) -> None:
    total = planned.problem.instance.cluster.gpu_count
    idle = total - planned.plan.gpu_count
    if not idle:
        return
    rules, reason = planned.problem.instance.rules, ""
    if rules.max_gpus is not None or rules.max_price_per_hour is not None:
        reason = "; the constraints limit how many are used"
    elif planned.certificate.status == Status.OPTIMAL:
        reason = ": using them would not make it faster (--use-all forces them)"
    console.print(f"{idle} of {total} GPUs stay idle{reason}.")


def heading(console: Console, problem: Problem) -> None:
    """Print what is planned on what, notes, and the constraints in force."""
    instance, cluster = problem.instance, problem.instance.cluster
    console.print(
        f"[bold]{_safe(instance.graph.name)}[/]: {len(instance.nodes)} layers on "
        f"{cluster.gpu_count} GPUs, {_safe(cluster.describe(), 400)}; {_bandwidths(problem)}"
    )
    for note in instance.notes:
        console.print(f"[dim]Note: {_safe(note, 400)}.[/]")
    rules = rules_in_words(instance.rules, cluster)
    if rules:
        console.print(f"[dim]Constraints: {_safe('; '.join(rules), 800)}.[/]")


def _safe(text: str, limit: int = 80) -> str:
    """Names come from files: no control characters and no markup."""
    return escape(printable(text, limit))


def _bandwidths(problem: Problem) -> str:
    if problem.cost_model.compression_ratio is None:
        return "transfers between stages are not charged"
    bandwidth = problem.instance.cluster.bandwidth
    inside = sorted(set(bandwidth.diagonal().tolist()))
    between = sorted({x for s, row in enumerate(bandwidth.tolist()) for x in row[:s]})
    text = f"{_range(inside)} inside a server"
    return text + (f", {_range(between)} between" if between else "")


def _range(values: Sequence[float]) -> str:
    ends = [bytes_per_s(x) for x in (values[0], values[-1])]
    return ends[0] if len(values) == 1 else " to ".join(ends)


def _stage_table(planned: Planned) -> Table:
    cluster = planned.problem.instance.cluster
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage", justify="right")
    table.add_column("layers")
    table.add_column("GPUs")
    for name in ("compute", "all-reduce", "receive", "send", "memory", "of the period"):
        table.add_column(name, justify="right")
    recomputes = any(stage.recompute for stage in planned.plan.stages)
    if recomputes:
        table.add_column("recomputes")
    period = planned.evaluation.period_s
    for k, (stage, figures) in enumerate(
        zip(planned.plan.stages, planned.evaluation.stages, strict=True)
    ):
        busiest = figures.busiest_s == period
        table.add_row(
            str(k),
            escape(_layers(planned.problem.instance, stage.nodes)),
            escape(gpus(cluster, stage.replicas)),
            *_figures(figures),
            _share(figures, period),
            *(["yes" if stage.recompute else "no"] if recomputes else []),
            style="bold" if busiest else None,
        )
    return table


def _layers(instance: Instance, nodes: Sequence[str]) -> str:
    planned = [node for node in nodes if node in instance.index]
    count = f"{len(planned)}: " if len(planned) > 1 else ""
    ends = printable(planned[0], 20), printable(planned[-1], 20)
    return count + (f"{ends[0]} … {ends[1]}" if len(planned) > 1 else ends[0])


def _figures(figures: StageFigures) -> tuple[str, ...]:
    return (
        bare_milliseconds(figures.compute_s),
        bare_milliseconds(figures.sync_s),
        bare_milliseconds(figures.input_transfer_s),
        bare_milliseconds(figures.output_transfer_s),
        gigabytes(figures.memory_bytes),
    )


def _share(figures: StageFigures, period: float) -> str:
    if period <= 0:
        return "-"
    if figures.busiest_s > figures.time_s:
        return f"{percent(figures.time_s / period)} (link {percent(figures.busiest_s / period)})"
    return percent(figures.time_s / period)


def _speed_up(planned: Planned) -> str:
    period = planned.evaluation.period_s
    parts = []
    for text, other in (
        ("the best single GPU", planned.single_gpu_s),
        ("data parallelism", planned.data_parallel_s),
    ):
        if other is None:
            parts.append(f"{text} breaks a rule")
        elif period > 0:
            parts.append(f"{other / period:.2f} × {text}")
    return f"Speed: {', '.join(parts)}."


def _beside(planned: Planned) -> Table:
    """Run the planners that cost nothing and apply; the plan's own row comes first."""
    rows = compare(planned.problem, Settings(time_limit_s=BESIDE_LIMIT_S), BESIDE).rows
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("planner", "period", "it claims", "times this plan", ""):
        table.add_column(name, justify="left" if name in {"planner", ""} else "right")
    period = planned.evaluation.period_s
    table.add_row("this plan", milliseconds(period), "", "1.00", style="bold")
    for row in rows:
        if row.planned is None:
            continue
        other = row.planned.evaluation.period_s
        claim = row.planned.plan.claimed_period_s
        table.add_row(
            row.planner,
            milliseconds(other),
            "" if claim is None else milliseconds(claim),
            f"{other / period:.2f}" if period > 0 else "",
            escape(row.remark),
        )
    return table


def show_comparison(problem: Problem, comparison: Comparison) -> None:
    """Print one row per planner."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("planner", "period_s", "claimed_period_s", "status", "gap", "wall_s", "ratio"):
        table.add_column(name, justify="left" if name in {"planner", "status"} else "right")
    table.add_column("stages / remark")
    for row in comparison.rows:
        table.add_row(*_comparison_row(row, problem), style="bold" if row.ratio == 1 else None)
    with open_console() as console:
        heading(console, problem)
        console.print(table)


def _comparison_row(row: Row, problem: Problem) -> tuple[str, ...]:
    if row.planned is None:
        return (row.planner, "-", "-", row.status or "-", "-", "-", "-", escape(row.remark))
    certificate, plan = row.planned.certificate, row.planned.plan
    stages = " | ".join(gpus(problem.instance.cluster, stage.replicas) for stage in plan.stages)
    return (
        row.planner,
        f"{row.planned.evaluation.period_s:.6g}",
        "-" if plan.claimed_period_s is None else f"{plan.claimed_period_s:.6g}",
        certificate.status,
        "-" if certificate.gap is None else _gap(certificate),
        f"{certificate.wall_s:.2f}",
        "-" if row.ratio is None else f"{row.ratio:.3f}",
        escape(row.remark or stages),
    )


def _gap(certificate: Certificate) -> str:
    proven = certificate.status == Status.OPTIMAL
    return "0 %" if proven or certificate.gap is None else percent(certificate.gap)
