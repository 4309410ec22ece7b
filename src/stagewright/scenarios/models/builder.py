"""Layer graphs, written like lists of layers."""

from __future__ import annotations

from collections.abc import Sequence

from stagewright.model.graph import Layer, LayerGraph
from stagewright.scenarios.models.roofline import FLOAT_BYTES, Roofline


class GraphBuilder:
    """Collects layers in the order of their operands and estimates their times.

    Nodes are called ``node1``, ``node2``, … in the order in which they are added, as in
    profiles that were measured.

    Parameters
    ----------
    roofline
        The GPU whose times the graph carries.
    """

    def __init__(self, roofline: Roofline) -> None:
        self.roofline = roofline
        self._layers: list[Layer] = []
        self._edges: list[tuple[str, str]] = []
        self._activation_bytes: dict[str, float] = {}

    def input(self, description: str, activation_bytes: float) -> str:
        """Add a node that feeds data in; it costs nothing."""
        return self._append(description, (), (0.0, 0.0), (activation_bytes,), 0)

    def add(
        self,
        description: str,
        operands: Sequence[str],
        outputs_bytes: Sequence[float],
        *,
        parameters: int = 0,
        flops: float = 0.0,
    ) -> str:
        """Add a layer and return its node.

        Parameters
        ----------
        description
            The layer, as profiles spell it.
        operands
            Nodes that it reads, in operand order.
        outputs_bytes
            Bytes of each output.
        parameters
            Number of its weights.
        flops
            Operations of the forward pass; the backward pass takes as many for the operands'
            gradients and as many again for those of the weights.
        """
        parameter_bytes = parameters * FLOAT_BYTES
        read_bytes = sum(self._activation_bytes[x] for x in operands)
        moved_bytes = read_bytes + sum(outputs_bytes) + parameter_bytes
        passes = 2 if parameters else 1
        times = (
            self.roofline.pass_ms(flops, moved_bytes),
            self.roofline.pass_ms(flops * passes, moved_bytes * passes),
        )
        return self._append(description, operands, times, outputs_bytes, parameter_bytes)

    def view(
        self, description: str, operands: Sequence[str], outputs_bytes: Sequence[float]
    ) -> str:
        """Add a node that computes nothing: a size, a reshape, one of several outputs."""
        return self._append(description, operands, (0.0, 0.0), outputs_bytes, 0)

    def graph(self, name: str) -> LayerGraph:
        """Return what was added."""
        return LayerGraph(tuple(self._layers), tuple(self._edges), name)

    def _append(
        self,
        description: str,
        operands: Sequence[str],
        times_ms: tuple[float, float],
        outputs_bytes: Sequence[float],
        parameter_bytes: float,
    ) -> str:
        node = f"node{len(self._layers) + 1}"
        parts = tuple(float(x) for x in outputs_bytes)
        self._layers.append(Layer(node, description, *times_ms, parts, float(parameter_bytes)))
        self._edges += [(operand, node) for operand in operands]
        self._activation_bytes[node] = sum(parts)
        return node
