"""What ``stagewright sweep FILE.toml`` prints for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stagewright.cli.render import open_console
from stagewright.cli.texts import bare_milliseconds, bytes_per_s, gigabytes, milliseconds
from stagewright.model.errors import printable
from stagewright.scenarios.sweep.changes import bandwidth, period_s, series
from stagewright.scenarios.sweep.results import Answered, Row

if TYPE_CHECKING:
    from stagewright.cli.sweep_cells import Report

MOST_ROWS = 200

LABELS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("workload", lambda row: row.workload),
    ("cluster", lambda row: row.cluster),
    ("constraints", lambda row: row.constraints or "-"),
    ("inside", lambda row: bytes_per_s(row.inside_bytes_per_s)),
    ("between", lambda row: _or_dash(row.between_bytes_per_s, bytes_per_s)),
    ("memory", lambda row: _or_dash(row.memory_bytes, gigabytes)),
    ("cost model", lambda row: row.cost_model),
    ("dispatch", lambda row: row.dispatch),
    ("compressed", lambda row: _or_dash(row.compression_ratio, lambda x: f"÷ {x:g}")),
)
NUMBERS = {"inside", "between", "memory", "compressed"}

WITHOUT = {"infeasible": "none", "unknown": "?", "does-not-apply": "n/a", "failed": "failed"}
LEGEND = (
    ("*", "* proven optimal"),
    ("(", "in brackets: breaks a rule"),
    ("none", "none: proven that there is no plan"),
    ("?", "?: the limit came before a plan"),
    ("n/a", "n/a: the planner does not apply"),
)


def show_sweep(report: Report, written: Sequence[Path]) -> None:
    """Print the periods, the best plans, and what ran."""
    with open_console() as console:
        for name, title in report.titles.items():
            found = [each for each in report.found if each.labels.sweep == name]
            count = sum(cell.labels.sweep == name for cell in report.run.cells)
            console.print(f"[bold]{_safe(name)}[/]: {_safe(title, 200)} ({count} cells)")
            if found:
                _periods(console, found)
                _best(console, found)
            console.print()
        for each in report.found:
            if each.row.status == "failed":
                name = " ".join(spell(each.row) for _, spell in LABELS[:5])
                console.print(f"Failed: {_safe(name)} {each.row.planner}: {_safe(each.row.remark)}")
        console.print(_ran(report))
        if written:
            console.print("\nWritten: " + ", ".join(escape(str(path)) for path in written))


def _periods(console: Console, found: Sequence[Answered]) -> None:
    """One line a problem, one column a planner.

    Labels that are the same in all lines are left out, but for the first two.
    """
    problems: dict[tuple[str, ...], dict[str, Answered]] = {}
    for each in found:
        labels = tuple(spell(each.row) for _, spell in LABELS)
        problems.setdefault(labels, {})[each.row.planner] = each
    told = [i for i in range(len(LABELS)) if i < 2 or len({x[i] for x in problems}) > 1]
    planners = list(dict.fromkeys(each.row.planner for each in found))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i in told:
        name = LABELS[i][0]
        table.add_column(name, justify="right" if name in NUMBERS else "left", no_wrap=True)
    for name in planners:
        table.add_column(name, justify="right", no_wrap=True)
    for labels, answers in list(problems.items())[:MOST_ROWS]:
        cells = (_period(answers[name].row) if name in answers else "" for name in planners)
        table.add_row(*(_safe(labels[i]) for i in told), *cells)
    console.print(table)
    if len(problems) > MOST_ROWS:
        console.print(f"… and {len(problems) - MOST_ROWS:,} more; -o DIR writes them all.")
    words = {_period(each.row).strip(" 0123456789.,)") for each in found}
    notes = [text for mark, text in LEGEND if mark in words]
    console.print(f"[dim]{'; '.join(['Milliseconds per minibatch', *notes])}.[/]")


def _period(row: Row) -> str:
    if row.period_s is None:
        return WITHOUT[row.status]
    text = bare_milliseconds(row.period_s)
    if not row.valid:
        return f"({text})"
    return f"* {text}" if row.status == "optimal" else text


def _best(console: Console, found: Sequence[Answered]) -> None:
    """The best plan of every series, wherever it changes shape."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("best plan", no_wrap=True)
    table.add_column("from", justify="right", no_wrap=True)
    table.add_column("period", justify="right", no_wrap=True)
    table.add_column("stages")
    for line in series(found):
        starts = (line.best[0], *(after for _, after in line.changes))
        for each in starts:
            table.add_row(
                _safe(line.name) if each is starts[0] else "",
                bytes_per_s(bandwidth(each)) if bandwidth(each) > 0 else "-",
                milliseconds(period_s(each)),
                _safe(each.outcome.shape, 400),
            )
    if table.row_count:
        console.print()
        console.print(table)


def _ran(report: Report) -> str:
    run = report.run
    before = len(run.outcomes) - len(set(run.ran))
    text = f"{len(run.ran)} cells ran"
    if before:
        text += f", {before} were finished before"
    if run.failed:
        text += f", {run.failed} failed and will run again next time"
    expected = "" if not report.unmet else f" Expectations that are not met: {len(report.unmet)}."
    return f"{text}.{expected}"


def _or_dash(value: float | None, spell: Callable[[float], str]) -> str:
    return "-" if value is None else spell(value)


def _safe(text: str, limit: int = 80) -> str:
    return escape(printable(text, limit))
