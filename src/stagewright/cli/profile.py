"""``stagewright profile``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stagewright.cli.carry_over import (
    CarryOver,
    carry_over_document,
    carry_over_file,
    carry_over_options,
    look_up,
    show,
)
from stagewright.cli.network import Network, measure_network, network_options
from stagewright.cli.option_types import Command
from stagewright.cli.options import json_option, take
from stagewright.model.errors import InputError

if TYPE_CHECKING:
    from stagewright.model.profile_document import ProfileDocument
    from stagewright.profile.prediction import Prediction
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
@click.argument("model", required=False, metavar="MODULE:FACTORY")
@click.option(
    "--input",
    "factory",
    metavar="MODULE:FACTORY",
    help="Makes one minibatch: a tensor, a sparse tensor, a tuple or a dictionary of them. Is "
    "called with the number of the minibatch if it takes an argument.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(),
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
    "--shared-core",
    is_flag=True,
    help="With --threads 1: another program uses this core all the time, so charge each layer its "
    "share of the real time.",
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
@carry_over_options
@network_options
@json_option
def profile_command(
    model: str | None,
    factory: str | None,
    output: str | None,
    arguments: tuple[tuple[str, str], ...],
    input_arguments: tuple[tuple[str, str], ...],
    minibatches: int,
    repeats: int,
    warm_up: int,
    device: str,
    threads: int | None,
    shared_core: bool,
    precision: Precision,
    layers: tuple[str, ...],
    seed: int,
    as_json: bool,
    **values: Any,
) -> None:
    """Measure a network where it runs, layer by layer.

    Calls the factory, runs the network on one or more minibatches in a process of its own, and
    writes the layer graph with forward and backward times, activation and parameter bytes. MODULE
    is a module of the working directory or a file. Runs the code that it names.

    \b
    stagewright profile model:build --input data:minibatch -o graph.txt
    stagewright profile nets/model.py:Net --arg width=32 --input data:clouds -o graph.txt
    stagewright profile --from graph.txt --measured-on V100 --as A100,H100
    stagewright profile --network --cluster cluster.yaml -o measured.yaml
    """
    carrying: CarryOver = take(CarryOver, values)
    network: Network = take(Network, values)
    if network.network:
        if model is not None or factory is not None or carrying.measured is not None:
            raise InputError("--network measures links alone: leave MODULE:FACTORY and --from out")
        measure_network(network, device, repeats, warm_up, output, as_json)
        return
    if network.cluster is not None or network.cores is not None:
        raise InputError("--cluster and --cores go with --network, which measures links")
    if carrying.measured is not None:
        if model is not None or factory is not None:
            raise InputError("--from carries over what was measured: leave MODULE:FACTORY out")
        carry_over_file(carrying, output, as_json)
        return
    if model is None or factory is None or output is None:
        raise InputError(
            "measuring needs MODULE:FACTORY, --input and -o",
            hint="To carry over a profile that was measured earlier, name it with --from",
        )
    known = look_up(carrying)
    from stagewright.profile.launch import profile
    from stagewright.profile.request import Request

    request = Request(
        model=model,
        input=factory,
        arguments=dict(arguments),
        input_arguments=dict(input_arguments),
        device=device,
        threads=threads,
        shared_core=shared_core,
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
    path = Path(output)
    written = write_profile(document, path)
    predictions = carry_over_document(document, carrying, known, path)
    if as_json:
        click.echo(_data(document, predictions), nl=False)
        return
    _show(document, written)
    show(predictions, path)


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


def _data(document: ProfileDocument, predictions: list[Prediction]) -> str:
    """Return the document, and the predictions beside it where any were asked for."""
    if not predictions:
        return document.dumps()
    beside = json.dumps([x.data() for x in predictions], ensure_ascii=False, allow_nan=False)
    return f'{{"profile": {document.dumps()}, "predictions": {beside}}}\n'


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
