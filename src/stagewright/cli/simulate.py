"""``stagewright simulate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stagewright.cli.options import Command, json_option

if TYPE_CHECKING:
    from stagewright.model.cluster import Cluster
    from stagewright.simulation import Simulation

ORDERS = ("1f1b", "1f1b-flush", "gpipe")
LINKS = ("own", "cards", "ports")


@click.command("simulate", cls=Command)
@click.argument("plan", type=click.Path(), metavar="PLAN")
@click.option(
    "-n",
    "--minibatches",
    type=click.IntRange(min=1, max=10_000_000),
    metavar="N",
    help="How many minibatches pass.  [default: as many as show a steady state]",
)
@click.option(
    "--order",
    type=click.Choice(ORDERS),
    default=ORDERS[0],
    show_default=True,
    help="How forward and backward passes take turns.",
)
@click.option(
    "--group",
    type=click.IntRange(min=1, max=10_000_000),
    metavar="M",
    help="With 1f1b-flush and gpipe: minibatches between two flushes.  [default: 4 times the GPUs]",
)
@click.option(
    "--slack",
    type=click.IntRange(min=0, max=100),
    metavar="E",
    default=0,
    show_default=True,
    help="How much more than PipeDream's start-up count is in flight (docs/simulate.md).",
)
@click.option(
    "--links",
    type=click.Choice(LINKS),
    default=LINKS[1],
    show_default=True,
    help="What is shared: nothing (own), each server's network card (cards), and each GPU's port "
    "too (ports).",
)
@click.option(
    "--schedule",
    type=click.Path(),
    metavar="FILE",
    help="Run the steps in this file, as -o writes it, instead of an --order.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    metavar="DIR",
    help="Write trace.json (ui.perfetto.dev), schedule.txt and simulation.json into this folder.",
)
@json_option
def simulate_command(
    plan: str,
    minibatches: int | None,
    order: str,
    group: int | None,
    slack: int,
    links: str,
    schedule: str | None,
    output: str | None,
    as_json: bool,
) -> None:
    """Run a plan in time, minibatch by minibatch.

    PLAN is a plan.json. Shows the period in steady state beside the one that the cost model
    states, fill and drain, and how each GPU spends its time.

    \b
    stagewright simulate out/plan.json
    stagewright simulate out/plan.json -n 12 -o timeline
    stagewright simulate out/plan.json --order gpipe --group 32 --json
    """
    from stagewright.cli import render_simulation
    from stagewright.model.document import read_plan
    from stagewright.model.errors import InputError
    from stagewright.model.files import read_text
    from stagewright.simulation import (
        Links,
        Order,
        Pace,
        conditions_of,
        parse_schedule,
        simulate,
        simulate_schedule,
    )
    from stagewright.simulation.summary import summary

    if output is not None and not output.strip():
        raise InputError("-o names no folder")
    if group is not None and not Order(order).flushes:
        raise InputError(f"--group goes with 1f1b-flush and gpipe, not with --order {order}")
    document, instance, stages, cost_model = read_plan(plan)
    conditions = conditions_of(cost_model, Links(links))
    if schedule is None:
        pace = Pace(Order(order), slack, group)
        simulation = simulate(instance, stages, conditions, pace, minibatches)
    else:
        if minibatches is not None or group is not None or slack:
            raise InputError("--schedule says it all; leave out -n, --group and --slack")
        steps = parse_schedule(read_text(Path(schedule), "schedule"), schedule)
        simulation = simulate_schedule(instance, stages, steps, conditions)
    data = summary(simulation, document.period_s)
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    written = []
    if output is not None:
        written = _write(simulation, instance.cluster, text, Path(output))
    if as_json:
        click.echo(text, nl=False)
    else:
        render_simulation.show_simulation(instance, simulation, document.period_s, written)


def _write(simulation: Simulation, cluster: Cluster, figures: str, folder: Path) -> list[Path]:
    """Write the trace, the schedule and the figures."""
    from stagewright.model.files import write_files
    from stagewright.simulation.trace import chrome_trace

    return write_files(
        folder,
        {
            "trace.json": chrome_trace(simulation, cluster.servers),
            "schedule.txt": str(simulation.schedule),
            "simulation.json": figures,
        },
    )
