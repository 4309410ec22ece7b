"""Bytes between servers, as an objective beside a fixed period."""

from __future__ import annotations

from ortools.sat.python import cp_model

from stagewright.formulation.cpsat.variables import Linear, Variables


class Traffic:
    """What one minibatch moves between servers; see :mod:`stagewright.model.traffic`."""

    def __init__(self, model: cp_model.CpModel, variables: Variables) -> None:
        self._model = model
        self._v = variables
        graph = variables.formulation.graph
        ratio = variables.formulation.problem.cost_model.compression_ratio or 1.0
        self._tensors = [round(2 * t.n_bytes / ratio) for t in graph.tensors]
        self._parameters = [round(x) for x in graph.parameter_bytes.tolist()]

    def total(self) -> cp_model.LinearExpr:
        """Σ of all cuts and all-reduces, in bytes."""
        slots = self._v.slots
        parts = [*(self._cut(k) for k in slots[:-1]), *(self._all_reduce(k) for k in slots)]
        return cp_model.LinearExpr.sum(parts)

    def _cut(self, k: int) -> cp_model.IntVar:
        """2A/ρ of the cut after slot k, unless both slots lie in one and the same server."""
        v, model = self._v, self._model
        inside = model.new_bool_var(f"inside[{k}]")
        for slot in (k, k + 1):
            model.add_implication(inside, v.servers[slot][1])
        for here, there in zip(v.in_server[k], v.in_server[k + 1], strict=True):
            model.add(here == there).only_enforce_if(inside)
        moved = model.new_int_var(0, sum(self._tensors), f"moved[{k}]")
        model.add(moved >= v.cut_bytes(k + 1, self._tensors)).only_enforce_if(~inside)
        return moved

    def _all_reduce(self, k: int) -> cp_model.IntVar:
        """2q(m-1)P/m² of slot k, if its m replicas lie on q > 1 servers."""
        v, model = self._v, self._model
        exchanged = model.new_int_var(0, 2 * sum(self._parameters), f"exchanged[{k}]")
        parameters: Linear = v.in_slot(self._parameters, k)
        for q, on_so_many in enumerate(v.servers[k]):
            for m in range(q, v.most + 1) if q > 1 else ():
                model.add(m * m * exchanged >= 2 * q * (m - 1) * parameters).only_enforce_if(
                    on_so_many, v.size[k][m]
                )
        return exchanged
