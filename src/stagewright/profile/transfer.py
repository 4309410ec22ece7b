"""Carrying a measured profile over to another device.

The time of a pass has two parts. One is bounded by a ceiling of the roofline: it shrinks as the
ceiling that binds on each device rises. The other is latency, in which units wait for each other
or for the next launch: it is a number of clock cycles. Well-written kernels reach
:data:`ATTAINABLE` of their ceiling; what a measured time has beyond that is latency. So each
layer keeps the efficiency that was measured, and nothing is fitted to the layers.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from stagewright.model.graph import Layer, LayerGraph
from stagewright.profile.devices import Device, Kind, Precision
from stagewright.profile.roofline import Limit, Rates, Work, limit_of, roof_s
from stagewright.profile.work import LayerWork

ATTAINABLE = 0.8
"""Share of a datasheet's rate that well-written kernels reach."""

DISTURBED, MATTERS = 2.0, 1e-3
"""A pass that took more than so many times what its equals took was disturbed, if that is more than
such a part of the whole network's time."""

LAUNCH_MS = 5e-3
"""Time to launch a kernel; what a CPU's profile lacks and a GPU's has."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """From which device to which, and how.

    Attributes
    ----------
    source, target
        The device that was measured, and the one that is asked for.
    precision
        Number format of dense layers on both. Sparse kernels compute in FP32.
    attainable
        Share of a ceiling that well-written kernels reach.
    """

    source: Device
    target: Device
    precision: Precision = Precision.FP32
    attainable: float = ATTAINABLE

    def pass_ms(self, measured_ms: float, work: Work) -> float:
        """Return the milliseconds of a pass on the target that took ``measured_ms`` on the source.

        The source itself gets its own times back, bit for bit.
        """
        here, there, work = self._ceilings(measured_ms, work)
        roof_ms, target_roof_ms = 1e3 * roof_s(work, here), 1e3 * roof_s(work, there)
        higher = target_roof_ms / roof_ms if roof_ms > 0 else 0.0
        if self.source.kind is not self.target.kind:
            return measured_ms * higher + self._launch_ms(measured_ms)
        bounded_ms = min(measured_ms, roof_ms / self.attainable)
        latency_ms = measured_ms - bounded_ms
        clocks_hz = self.source.clock_hz, self.target.clock_hz
        longer_cycle = clocks_hz[0] / clocks_hz[1] if all(clocks_hz) else 1.0
        return measured_ms + bounded_ms * (higher - 1) + latency_ms * (longer_cycle - 1)

    def _launch_ms(self, measured_ms: float) -> float:
        """Time to start what takes time at all, where a CPU's profile is carried to a GPU.

        A cycle of a CPU says nothing of a GPU's latency, so that between the two only the
        reached share of the ceiling is kept.
        """
        return LAUNCH_MS if measured_ms > 0 and self.target.kind is Kind.GPU else 0.0

    def _ceilings(self, measured_ms: float, work: Work) -> tuple[Rates, Rates, Work]:
        """Return the ceilings of both devices, and the work that they bound.

        Traffic on the chip is an assumption about how a GPU's kernel works. It is left out where
        a time that beats its ceiling shows that this kernel works otherwise, and where the
        ceiling of one of two GPUs is unknown. A CPU has no such ceiling.
        """
        precision = Precision.FP32 if work.on_chip_bytes else self.precision
        here, there = self.source.rates(precision), self.target.rates(precision)
        on_chip = [x.on_chip_bytes_per_s for x in (self.source, self.target) if x.kind is Kind.GPU]
        beaten = 1e3 * work.on_chip_bytes / here.on_chip_bytes_per_s > measured_ms
        if beaten or not all(map(math.isfinite, on_chip)):
            work = dataclasses.replace(work, on_chip_bytes=0.0)
        return here, there, work

    def explain(self, measured_ms: float, work: Work) -> tuple[Limit, float]:
        """Return what binds a pass on the source, and which share of it was reached."""
        here, _, work = self._ceilings(measured_ms, work)
        share = 1e3 * roof_s(work, here) / measured_ms if measured_ms > 0 else 0.0
        return limit_of(work, here), share


def carry_over(graph: LayerGraph, works: Mapping[str, LayerWork], transfer: Transfer) -> LayerGraph:
    """Return the profile that ``transfer``'s target would give.

    What feeds data in keeps its time: it runs on the host. A disturbed measurement is not carried
    over; see :func:`disturbed`.

    Parameters
    ----------
    graph
        The profile measured on the source.
    works
        The work of every layer, by node.
    """
    plausible = {} if transfer.source == transfer.target else disturbed(graph)
    return LayerGraph(
        tuple(
            layer
            if layer.id in graph.inputs
            else _carried(layer, plausible.get(layer.id, layer), works[layer.id], transfer)
            for layer in graph.layers
        ),
        graph.edges,
        f"{graph.name}_{transfer.target.name}",
    )


def disturbed(graph: LayerGraph) -> dict[str, Layer]:
    """Find layers that were disturbed while they were measured, and what they should have taken.

    Layers of one description on tensors of one size do the same work, so their times are equal on
    any device but for noise. A pass that took more than :data:`DISTURBED` times the (lower) median
    of its equals, in a way that matters, was held up by something else. The first of them may
    rightly take longer forward: there sparse convolutions set up what the others use again.

    Returns
    -------
    dict of str to Layer
        By node, the layer with the median in place of each time that stands out.
    """
    equals: dict[object, list[Layer]] = defaultdict(list)
    for layer in graph.layers:
        operands = tuple(graph.by_id[u].activation_parts_bytes for u in graph.operands(layer.id))
        work = operands, layer.activation_parts_bytes, layer.parameter_bytes
        equals[layer.description, work].append(layer)
    least_ms = MATTERS * graph.total_ms
    found = {}
    for alike in equals.values():
        forward_ms, backward_ms = (
            statistics.median_low(times)
            for times in zip(*((x.forward_ms, x.backward_ms) for x in alike), strict=True)
        )
        for layer in alike:
            first = layer is alike[0]
            mended = dataclasses.replace(
                layer,
                forward_ms=layer.forward_ms
                if first
                else _undisturbed(layer.forward_ms, forward_ms, least_ms),
                backward_ms=_undisturbed(layer.backward_ms, backward_ms, least_ms),
            )
            if mended != layer:
                found[layer.id] = mended
    return found


def _undisturbed(measured_ms: float, usual_ms: float, least_ms: float) -> float:
    longer = measured_ms > DISTURBED * usual_ms > 0 and measured_ms - usual_ms > least_ms
    return usual_ms if longer else measured_ms


def _carried(layer: Layer, plausible: Layer, work: LayerWork, transfer: Transfer) -> Layer:
    return dataclasses.replace(
        layer,
        forward_ms=transfer.pass_ms(plausible.forward_ms, work.forward),
        backward_ms=transfer.pass_ms(plausible.backward_ms, work.backward),
    )
