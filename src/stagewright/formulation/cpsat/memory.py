"""The memory of a slot's replicas, with and without recomputing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from ortools.sat.python import cp_model

from stagewright.formulation.cpsat.variables import Linear, Variables

MOST_BYTES = 2**58


class Memory:
    """Adds the memory family.

    Parameters
    ----------
    only_if
        Literals under which the family holds.
    """

    def __init__(
        self, model: cp_model.CpModel, variables: Variables, only_if: Sequence[cp_model.IntVar]
    ) -> None:
        self._model = model
        self._v = variables
        self._only_if = only_if
        self._graph = variables.formulation.graph
        self._rule = variables.formulation.problem.instance.rules.memory
        self._unit = self._byte_unit()

    def add_memory(self) -> None:
        """Add every slot's constraints."""
        for k in self._v.slots:
            self._in_flight(k)
            self._fits(k)

    def _in_flight(self, k: int) -> None:
        """Minibatches in flight: f m_k >= Σ_{j>=k} m_j for the one f with in_flight[k,f]."""
        v = self._v
        from_here = sum(sum(v.count[j]) for j in v.slots[k:])
        self._model.add_exactly_one(v.in_flight[k])
        for f, literal in enumerate(v.in_flight[k], start=1):
            for m in range(1, v.most + 1):
                self._model.add(from_here <= f * m).only_enforce_if(literal, v.size[k][m])

    def _fits(self, k: int) -> None:
        """Memory: f A + copies(f) P <= memory_g, or f C + A + copies(f) P if it recomputes."""
        v = self._v
        held = self._total(self._graph.activation_bytes, k, "activations")
        weights = self._total(self._graph.parameter_bytes, k, "parameters")
        for does, choice in v.recomputes(k):
            received = self._received(k) if does else 0
            for f, literal in enumerate(v.in_flight[k], start=1):
                copies = self._rule.activation_copies(f)
                waiting = copies * received + held if does else copies * held
                needed = waiting + self._rule.weight_copies(f) * weights
                for g, group in enumerate(v.cluster.groups):
                    if group.memory_bytes is not None:
                        room = min(int(group.memory_bytes / self._unit), MOST_BYTES)
                        self._model.add(needed <= room).only_enforce_if(
                            literal, v.used[k][g], *choice, *self._only_if
                        )

    def _received(self, k: int) -> Linear:
        """C: bytes of the cut into slot k."""
        sizes = self._units(np.array([t.n_bytes for t in self._graph.tensors]))
        total = self._model.new_int_var(0, sum(sizes), f"received_bytes[{k}]")
        self._model.add(total == self._v.cut_bytes(k, sizes))
        return total

    def _total(self, sizes: NDArray[np.float64], k: int, name: str) -> cp_model.IntVar:
        values = self._units(sizes)
        total = self._model.new_int_var(0, sum(values), f"{name}[{k}]")
        self._model.add(total == self._v.in_slot(values, k))
        return total

    def _units(self, sizes: NDArray[np.float64]) -> list[int]:
        return [int(x) for x in np.floor(sizes / self._unit)]

    def _byte_unit(self) -> float:
        """One byte where all sizes are whole; else as fine as 64 bits allow, rounded down."""
        copies = self._v.cluster.gpu_count + 4
        sizes = np.concatenate([self._graph.activation_bytes, self._graph.parameter_bytes])
        total = float(sizes.sum()) * copies
        whole = bool((sizes == np.floor(sizes)).all())
        return 1.0 if whole and total <= MOST_BYTES else max(total, 1e-9) / MOST_BYTES
