"""``stagewright profile``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stagewright.cli.option_types import Command
from stagewright.cli.options import json_option

if TYPE_CHECKING:
    from stagewright.model.profile_document import ProfileDocument
    from stagewright.profile.request import Precision

PRECISIONS = ("as-made", "float32", "float64", "float16", "bfloat16")


class Argument(click.ParamType[tuple[str, str]]):
    """``NAME=VALUE``: an argument of a factory."""

    name = "NAME=VALUE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Split at the first ``=``."""
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not equals or not name.isidentifier():
            self.fail(f"'{value}' is not NAME=VALUE, such as width=8", param, ctx)
        return name, text


@click.command("profile", cls=Command)
@click.argument("model", metavar="MODULE:FACTORY")
@click.option(
    "--input",
    "factory",
    required=True,
    metavar="MODULE:FACTORY",
    help="Makes one minibatch: a tensor, a sparse tensor, a tuple or a dictionary of them. Is "
    "called with the number of the minibatch if it takes an argument.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Profile text to write; everything that was measured goes beside it (FILE with the "
    "suffix .profile.json).",
)
@click.option(
    "--arg",
    "arguments",
    multiple=True,
    type=Argument(),
    help="Argument of the network's factory, a literal.",
)
@click.option(
    "--input-arg",
    "input_arguments",
    multiple=True,
    type=Argument(),
    help="Argument of the input's factory, a literal.",
)
@click.option(
    "--minibatches",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    metavar="N",
    help="Measure over so many minibatches; the text has the mean of each time, and "
    "plan --quantile plans for a percentile.",
)
@click.option(
    "--repeats",
    type=click.IntRange(1, 10_000),
    default=10,
    show_default=True,
    metavar="N",
    help="Steps on each minibatch, of which the median counts.",
)
@click.option(
    "--warm-up",
    type=click.IntRange(0, 10_000),
    default=3,
    show_default=True,
    metavar="N",
    help="Steps on each minibatch before those.",
)
@click.option(
    "--device", default="cpu", show_default=True, help="Where to run: cpu, cuda or cuda:N."
)
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Threads of the CPU to compute with.  [default: all; 1 counts only the time that the "
    "thread had]",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default=PRECISIONS[0],
    show_default=True,
    help="Change weights and inputs to this type first.",
)
@click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="CLASS",
    help="Measure modules of this class of yours as one layer; emit reads it with --layers.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    show_default=True,
    metavar="N",
    help="Of weights, inputs and dropout.",
)
@json_option
def profile_command(
    model: str,
    factory: str,
    output: str,
    arguments: tuple[tuple[str, str], ...],
    input_arguments: tuple[tuple[str, str], ...],
    minibatches: int,
    repeats: int,
    warm_up: int,
    device: str,
    threads: int | None,
    precision: Precision,
    layers: tuple[str, ...],
    seed: int,
    as_json: bool,
) -> None:
    """Measure a network where it runs, layer by layer.

    Calls the factory, runs the network on one or more minibatches in a process of its own, and
    writes the layer graph with forward and backward times, activation and parameter bytes. MODULE
    is a module of the working directory or a file. Runs the code that it names.

    \b
    stagewright profile model:build --input data:minibatch -o graph.txt
    stagewright profile nets/model.py:Net --arg width=32 --input data:clouds -o graph.txt
    """
    from stagewright.profile.launch import profile
    from stagewright.profile.request import Request

    request = Request(
        model=model,
        input=factory,
        arguments=dict(arguments),
        input_arguments=dict(input_arguments),
        device=device,
        threads=threads,
        repeats=repeats,
        warm_up=warm_up,
        minibatches=minibatches,
        precision=precision,
        layers=layers,
        seed=seed,
    )
    with _bar() as on_progress:
        document = profile(
            request, lambda text: click.echo(f"Note: {text}.", err=True), on_progress
        )
    written = write_profile(document, Path(output))
    if as_json:
        click.echo(document.dumps(), nl=False)
        return
    _show(document, written)


def write_profile(document: ProfileDocument, path: Path) -> list[Path]:
    """Write the profile text and the document beside it, both or none."""
    from stagewright.model.files import write_files
    from stagewright.model.profile import format_profile
    from stagewright.model.profile_document import document_path

    return write_files(
        path.parent,
        {
            path.name: format_profile(document.graph(path.stem)),
            document_path(path).name: document.dumps(),
        },
    )


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """Show on stderr, if that is a terminal, how far the measuring is."""
    if not sys.stderr.isatty():
        yield lambda done, total: None  # noqa: ARG005 - nobody looks
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with RichProgress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("finding layers", total=None)
        yield lambda done, total: bar.update(
            task, completed=done, total=total, description="measuring"
        )


def _show(document: ProfileDocument, written: list[Path]) -> None:
    step, device = document.step, document.device
    threads = f", {device.threads} threads" if device.kind == "cpu" else ""
    points = document.inputs[0][0].points
    what = f"{points.clouds} clouds of {points.mean:,.0f} points" if points else str(document.batch)
    click.echo(
        f"{len(document.nodes)} nodes, {len(document.edges)} edges "
        f"({document.measurement.capture}), on {device.name}{threads}, {document.precision}, "
        f"batch {what}."
    )
    click.echo(
        f"One step: {step.total_ms:.2f} ms (forward {step.forward_ms:.2f}, backward "
        f"{step.backward_ms:.2f}); sum of the layers {step.layers_ms:.2f} ms, ratio "
        f"{step.ratio:.3f}."
    )
    click.echo(f"Written: {', '.join(map(str, written))}")
