"""``stagewright verify``."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from typing import TYPE_CHECKING, Any

import click

from stagewright.cli.extensions import import_user_module, layers_option, load_factory
from stagewright.cli.options import Command, json_option

if TYPE_CHECKING:
    from stagewright.emit.verify import Precision, VerifyReport

EXIT_DIFFERENT = 1


@click.command("verify", cls=Command)
@click.argument("folder", type=click.Path(), metavar="DIR")
@click.option(
    "--input",
    "factory",
    metavar="MODULE:FUNCTION",
    help="Makes one minibatch, a sequence of the network's inputs.  [default: random]",
)
@click.option(
    "--precision",
    type=click.Choice(("float64", "float32")),
    default="float64",
    show_default=True,
    help="What to compute in; in float64 rounding cannot hide a mistake.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Of weights, inputs and dropout."
)
@layers_option
@json_option
def verify_command(
    folder: str,
    factory: str | None,
    precision: Precision,
    seed: int,
    layer_modules: tuple[str, ...],
    as_json: bool,
) -> int:
    """Prove a written package equal to the unsplit network.

    Runs both forward and backward on the same minibatch with the same weights and compares
    outputs, loss, the gradient of every parameter and the batch-norm statistics. Imports and
    runs the package DIR. Exits with 1 if anything differs.

    \b
    stagewright verify models/minkvgg
    """
    from stagewright.emit.verify import verify_package

    for module in layer_modules:
        import_user_module(module)
    inputs = None if factory is None else load_factory(factory)
    report = verify_package(folder, inputs=inputs, precision=precision, seed=seed)
    if as_json:
        click.echo(json.dumps(_data(report), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        _show(report)
    return 0 if report.equal else EXIT_DIFFERENT


def _data(report: VerifyReport) -> dict[str, Any]:
    first = report.first_difference
    return {
        "equal": report.equal,
        "first_difference": None if first is None else _plain(dataclasses.asdict(first)),
        "reference_loss": report.reference_loss,
        "loss": report.loss,
        "tolerance": report.tolerance,
        "stages": [_plain(dataclasses.asdict(row)) for row in report.stages],
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row without infinities, which JSON lacks; they stand for 'not comparable'."""
    return {key: None if isinstance(x, float) and math.isinf(x) else x for key, x in row.items()}


def _show(report: VerifyReport) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 110, highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("stage", "layers", "parameters", "tensors", "equal bits", "largest difference"):
        table.add_column(name, justify="right")
    table.add_column("")
    for row in report.stages:
        table.add_row(
            str(row.stage),
            f"{row.layers:,}",
            f"{row.parameters:,}",
            f"{row.compared:,}",
            f"{row.bitwise:,}",
            "0" if row.largest_difference == 0 else f"{row.largest_difference:.1e}",
            "equal" if row.equal else "[bold red]DIFFERENT[/]",
        )
    console.print(table)
    console.print(f"\nLoss: unsplit {report.reference_loss:.12g}, stages {report.loss:.12g}.")
    first = report.first_difference
    if first is None:
        console.print(
            "[bold]Equal[/]: outputs, loss, gradients and statistics "
            f"(largest relative difference allowed: {report.tolerance:g})."
        )
    else:
        console.print(
            f"[bold red]Different[/], first in stage {first.stage}: {escape(first.what)} "
            f"{escape(first.problem)}."
        )
