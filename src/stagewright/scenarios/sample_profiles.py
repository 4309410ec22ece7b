"""The sample profiles: MinkVGG16-BN measured on a CPU and carried over to three GPU types.

``python -m stagewright.scenarios.sample_profiles -o hete_files/profiles`` measures the network
where it runs, and writes the measured profile, the rates of the CPU and a predicted profile for
each of :data:`GPUS`. ``hete_files/README.md`` says what the files are good for.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stagewright.model.errors import InputError, NetworkError
from stagewright.model.files import write_files
from stagewright.model.profile import format_profile
from stagewright.model.profile_document import ProfileDocument, document_path
from stagewright.profile.devices import Device, known_device
from stagewright.profile.launch import profile
from stagewright.profile.prediction import SUFFIX, Measured, counted_work, predict
from stagewright.profile.request import Request
from stagewright.profile.transfer import Transfer
from stagewright.scenarios.models import minkvgg16_bn

if TYPE_CHECKING:
    from MinkowskiEngine import SparseTensor

GPUS = ("TitanV", "TitanXP", "RTX2080Ti")

STEM = "minkvgg"
CPU = "SampleCPU"
RATES = "sample_cpu.yaml"

CLOUDS = 32
"""Half of the published minibatch of 64: minutes of measuring, on one thread of a CPU."""

POINTS = 4_000
"""Samples of a cloud's surface; at voxel 0.02 they occupy about 2,900 voxels, the published
number of points."""

REPEATS = 5
RATE_TRIES = 5
"""Rates are ceilings, so the best of some tries counts: other programs lower each of them."""

DIGITS = 4
"""Significant digits of the rates, which differ by more than that from run to run."""


def minibatch(number: int, clouds: int = CLOUDS, points: int = POINTS) -> tuple[SparseTensor]:
    """Return ``clouds`` voxelised clouds of ``points`` points each."""
    sizes = dataclasses.replace(minkvgg16_bn.FULL, clouds=clouds, points=points)
    return minkvgg16_bn.make_input(number, sizes)


def request(clouds: int = CLOUDS, points: int = POINTS, repeats: int = REPEATS) -> Request:
    """Return what to measure: one thread, whose own time is counted, so that others do not."""
    return Request(
        model=f"{minkvgg16_bn.__name__}:{minkvgg16_bn.network.__name__}",
        input=f"stagewright.scenarios.sample_profiles:{minibatch.__name__}",
        input_arguments={"clouds": str(clouds), "points": str(points)},
        threads=1,
        repeats=repeats,
        warm_up=1,
    )


def sample_cpu(document: ProfileDocument) -> Device:
    """Measure the rates of the CPU that a profile was just measured on."""
    from stagewright.profile.cpu_rates import measure_cpu  # noqa: PLC0415 - needs torch

    tries = [measure_cpu(CPU, document.device.threads) for _ in range(RATE_TRIES)]
    return dataclasses.replace(
        tries[0],
        fp32_flop_per_s=_rounded(max(x.fp32_flop_per_s for x in tries)),
        memory_bytes_per_s=_rounded(max(x.memory_bytes_per_s for x in tries)),
        memory_bytes=document.device.memory_bytes,
    )


def _rounded(rate: float) -> float:
    return float(f"{rate:.{DIGITS}g}")


def measured_files(document: ProfileDocument, cpu: Device) -> dict[str, str]:
    """Return name to text of what was measured: profile, document, and rates of the CPU."""
    return {
        f"{STEM}.txt": format_profile(document.graph(STEM)),
        document_path(f"{STEM}.txt").name: document.dumps(),
        RATES: (
            f"# The CPU that {STEM}.txt was measured on, for stagewright profile --gpu-specs.\n"
            "gpus:\n"
            f"  {cpu.name}:\n"
            f"    kind: {cpu.kind}\n"
            f"    fp32_flop_per_s: {cpu.fp32_flop_per_s:.{DIGITS - 1}e}\n"
            f"    memory_bytes_per_s: {cpu.memory_bytes_per_s:.{DIGITS - 1}e}\n"
            f"    memory_bytes: {cpu.memory_bytes:.0f}\n"
        ),
    }


def predicted_files(document: ProfileDocument, cpu: Device) -> dict[str, str]:
    """Return name to text of what is predicted: for each GPU the profile and what it rests on.

    They are what ``stagewright profile --from`` writes, under names in small letters. The
    scaled document is left out: a single minibatch has no quantiles to plan for.
    """
    measured = Measured(document.graph(STEM), counted_work(document), document)
    files: dict[str, str] = {}
    for gpu in GPUS:
        transfer = Transfer(cpu, known_device(gpu), measured.precision)
        files |= predict(measured, transfer).files(STEM)
    kept = (".txt", SUFFIX)
    return {name.lower(): text for name, text in files.items() if name.endswith(kept)}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-o",
    "--output",
    "folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write the profiles into, all of them or none.",
)
@click.option(
    "--clouds",
    type=click.IntRange(1, 1_000),
    default=CLOUDS,
    show_default=True,
    help="Point clouds in the minibatch.",
)
@click.option(
    "--points",
    type=click.IntRange(1, 100_000),
    default=POINTS,
    show_default=True,
    help="Samples of each cloud's surface.",
)
@click.option(
    "--repeats",
    type=click.IntRange(1, 1_000),
    default=REPEATS,
    show_default=True,
    help="Steps, of which the median counts.",
)
def main(folder: Path, clouds: int, points: int, repeats: int) -> None:
    """Measure MinkVGG16-BN here, carry it over to the sample GPUs, and write the profiles."""
    try:
        document = profile(request(clouds, points, repeats), _tell, _count)
        cpu = sample_cpu(document)
        files = measured_files(document, cpu) | predicted_files(document, cpu)
        written = write_files(folder, files)
    except (InputError, NetworkError) as error:
        raise click.ClickException(str(error)) from None
    for path in written:
        click.echo(path)


def _tell(note: str) -> None:
    click.echo(f"Note: {note}.", err=True)


def _count(done: int, total: int) -> None:
    click.echo(f"measured {done} of {total} steps", err=True)


if __name__ == "__main__":
    main()
