"""``stagewright formulate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from stagewright.cli.inputs import Inputs, load_problem
from stagewright.cli.option_types import Command
from stagewright.cli.options import Limits, json_option, limit_options, problem_options, take


@click.command("formulate", cls=Command)
@problem_options
@limit_options
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    metavar="FILE",
    required=True,
    help="model.mps (linear), or model.pb or model.txtpb (CP-SAT's CpModelProto).",
)
@json_option
def formulate_command(output: str, as_json: bool, **values: Any) -> None:
    """Write the planners' model for other solvers.

    It is what cpsat and milp solve. The objective is the period in seconds, and any solver's
    optimum of the file is ours.

    \b
    stagewright formulate hete_files/test_server.txt -b 1e9 -o model.mps
    """
    from stagewright.cli.progress import searching
    from stagewright.formulation.export import FORMATS, export_model
    from stagewright.model.errors import InputError
    from stagewright.model.files import write_files

    path = Path(output)
    if path.suffix not in FORMATS:
        raise InputError(
            f"-o ends in '{path.suffix}'; expected {', '.join(FORMATS)}", source=output
        )
    inputs, limits = take(Inputs, values), take(Limits, values)
    problem = load_problem(inputs)
    with searching(limits) as settings:
        exported = export_model(problem, settings, path.suffix)
    write_files(path.parent, {path.name: exported.content})
    facts = {
        "file": str(path),
        "format": FORMATS[path.suffix],
        "columns": exported.columns,
        "rows": exported.rows,
        "bytes": len(exported.content),
        "ceiling_s": exported.ceiling_s,
    }
    if as_json:
        click.echo(json.dumps(facts, indent=1, ensure_ascii=False))
        return
    click.echo(f"{path}: {FORMATS[path.suffix]}")
    click.echo(f"{exported.columns:,} variables, {exported.rows:,} constraints")
    click.echo("The objective is the period in seconds per minibatch.")
