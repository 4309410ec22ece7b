"""What ``simulate`` and ``plan --check-by-simulation`` print."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from stagewright.cli.render import open_console
from stagewright.cli.texts import bare_milliseconds, gigabytes, milliseconds, percent
from stagewright.model.errors import printable
from stagewright.model.instance import Instance
from stagewright.simulation import LinkFigures, Simulation
from stagewright.simulation.check import TOLERANCE, PeriodCheck

LINKS_SHOWN = 3


def show_simulation(
    instance: Instance, simulation: Simulation, formula_s: float, written: Sequence[Path]
) -> None:
    """Print a run: how, each GPU, period, fill and drain, the busiest links, files."""
    with open_console() as console:
        console.print(
            f"[bold]{escape(printable(instance.graph.name, 80))}[/]: {simulation.minibatches:,} "
            f"minibatches, {_order(simulation)}"
        )
        console.print(_gpu_table(instance, simulation))
        console.print(
            "[dim]Milliseconds per minibatch of the GPU's own; bubble: the part of the run in "
            "which it does nothing.[/]\n"
        )
        for line in _figures(simulation, formula_s):
            console.print(line)
        if written:
            console.print("\nWritten: " + ", ".join(escape(str(path)) for path in written))


def _order(simulation: Simulation) -> str:
    pace = simulation.pace
    links = {
        "own": "every cut has links of its own",
        "cards": "one network card a server",
        "ports": "one network card a server and one port a GPU",
    }[simulation.conditions.links]
    if pace is None:
        return f"by a schedule from a file; {links}"
    words = str(pace.order)
    if pace.order.flushes:
        words += f" in groups of {pace.group_of(simulation.run.machine)}"
    if str(pace.order) != "gpipe":
        words += f" with the start-up count{_slack(pace.slack)} in flight"
    return f"{words}; {links}"


def _slack(slack: int) -> str:
    return f" and a slack of {slack}" if slack else ""


def _gpu_table(instance: Instance, simulation: Simulation) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("GPU", justify="right")
    table.add_column("stage", justify="right")
    table.add_column("where")
    recomputes = any(x.recompute_s > 0 for x in simulation.gpu_figures)
    waits = not simulation.conditions.overlap
    for name in (
        "forward",
        *(["recompute"] if recomputes else []),
        "backward",
        "all-reduce",
        *(["transfer"] if waits else []),
        "bubble",
        "when full",
        "peak memory",
    ):
        table.add_column(name, justify="right")
    passed = [sum(kind == "F" for kind, _ in steps) for steps in simulation.schedule.steps]
    for x, count in zip(simulation.gpu_figures, passed, strict=True):
        each = max(1, count)
        memory = instance.cluster.groups[x.gpu.group].memory_bytes
        steady = x.steady_bubble_share
        table.add_row(
            str(x.gpu.rank),
            str(x.gpu.stage),
            escape(printable(x.gpu.name, 60)),
            bare_milliseconds(x.forward_s / each),
            *([bare_milliseconds(x.recompute_s / each)] if recomputes else []),
            bare_milliseconds(x.backward_s / each),
            bare_milliseconds(x.all_reduce_s / each),
            *([bare_milliseconds(x.transfer_s / each)] if waits else []),
            percent(x.bubble_share),
            "-" if steady is None else percent(steady),
            gigabytes(x.peak_bytes) + ("" if memory is None else f" of {gigabytes(memory)}"),
        )
    return table


def _figures(simulation: Simulation, formula_s: float) -> Iterator[str]:
    period_s = simulation.period_s
    if period_s is None:
        yield "Too few minibatches for a steady state."
    else:
        unsettled = "" if simulation.steady and simulation.steady.settled else " (not settled)"
        yield (
            f"[bold]Period {milliseconds(period_s)}[/] per minibatch in steady state{unsettled}, "
            f"{_beside(period_s, formula_s)} {milliseconds(formula_s)}."
        )
    yield (
        f"All {simulation.minibatches:,} minibatches take {milliseconds(simulation.makespan_s)}: "
        f"filled after {milliseconds(simulation.fill_s)}, draining for the last "
        f"{milliseconds(simulation.drain_s)}."
    )
    busiest = sorted(simulation.links, key=lambda link: -link.busy_share)[:LINKS_SHOWN]
    for link in (link for link in busiest if link.busy_share > 0):
        yield f"{_link(link)}."


def _link(link: LinkFigures) -> str:
    users = f" ({escape(', '.join(link.users))})" if len(link.users) > 1 else ""
    name = escape(printable(link.name, 80))
    return f"{name[:1].upper()}{name[1:]}{users}: busy {percent(link.busy_share)} of the time"


def _beside(simulated_s: float, formula_s: float) -> str:
    """Say how far a simulated period is from the formula's, which follows."""
    difference = 0.0 if formula_s <= 0 else simulated_s / formula_s - 1
    if abs(difference) < TOLERANCE / 10:
        return "as the cost model says:"
    return (
        f"{percent(abs(difference))} {'more' if difference > 0 else 'less'} than the cost model's"
    )


def show_check(check: PeriodCheck) -> None:
    """Print both periods, and what sharing links and too little in flight cost."""
    with open_console() as console:
        console.print("\nChecked by simulation (docs/simulate.md):")
        console.print(_check_table(check))
        for line in _verdict(check):
            console.print(line)


def _check_table(check: PeriodCheck) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    table.add_column("period", justify="right")
    table.add_column("beside the formula", justify="right")
    table.add_row("the cost model's formula", milliseconds(check.formula_s), "")
    rows = [(f"links of their own, the start-up count{_slack(check.slack)}", check.own_s)]
    if check.shared_cards:
        rows.append(("the same, one network card a server", check.cards_s))
    rows.append(("the same, one port a GPU too", check.ports_s))
    if check.slack > 0:
        cards = ", one network card a server" if check.shared_cards else ""
        rows.append((f"the start-up count alone{cards}", check.start_up_s))
    for words, period_s in rows:
        table.add_row(words, milliseconds(period_s), _signed(check.too_kind(period_s)))
    return table


def _signed(fraction: float) -> str:
    if abs(fraction) < TOLERANCE / 10:
        return "the same"
    return f"{'+' if fraction > 0 else '-'}{percent(abs(fraction))}"


def _verdict(check: PeriodCheck) -> Iterator[str]:
    if check.agrees:
        yield "Formula and simulation agree where no links are shared."
    elif check.simplifications:
        yield "They differ where no links are shared, and the formula leaves something out:"
        for text in check.simplifications:
            yield f"- {escape(text)}"
    else:
        yield (
            "[yellow]Warning:[/] they differ where no links are shared, and no reason is known; "
            "this is a bug, please report it with the plan."
        )
    for name, users in check.shared_cards:
        yield f"The {escape(printable(name, 80))} is shared by {escape(', '.join(users))}."
