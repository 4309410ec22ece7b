"""From what was measured on each minibatch to the document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stagewright.model.profile_document import InputTensor, Node, Pass, Points, WholeStep
from stagewright.profile.counting import Count
from stagewright.profile.measure import Times
from stagewright.profile.nodes import Node as GraphNode
from stagewright.profile.values import at, features, is_sparse, parts, parts_bytes, tensor_bytes

P95 = 0.95
NOTHING = Count()


@dataclass(frozen=True)
class Minibatch:
    """One minibatch: what came in, what every layer gave (bytes), its times and its counts."""

    inputs: tuple[InputTensor, ...]
    batch: int
    activation_bytes: tuple[tuple[float, ...], ...]
    times: Times
    counts: tuple[Count, ...]


def activations(nodes: Sequence[GraphNode], values: Sequence[Any]) -> tuple[tuple[float, ...], ...]:
    """Return the bytes of each node's outputs, given the values of a replay."""
    return tuple(
        (0.0,) if x.value is None else parts_bytes(at(values[x.value.call], x.value.path))
        for x in nodes
    )


def describe_inputs(inputs: Any) -> tuple[InputTensor, ...]:
    """Return what one minibatch is made of."""
    return tuple(_described(value) for _, value in parts(inputs))


def batch_size(inputs: Any) -> int:
    """Return the samples of a minibatch: clouds, or the length of the first dimension."""
    first = next(value for _, value in parts(inputs))
    if is_sparse(first):
        return _points(first.C).clouds
    return int(first.shape[0]) if first.dim() else 1


def _described(value: Any) -> InputTensor:
    rows = features(value)
    size = tensor_bytes(rows) + (tensor_bytes(value.C) if is_sparse(value) else 0)
    return InputTensor(
        kind="sparse" if is_sparse(value) else "dense",
        shape=tuple(rows.shape),
        dtype=str(rows.dtype).removeprefix("torch."),
        bytes=size,
        points=_points(value.C) if is_sparse(value) else None,
    )


def _points(coordinates: torch.Tensor) -> Points:
    counts = torch.bincount(coordinates[:, 0].cpu().long())
    counts = counts[counts > 0]
    return Points(
        clouds=len(counts),
        mean=float(counts.float().mean()),
        smallest=int(counts.min()),
        largest=int(counts.max()),
    )


def document_nodes(nodes: Sequence[GraphNode], runs: Sequence[Minibatch]) -> tuple[Node, ...]:
    """Return the nodes with all their figures."""
    found = []
    for position, node in enumerate(nodes):
        sizes = np.array([run.activation_bytes[position] for run in runs])
        found.append(
            Node(
                id=node.id,
                description=node.description,
                name=node.name,
                activation_bytes=tuple(float(x) for x in sizes.mean(axis=0)),
                activation_minibatches_bytes=tuple(float(x) for x in sizes.sum(axis=1)),
                parameter_bytes=node.parameter_bytes,
                forward=_pass(node, [run.times.forward_ms for run in runs], runs, "forward"),
                backward=_pass(node, [run.times.backward_ms for run in runs], runs, "backward"),
                problem=node.problem,
            )
        )
    return tuple(found)


def _pass(
    node: GraphNode,
    times: Sequence[NDArray[np.float64]],
    runs: Sequence[Minibatch],
    direction: str,
) -> Pass:
    counts = [NOTHING if node.call is None else run.counts[node.call] for run in runs]
    columns = [np.zeros(1) if node.call is None else x[:, node.call] for x in times]
    medians = [float(np.median(x)) for x in columns]
    spreads = [float(np.subtract(*np.quantile(x, (0.75, 0.25)))) for x in columns]
    return Pass(
        median_ms=float(np.mean(medians)),
        spread_ms=float(np.mean(spreads)),
        p95_ms=float(np.quantile(medians, P95)),
        minibatches_ms=tuple(medians),
        flops=float(np.mean([getattr(x, f"{direction}_flops") for x in counts])),
        bytes=float(np.mean([getattr(x, f"{direction}_bytes") for x in counts])),
    )


def whole_step(nodes: Sequence[Node], runs: Sequence[Minibatch]) -> WholeStep:
    """Return the whole network's step beside the sum of its layers."""
    totals = [run.times.step_forward_ms + run.times.step_backward_ms for run in runs]
    return WholeStep(
        forward_ms=float(np.mean([np.median(run.times.step_forward_ms) for run in runs])),
        backward_ms=float(np.mean([np.median(run.times.step_backward_ms) for run in runs])),
        total_ms=float(np.mean([np.median(x) for x in totals])),
        spread_ms=float(np.mean([np.subtract(*np.quantile(x, (0.75, 0.25))) for x in totals])),
        layers_ms=sum(x.forward.median_ms + x.backward.median_ms for x in nodes),
    )
