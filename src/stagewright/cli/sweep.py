"""``stagewright sweep``."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from stagewright.cli.inputs import Inputs
from stagewright.cli.option_types import Real
from stagewright.cli.options import (
    Limits,
    json_option,
    limit_options,
    planner_option,
    problem_options,
    take,
)
from stagewright.cli.sections import SectionedCommand
from stagewright.scenarios.sweep.backends import BACKENDS

CELLS = ("scenario", "list_scenarios", "jobs", "backend", "scheduler", "cache", "fresh")
FRONT = ("pareto", "by", "total_time_limit")
BOTH = ("servers", "output", "as_json")


@click.command(
    "sweep",
    cls=SectionedCommand,
    sections={
        "Options": BOTH,
        "A FILE.toml or a scenario": CELLS,
        "With --pareto": FRONT,
        "The problem, with --pareto (a FILE.toml states it itself)": (),
    },
)
@problem_options
@planner_option
@limit_options
@click.option(
    "--scenario",
    multiple=True,
    metavar="NAME",
    help="Run a scenario that comes with the package, or 'all', and check what comes out.",
)
@click.option(
    "--list", "list_scenarios", is_flag=True, help="List the scenarios, what each plans, and stop."
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1, max=10_000),
    metavar="N",
    help="Cells at once. Times the solver threads of each (options.workers in the file), at most "
    "the cores.  [default: as many as fit]",
)
@click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    default=BACKENDS[0],
    show_default=True,
    help="Where cells run: processes of this machine, or a Dask or Ray cluster.",
)
@click.option(
    "--scheduler", metavar="ADDRESS", help="Of the cluster: tcp://HOST:8786 for Dask, HOST:6379."
)
@click.option(
    "--cache",
    type=click.Path(),
    metavar="DIR",
    help="Where finished cells are kept; they do not run again.  [default: ~/.cache/stagewright/"
    "cells]",
)
@click.option("--fresh", is_flag=True, help="Run finished cells again.")
@click.option("--pareto", is_flag=True, help="Trade the period for GPUs, or for the price.")
@click.option(
    "--by",
    type=click.Choice(("gpus", "price")),
    default="gpus",
    show_default=True,
    help="What is traded for time. The price needs price_per_hour in the cluster.yaml.",
)
@click.option(
    "--total-time-limit",
    type=Real(min=0, min_open=True),
    metavar="SECONDS",
    help="For all points together; --time-limit is for each.  [default: none]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    metavar="PATH",
    help="Write the results: into a folder (CSV, Parquet, plots), or with --pareto into this .csv "
    "or .json file.",
)
@json_option
@click.pass_context
def sweep_command(context: click.Context, /, **values: Any) -> int:
    """Plan many clusters at once, or show what fewer GPUs cost.

    A FILE.toml names profiles, clusters, bandwidths, memory and planners; every combination is a
    cell, planned in parallel. Finished cells are kept: after an interrupt the same command goes on.
    docs/sweep.md describes the file.

    \b
    stagewright sweep hete_files/sweep.toml -o out
    stagewright sweep --scenario all

    --pareto plans one cluster again and again, each time with fewer GPUs (or for less money) than
    the last plan used, until no plan exists. Every point is a plan with its own proof.

    \b
    stagewright sweep --pareto hete_files/two_servers.yaml
    stagewright sweep --pareto hete_files/test_server.txt -b 1e9 -o front.csv
    """
    front = {name: values.pop(name) for name in FRONT}
    cells = {name: values.pop(name) for name in CELLS}
    output, as_json = values.pop("output"), values.pop("as_json")
    if front.pop("pareto"):
        _refuse(context, CELLS, "does not go with --pareto")
        from stagewright.cli.sweep_front import sweep_front

        inputs, limits = take(Inputs, values), take(Limits, values)
        sweep_front(inputs, limits, values["planner"], **front, output=output, as_json=as_json)
        return 0
    others = [name for name in context.params if name not in {*CELLS, *BOTH}]
    _refuse(context, others, "goes with --pareto; a FILE.toml and a scenario state it themselves")
    return _cells(values["servers"], output, as_json, **cells)


def _cells(
    file: str | None,
    output: str | None,
    as_json: bool,
    *,
    scenario: tuple[str, ...],
    list_scenarios: bool,
    **execution: Any,
) -> int:
    """Choose what is to run."""
    from pathlib import Path

    from stagewright.cli.sweep_cells import Execution, list_all, sweep_cells
    from stagewright.model.errors import InputError
    from stagewright.scenarios.named import scenario_file, scenario_names

    if list_scenarios:
        list_all(as_json)
        return 0
    if file is not None and scenario:
        raise InputError("both a file and --scenario are given; name one of them")
    if file is not None and Path(file).suffix != ".toml":
        raise InputError(
            f"found the suffix '{Path(file).suffix}', expected a sweep file that ends in .toml",
            source=file,
            hint="To trade the period of one cluster for GPUs or for the price, add --pareto",
        )
    names = scenario_names() if scenario == ("all",) else scenario
    files = [Path(file)] if file is not None else [scenario_file(name) for name in names]
    if not files:
        raise InputError(
            "nothing to sweep is named",
            hint="Name a FILE.toml, a --scenario, or SERVERS with --pareto",
        )
    return sweep_cells(files, Execution(**execution), output, as_json)


def _refuse(context: click.Context, names: Any, why: str) -> None:
    """Refuse options that say nothing in this way of sweeping."""
    from stagewright.model.errors import InputError

    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if given and parameter.name in names:
            option = next(word for word in parameter.opts if word.startswith("--"))
            raise InputError(f"{option} {why}")


# The argument is either a cluster or a sweep file here.
next(x for x in sweep_command.params if x.name == "servers").metavar = "[FILE.toml|SERVERS]"
