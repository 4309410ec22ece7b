"""Predicted profiles as files: the profile text, and beside it what says that it is a prediction.

``graph.txt`` carried over to a V100 gives ``graph_V100.txt``, ``graph_V100.prediction.json``
(schema ``stagewright.prediction/1``) and, if ``graph.txt`` has its document beside it,
``graph_V100.profile.json``, so that quantiles can be planned for.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stagewright.model.errors import InputError
from stagewright.model.files import is_file
from stagewright.model.graph import LayerGraph
from stagewright.model.profile import format_profile, read_profile
from stagewright.model.profile_document import (
    Pass,
    ProfileDocument,
    document_path,
    read_profile_document,
)
from stagewright.profile.devices import Precision
from stagewright.profile.roofline import Work
from stagewright.profile.transfer import Transfer, carry_over, disturbed
from stagewright.profile.work import LayerWork, estimate_work, on_chip

SCHEMA = "stagewright.prediction/1"
SUFFIX = ".prediction.json"
DECIMALS = 6
"""Predicted milliseconds are written to the nanosecond."""

FORMATS = {
    "float32": Precision.FP32,
    "float16": Precision.FP16,
    "bfloat16": Precision.BF16,
}


@dataclass(frozen=True)
class Measured:
    """A measured profile and what its layers do.

    Attributes
    ----------
    graph
        The profile.
    works
        Work of every layer, by node.
    document
        What was measured beside the times; without one the work is estimated.
    """

    graph: LayerGraph
    works: Mapping[str, LayerWork]
    document: ProfileDocument | None = None

    @property
    def precision(self) -> Precision:
        """Number format that the network was measured in; FP32 if nothing else is known."""
        name = "float32" if self.document is None else self.document.precision
        return FORMATS.get(name, Precision.FP32)


@dataclass(frozen=True)
class Prediction:
    """A profile carried over to another GPU type."""

    measured: Measured
    transfer: Transfer
    graph: LayerGraph

    def files(self, stem: str) -> dict[str, str]:
        """Return name to text of the files to write; all begin with ``stem`` and the GPU."""
        name = f"{stem}_{self.transfer.target.name}"
        files = {
            f"{name}.txt": format_profile(self.graph),
            f"{name}{SUFFIX}": json.dumps(self.data(), indent=1, ensure_ascii=False) + "\n",
        }
        if self.measured.document is not None:
            files[document_path(f"{name}.txt").name] = self._document(self.measured.document)
        return files

    @property
    def disturbed(self) -> tuple[str, ...]:
        """Layers whose measured times stand out, so that other times were carried over."""
        same = self.transfer.source == self.transfer.target
        return () if same else tuple(disturbed(self.measured.graph))

    def data(self) -> dict[str, Any]:
        """Return what the prediction rests on, as plain data."""
        transfer, before = self.transfer, self.measured.graph
        return {
            "schema": SCHEMA,
            "predicted": True,
            "gpu": transfer.target.name,
            "measured_on": transfer.source.name,
            "profile": before.name,
            "method": "roofline",
            "work": "estimated" if self.measured.document is None else "counted",
            "precision": str(transfer.precision),
            "attainable": transfer.attainable,
            "disturbed": list(self.disturbed),
            "measured_ms": before.total_ms,
            "predicted_ms": self.graph.total_ms,
            "source": _figures(transfer, "source"),
            "target": _figures(transfer, "target"),
            "nodes": [self._node(layer.id) for layer in before.layers],
        }

    def _node(self, node: str) -> dict[str, Any]:
        layer, work = self.measured.graph.by_id[node], self.measured.works[node]
        predicted = self.graph.by_id[node]
        passes = {
            "forward": (layer.forward_ms, predicted.forward_ms, work.forward),
            "backward": (layer.backward_ms, predicted.backward_ms, work.backward),
        }
        return {"id": node, **{name: self._pass(*x) for name, x in passes.items()}}

    def _pass(self, measured_ms: float, predicted_ms: float, work: Work) -> dict[str, Any]:
        limit, reached = self.transfer.explain(measured_ms, work)
        return {
            "measured_ms": measured_ms,
            "predicted_ms": predicted_ms,
            "flops": work.flops,
            "bytes": work.moved_bytes,
            "limit": str(limit),
            "share_of_limit_reached": round(reached, 4),
        }

    def _document(self, document: ProfileDocument) -> str:
        """Return the measured document with every time scaled as its pass is."""
        before, after = self.measured.graph.by_id, self.graph.by_id
        nodes = tuple(
            node.model_copy(
                update={
                    "forward": _scaled(
                        node.forward, before[node.id].forward_ms, after[node.id].forward_ms
                    ),
                    "backward": _scaled(
                        node.backward, before[node.id].backward_ms, after[node.id].backward_ms
                    ),
                }
            )
            for node in document.nodes
        )
        total_ms = self.measured.graph.total_ms
        factor = self.graph.total_ms / total_ms if total_ms > 0 else 1.0
        step = {name: value * factor for name, value in document.step.model_dump().items()}
        update = {
            "nodes": nodes,
            "step": document.step.model_copy(update=step),
            "predicted_for": self.transfer.target.name,
        }
        return document.model_copy(update=update).dumps()


def measured_profile(path: Path) -> Measured:
    """Read a profile and, if it lies beside it, the document with its counts.

    Raises
    ------
    InputError
        If one of them cannot be read, they belong to different networks, or the profile is
        itself a prediction: errors would add up unseen.
    """
    graph = read_profile(path)
    if is_file(path.with_suffix(SUFFIX)):
        raise InputError(
            f"is a prediction itself ('{path.with_suffix(SUFFIX).name}' lies beside it)",
            source=path,
            hint="Carry the measured profile over",
        )
    where = document_path(path)
    if not is_file(where):
        return Measured(graph, estimate_work(graph))
    document = read_profile_document(where)
    if [x.id for x in document.nodes] != [x.id for x in graph.layers]:
        raise InputError(
            f"its layers are not those of {path.name}", source=where, hint="Measure again"
        )
    return Measured(graph, counted_work(document), document)


def counted_work(document: ProfileDocument) -> dict[str, LayerWork]:
    """Return the work that was counted while the layers were measured, by node."""
    return {
        node.id: on_chip(
            node.description,
            LayerWork(
                *(Work(one.flops, one.bytes) for one in (node.forward, node.backward)),
            ),
        )
        for node in document.nodes
    }


def predict(measured: Measured, transfer: Transfer) -> Prediction:
    """Carry a measured profile over; the GPU that was measured gets its own times back."""
    carried = carry_over(measured.graph, measured.works, transfer)
    if transfer.source == transfer.target:
        return Prediction(measured, transfer, carried)
    layers = tuple(
        dataclasses.replace(
            x,
            forward_ms=round(x.forward_ms, DECIMALS),
            backward_ms=round(x.backward_ms, DECIMALS),
        )
        for x in carried.layers
    )
    return Prediction(measured, transfer, dataclasses.replace(carried, layers=layers))


def _figures(transfer: Transfer, end: str) -> dict[str, float | None]:
    device = transfer.source if end == "source" else transfer.target
    found = {
        "flop_per_s": device.flop_per_s(transfer.precision),
        "fp32_flop_per_s": device.fp32_flop_per_s,
        "memory_bytes_per_s": device.memory_bytes_per_s,
        "on_chip_bytes_per_s": device.on_chip_bytes_per_s,
        "memory_bytes": device.memory_bytes,
        "clock_hz": device.clock_hz,
    }
    return {
        name: value if value not in {0.0, float("inf")} else None for name, value in found.items()
    }


def _scaled(one: Pass, before_ms: float, after_ms: float) -> Pass:
    factor = after_ms / before_ms if before_ms > 0 else 1.0
    times = {
        "median_ms": one.median_ms * factor,
        "spread_ms": one.spread_ms * factor,
        "p95_ms": one.p95_ms * factor,
        "minibatches_ms": tuple(x * factor for x in one.minibatches_ms),
    }
    return one.model_copy(update=times)
