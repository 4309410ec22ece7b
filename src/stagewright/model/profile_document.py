"""What ``stagewright profile`` writes beside the profile text: everything it measured.

Schema ``stagewright.profile/1``, in a file beside the text: ``graph.txt`` has
``graph.profile.json``. Planning needs it only for ``--quantile``.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stagewright.model.boundary import Bytes, Milliseconds, first_error
from stagewright.model.errors import InputError
from stagewright.model.files import is_file, read_text
from stagewright.model.graph import Layer, LayerGraph

SUFFIX = ".profile.json"

Name = Annotated[str, Field(max_length=4_000)]
Count = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Pass(_Part):
    """One direction through a layer.

    Attributes
    ----------
    median_ms
        Median over the repeats, averaged over the minibatches: what the profile text says.
    spread_ms
        Distance from the first to the third quartile of the repeats, averaged likewise.
    p95_ms
        95th percentile over the minibatches.
    minibatches_ms
        Median over the repeats, for each minibatch.
    flops, bytes
        Operations of products and bytes moved, averaged over the minibatches.
    """

    median_ms: Milliseconds
    spread_ms: Milliseconds
    p95_ms: Milliseconds
    minibatches_ms: tuple[Milliseconds, ...]
    flops: Count
    bytes: Count


class Node(_Part):
    """One node: what the profile text says of it, and more.

    Attributes
    ----------
    id, description, parameter_bytes
        As in the profile text.
    name
        Path of the module in the network, or the name of the function.
    activation_bytes
        Bytes of each output, averaged over the minibatches.
    activation_minibatches_bytes
        Their sum, for each minibatch.
    forward, backward
        The two passes.
    problem
        Why no code can be written from the description, or "".
    """

    id: Name
    description: Name
    name: Name = ""
    activation_bytes: tuple[Bytes, ...]
    activation_minibatches_bytes: tuple[Bytes, ...]
    parameter_bytes: Bytes
    forward: Pass
    backward: Pass
    problem: Name = ""


class Points(_Part):
    """Points per cloud of a sparse input, voxels that are one row each."""

    clouds: int
    mean: Count
    smallest: int
    largest: int


class InputTensor(_Part):
    """One input of one minibatch."""

    kind: Literal["dense", "sparse"]
    shape: tuple[int, ...]
    dtype: Name
    bytes: Bytes
    points: Points | None = None


class Device(_Part):
    """Where it was measured."""

    kind: Literal["cpu", "cuda"]
    name: Name
    threads: int
    memory_bytes: Bytes


class Measurement(_Part):
    """How it was measured.

    Attributes
    ----------
    capture
        How the layers were found.
    clock
        ``thread`` (time that the one thread ran), ``wall``, or ``cuda-events``.
    warm_up, repeats, minibatches
        How often.
    overhead_forward_ms, overhead_backward_ms
        What it costs to run a layer alone; taken off every time.
    """

    capture: Name
    clock: Literal["thread", "shared", "wall", "cuda-events"]
    warm_up: int
    repeats: int
    minibatches: int
    overhead_forward_ms: Milliseconds
    overhead_backward_ms: Milliseconds


class WholeStep(_Part):
    """The whole network's step, measured in the same run, beside the sum of its layers.

    Medians over the repeats, averaged over the minibatches, in milliseconds.
    """

    forward_ms: Milliseconds
    backward_ms: Milliseconds
    total_ms: Milliseconds
    spread_ms: Milliseconds
    layers_ms: Milliseconds

    @property
    def ratio(self) -> float:
        """Sum of the layers over the whole step."""
        return self.layers_ms / self.total_ms if self.total_ms else float("nan")


class ProfileDocument(_Part):
    """Everything that was measured.

    Attributes
    ----------
    model, input
        ``MODULE:FACTORY`` of the network and of its input.
    arguments, input_arguments
        What the factories were called with, as text.
    precision
        Type of the weights, such as ``float32``.
    batch
        Samples in a minibatch: rows of the first dense input, or clouds.
    inputs
        For each minibatch, its tensors.
    nodes, edges
        The layer graph.
    shared
        Groups of nodes with the same weights, which have to lie in one stage.
    predicted_from
        Device on which it was measured, if the times were carried over from another; else "".
    """

    schema_: Literal["stagewright.profile/1"] = Field("stagewright.profile/1", alias="schema")
    model: Name
    input: Name
    arguments: dict[str, Name] = {}
    input_arguments: dict[str, Name] = {}
    device: Device
    versions: dict[str, Name]
    precision: Name
    batch: int
    inputs: tuple[tuple[InputTensor, ...], ...]
    measurement: Measurement
    step: WholeStep
    nodes: tuple[Node, ...]
    edges: tuple[tuple[Name, Name], ...]
    shared: tuple[tuple[Name, ...], ...] = ()
    predicted_for: Name = ""
    predicted_from: Name = ""

    @model_validator(mode="after")
    def _has_nodes(self) -> Self:
        if not self.nodes:
            raise ValueError("there are no nodes")
        return self

    def graph(self, name: str = "graph") -> LayerGraph:
        """Return the layer graph as the profile text has it: times and sizes to six digits."""
        layers = tuple(
            Layer(
                x.id,
                x.description,
                round(x.forward.median_ms, 6),
                round(x.backward.median_ms, 6),
                tuple(round(part, 1) for part in x.activation_bytes),
                x.parameter_bytes,
            )
            for x in self.nodes
        )
        return LayerGraph(layers, self.edges, name)

    def dumps(self) -> str:
        """Return the document as JSON text."""
        return self.model_dump_json(by_alias=True, indent=1) + "\n"


def document_path(profile: str | Path) -> Path:
    """Return where the document of a profile text lies.

    >>> document_path("runs/graph.txt").name
    'graph.profile.json'
    """
    return Path(profile).with_suffix(SUFFIX)


def read_profile_document(path: Path) -> ProfileDocument:
    """Read a document.

    Raises
    ------
    InputError
        If it cannot be read or does not follow the schema.
    """
    text = read_text(path, "profile document")
    try:
        return ProfileDocument.model_validate_json(text)
    except ValidationError as error:
        place, message = first_error(error)
        raise InputError(f"{place} {message}".strip(), source=path) from None


def at_quantile(graph: LayerGraph, profile: Path, quantile: float) -> LayerGraph:
    """Return a profile with the times and activations of a quantile of its minibatches.

    Parameters
    ----------
    graph
        As the profile text has it.
    profile
        Path of the profile text; its document lies beside it.
    quantile
        From 0 to 1; between two minibatches it is interpolated.

    Raises
    ------
    InputError
        If there is no document, it was measured on one minibatch only, or it belongs to other
        layers.
    """
    path = document_path(profile)
    if not is_file(path):
        raise InputError(
            f"a quantile needs '{path.name}' beside the profile, and it is not there",
            source=profile,
            hint="Measure with stagewright profile --minibatches N",
        )
    document = read_profile_document(path)
    nodes = {x.id: x for x in document.nodes}
    if [x.id for x in graph.layers] != list(nodes):
        raise InputError(
            f"its layers are not those of {profile.name}", source=path, hint="Measure again"
        )
    if document.measurement.minibatches < 2:
        raise InputError(
            "it was measured on one minibatch, which has no quantiles",
            source=path,
            hint="Measure with stagewright profile --minibatches N",
        )
    layers = tuple(_layer_at(x, nodes[x.id], quantile) for x in graph.layers)
    return dataclasses.replace(graph, layers=layers)


def _layer_at(layer: Layer, node: Node, quantile: float) -> Layer:
    total = float(np.quantile(node.activation_minibatches_bytes, quantile))
    mean = layer.activation_bytes
    scale = total / mean if mean else 0.0
    return dataclasses.replace(
        layer,
        forward_ms=float(np.quantile(node.forward.minibatches_ms, quantile)),
        backward_ms=float(np.quantile(node.backward.minibatches_ms, quantile)),
        activation_parts_bytes=tuple(part * scale for part in layer.activation_parts_bytes),
    )
