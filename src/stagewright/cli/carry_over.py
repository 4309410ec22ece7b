"""``stagewright profile --as``: a measured profile carried over to other GPU types."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from stagewright.cli.option_types import Words
from stagewright.model.errors import InputError

if TYPE_CHECKING:
    from stagewright.model.profile_document import ProfileDocument
    from stagewright.profile.devices import Device
    from stagewright.profile.prediction import Measured, Prediction

Function = TypeVar("Function", bound=Callable[..., Any])

PRECISIONS = ("fp32", "tf32", "fp16", "bf16")
THIS_CPU = "cpu"


@dataclass(frozen=True)
class CarryOver:
    """The options of :func:`carry_over_options`."""

    targets: tuple[str, ...]
    measured: str | None
    measured_on: str | None
    as_precision: str | None
    gpu_specs: str | None


@dataclass(frozen=True)
class Known:
    """GPUs that the options name, looked up before anything is measured.

    Attributes
    ----------
    own
        Those of the user's file.
    targets
        To which profiles are carried over.
    measured_on
        Where the profile was measured, if an option says so and it is not a CPU.
    """

    own: tuple[Device, ...]
    targets: tuple[Device, ...]
    measured_on: Device | None


def carry_over_options(function: Function) -> Function:
    """Add the options that carry a profile over."""
    for decorate in reversed(
        (
            click.option(
                "--as",
                "targets",
                type=Words(),
                default=(),
                help="Predict the profile for these GPUs too, and write it beside (FILE with _GPU "
                "before the suffix). A prediction, not a measurement (docs/profile-predict.md).",
            ),
            click.option(
                "--from",
                "measured",
                type=click.Path(),
                metavar="FILE",
                help="Carry over this profile, measured earlier, instead of measuring; then -o is "
                "a folder.  [default: its own]",
            ),
            click.option(
                "--measured-on",
                metavar="GPU",
                help="Where the profile was measured, a GPU or cpu (this machine's).  [default: "
                "what its document says]",
            ),
            click.option(
                "--as-precision",
                type=click.Choice(PRECISIONS),
                help="Number format of dense layers here and there.  [default: the profile's]",
            ),
            click.option(
                "--gpu-specs",
                type=click.Path(),
                metavar="FILE",
                help="GPUs of your own for --as and --measured-on (YAML, docs/profile-predict.md).",
            ),
            click.option(
                "--list-gpus",
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_list_gpus,
                help="Print the table of known GPUs and exit.",
            ),
        )
    ):
        function = decorate(function)
    return function


def look_up(options: CarryOver) -> Known:
    """Find the GPUs that the options name.

    Raises
    ------
    InputError
        If one is not known, or the file of GPUs cannot be read.
    """
    from stagewright.profile.device_file import read_devices
    from stagewright.profile.devices import known_device

    own = () if options.gpu_specs is None else read_devices(Path(options.gpu_specs))
    targets = tuple(known_device(name, own) for name in options.targets)
    place = options.measured_on
    measured_on = None if place in {None, THIS_CPU} else known_device(str(place), own)
    return Known(own, targets, measured_on)


def carry_over_file(options: CarryOver, output: str | None, as_json: bool) -> None:
    """Carry a profile over that was measured earlier, write the predictions and print them.

    Raises
    ------
    InputError
        If the profile cannot be read, or it is not known where it was measured.
    """
    from stagewright.profile.prediction import measured_profile

    if not options.targets:
        raise InputError("--from needs --as: the GPUs to carry the profile over to")
    known = look_up(options)
    path = Path(str(options.measured))
    measured = measured_profile(path)
    target = (path.parent if output is None else Path(output)) / path.name
    predictions = _predictions(measured, options, known, target)
    if as_json:
        click.echo(json.dumps([x.data() for x in predictions], indent=1, allow_nan=False))
    else:
        show(predictions, target)


def carry_over_document(
    document: ProfileDocument, options: CarryOver, known: Known, path: Path
) -> list[Prediction]:
    """Carry over what was just measured and written to ``path``."""
    from stagewright.profile.prediction import Measured, counted_work

    if not known.targets:
        return []
    measured = Measured(document.graph(path.stem), counted_work(document), document)
    return _predictions(measured, options, known, path)


def _predictions(
    measured: Measured, options: CarryOver, known: Known, path: Path
) -> list[Prediction]:
    """Predict for every target, write the files beside ``path``, and say what they are."""
    from stagewright.model.files import write_files
    from stagewright.profile.devices import Precision
    from stagewright.profile.prediction import predict
    from stagewright.profile.transfer import Transfer

    source = _source(measured, options, known)
    precision = Precision(options.as_precision or measured.precision)
    predictions = [
        predict(measured, Transfer(source, target, precision)) for target in known.targets
    ]
    files: dict[str, str] = {}
    for prediction in predictions:
        files |= prediction.files(path.stem)
    write_files(path.parent, files)
    work = "estimated from its descriptions" if measured.document is None else "counted"
    click.echo(
        f"Note: predictions, not measurements: {path.name}, measured on {source.name}, carried "
        f"over by datasheet figures and the work of its layers, which was {work}. How far off "
        "that may be: docs/profile-predict.md.",
        err=True,
    )
    if held_up := sorted({node for x in predictions for node in x.disturbed}):
        click.echo(
            f"Note: {', '.join(held_up)} took much longer than equal layers on tensors of the same "
            "size, and is carried over as if it had not. Better measure again.",
            err=True,
        )
    return predictions


def show(predictions: list[Prediction], path: Path) -> None:
    """Print one line for each prediction."""
    for prediction in predictions:
        before_ms, after_ms = prediction.measured.graph.total_ms, prediction.graph.total_ms
        name = f"{path.stem}_{prediction.transfer.target.name}.txt"
        click.echo(
            f"Predicted for {prediction.transfer.target.name}: {after_ms:.2f} ms for the "
            f"{before_ms:.2f} ms measured, {path.parent / name}"
        )


def _source(measured: Measured, options: CarryOver, known: Known) -> Device:
    """Return where the profile was measured."""
    if known.measured_on is not None:
        return known.measured_on
    document = measured.document
    if options.measured_on == THIS_CPU:
        return _this_cpu(None if document is None else document.device.threads)
    if document is None:
        raise InputError(
            "the profile does not say where it was measured",
            source=options.measured,
            hint="Name the GPU with --measured-on",
        )
    if document.device.kind == "cuda":
        from stagewright.profile.devices import known_device

        return known_device(document.device.name, known.own)
    here = _this_cpu(document.device.threads)
    if here.name != document.device.name:
        raise InputError(
            f"it was measured on '{document.device.name}', and this machine has '{here.name}'",
            source=options.measured,
            hint="Carry it over where it was measured, or describe that CPU with --gpu-specs and "
            "name it with --measured-on",
        )
    return here


def _this_cpu(threads: int | None) -> Device:
    try:
        import torch

        from stagewright.profile.cpu_rates import measure_cpu
        from stagewright.profile.machine import describe_device
    except ImportError:
        raise InputError(
            "the rates of a CPU are measured with torch, which is not installed",
            hint="pip install 'stagewright[torch]'",
        ) from None
    name = describe_device(torch.device("cpu")).name
    return measure_cpu(name, threads or torch.get_num_threads())


def _list_gpus(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from rich.console import Console
    from rich.table import Table

    from stagewright.profile.devices import DEVICES, Precision

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("GPU")
    headings = (*(f"{x} TFLOP/s" for x in PRECISIONS), "memory GB/s", "GB", "NVLink GB/s", "PCIe")
    for heading in headings:
        table.add_column(heading, justify="right")
    for x in DEVICES:
        peaks = (x.flop_per_s(Precision(one)) / 1e12 for one in PRECISIONS)
        sizes = (x.memory_bytes_per_s, x.memory_bytes, x.nvlink_bytes_per_s, x.pcie_bytes_per_s)
        figures = (*peaks, *(size / 1e9 for size in sizes))
        table.add_row(x.name, *("-" if figure == 0 else f"{figure:g}" for figure in figures))
    Console(width=110, highlight=False).print(table)
    context.exit()
