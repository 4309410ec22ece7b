"""Sample profiles of MinkVGG16-BN, derived from datasheets with a roofline; not measured.

A layer takes ``max(flops / attainable flop/s, bytes / attainable bytes/s)``
(:mod:`stagewright.profile.roofline`) plus a fixed time per kernel launch.
``python -m stagewright.scenarios.roofline -o hete_files/profiles`` writes one profile per GPU
type; ``hete_files/README.md`` tables the assumptions.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import click

from stagewright.model.errors import InputError
from stagewright.model.files import write_files
from stagewright.model.graph import Layer, LayerGraph
from stagewright.model.profile import format_profile
from stagewright.profile.devices import Device, known_device
from stagewright.profile.roofline import Rates, Work, roof_s
from stagewright.scenarios.minkvgg import (
    FLOAT_BYTES,
    KERNEL_VOLUME,
    Clouds,
    Kind,
    MinkLayer,
    minkvgg16_bn,
)

COMPUTE_EFFICIENCY = 0.25
BANDWIDTH_EFFICIENCY = 0.7
LAUNCH_S = 5e-6


GPUS = tuple(known_device(name) for name in ("TitanV", "TitanXP", "RTX2080Ti"))


@dataclass(frozen=True, slots=True)
class Launched:
    """What one pass through a layer does on any GPU, and in how many kernels."""

    work: Work
    launches: int

    def times(self, factor: int) -> Launched:
        """Return the work of ``factor`` such passes."""
        return Launched(self.work.times(factor), factor * self.launches)

    def time_ms(self, gpu: Device) -> float:
        """Milliseconds on ``gpu``, rounded to microseconds."""
        attained = Rates(
            COMPUTE_EFFICIENCY * gpu.fp32_flop_per_s,
            BANDWIDTH_EFFICIENCY * gpu.memory_bytes_per_s,
        )
        return round(1000 * (roof_s(self.work, attained) + self.launches * LAUNCH_S), 3)


_PASSES = {
    Kind.BATCH_NORM: (3, 5),
    Kind.RELU: (2, 3),
    Kind.DROPOUT: (3, 3),
    Kind.MAX_POOLING: (2, 2),
    Kind.GLOBAL_MAX_POOLING: (2, 2),
}
"""Times that features are read or written in the (forward, backward) pass."""


def work(layer: MinkLayer, clouds: Clouds) -> tuple[Launched, Launched]:
    """Return the forward and the backward work of a layer.

    Layers with a weight matrix need two matrix products backward, for the gradients of the
    input and of the weights, and so work twice as much as forward.
    """
    if layer.kind is Kind.INPUT:
        return Launched(Work(), 0), Launched(Work(), 0)
    if layer.kind is Kind.CONVOLUTION:
        forward = _convolution(layer, clouds)
        return forward, forward.times(2)
    if layer.kind is Kind.LINEAR:
        forward = _linear(layer, clouds)
        return forward, forward.times(2)
    mean_bytes = (clouds.feature_bytes(layer.source) + clouds.feature_bytes(layer.target)) / 2
    launches = 2 if layer.kind is Kind.BATCH_NORM else 1
    ahead, back = _PASSES[layer.kind]
    return (
        Launched(Work(0, ahead * mean_bytes), launches),
        Launched(Work(0, back * mean_bytes), launches),
    )


def _convolution(layer: MinkLayer, clouds: Clouds) -> Launched:
    """Gather, multiply and scatter-add, one after the other for each offset of the kernel.

    For each pair of the kernel map, gathering reads and writes a row of input features, the
    product reads it and writes a row of output features, and scatter-add reads that row,
    and reads and writes the row it adds it to.
    """
    stride = layer.source.stride
    if stride is None:
        raise ValueError("a sparse convolution needs voxels")
    pairs = clouds.voxels(stride) * clouds.neighbours(stride)
    into, out = layer.source.channels, layer.target.channels
    moved = pairs * (3 * into + 4 * out) * FLOAT_BYTES + layer.parameter_bytes
    return Launched(Work(2 * pairs * into * out, moved), 3 * KERNEL_VOLUME)


def _linear(layer: MinkLayer, clouds: Clouds) -> Launched:
    rows = clouds.rows(layer.source)
    moved = (
        clouds.feature_bytes(layer.source)
        + clouds.feature_bytes(layer.target)
        + layer.parameter_bytes
    )
    return Launched(Work(2 * rows * layer.source.channels * layer.target.channels, moved), 1)


def derive_profile(gpu: Device, clouds: Clouds | None = None) -> LayerGraph:
    """Return MinkVGG16-BN as a chain of layers with the times that ``gpu`` would take."""
    clouds = clouds or Clouds()
    layers = []
    for number, layer in enumerate(minkvgg16_bn(), start=1):
        forward, backward = work(layer, clouds)
        layers.append(
            Layer(
                id=f"node{number}",
                description=layer.description,
                forward_ms=forward.time_ms(gpu),
                backward_ms=backward.time_ms(gpu),
                activation_parts_bytes=(float(clouds.activation_bytes(layer.target)),),
                parameter_bytes=float(layer.parameter_bytes),
            )
        )
    edges = tuple((u.id, v.id) for u, v in pairwise(layers))
    return LayerGraph(tuple(layers), edges, f"minkvgg_{gpu.name.lower()}")


def profile_files() -> dict[str, str]:
    """Return file name to profile text, one for each of :data:`GPUS`."""
    graphs = [derive_profile(gpu) for gpu in GPUS]
    return {f"{graph.name}.txt": format_profile(graph) for graph in graphs}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-o",
    "--output",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder to write the profiles into.",
)
def main(folder: Path) -> None:
    """Derive MinkVGG16-BN's profile for each sample GPU type and write them as text."""
    try:
        written = write_files(folder, profile_files())
    except InputError as error:
        raise click.UsageError(str(error)) from None
    for path in written:
        click.echo(path)


if __name__ == "__main__":
    main()
