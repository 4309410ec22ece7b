"""A known plan as a hint: a value for every variable that a search branches on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from ortools.sat.python import cp_model

from stagewright.formulation.cpsat.placement import shared_with_old
from stagewright.formulation.cpsat.variables import Variables
from stagewright.model.plan import Plan


class Hint:
    """Offers ``plan`` to the solver of ``model``."""

    def __init__(self, model: cp_model.CpModel, variables: Variables, plan: Plan) -> None:
        self._model = model
        self._v = variables
        self._plan = plan
        formulation = variables.formulation
        self._graph = formulation.graph
        self._instance = formulation.problem.instance
        slot_of = plan.stage_of
        self._slot = [
            max(slot_of[self._instance.nodes[x]] for x in block) for block in self._graph.blocks
        ]

    def add_hints(self) -> None:
        """Add all of them."""
        for k in self._v.slots:
            self._slot_k(k)
        if self._v.formulation.crossings:
            self._crossings()
        if self._instance.rules.placement.kept is not None:
            self._labels()

    def _slot_k(self, k: int) -> None:
        v, model, stages = self._v, self._model, self._plan.stages
        replicas = stages[k].replicas if k < len(stages) else (0,) * len(v.groups)
        if k < v.slots[-1]:
            for b in v.blocks:
                model.add_hint(v.literal(b, k), self._slot[b] <= k)
        for m, literal in enumerate(v.size[k]):
            model.add_hint(literal, m == sum(replicas))
        for g in v.groups:
            model.add_hint(v.count[k][g], replicas[g])
            model.add_hint(v.used[k][g], replicas[g] > 0)
        if len(v.cluster.servers) > 1:
            used = v.cluster.servers_of(replicas)
            for s, literal in enumerate(v.in_server[k]):
                model.add_hint(literal, s in used)
            for q, literal in enumerate(v.servers[k]):
                model.add_hint(literal, q == len(used))
        if len(v.formulation.recompute) > 1:
            model.add_hint(v.recompute[k], k < len(stages) and stages[k].recompute)
        if self._instance.rules.use_memory:
            from_here = sum(stage.replica_count for stage in stages[k:])
            in_flight = -(-from_here // sum(replicas)) if sum(replicas) else 1
            for f, literal in enumerate(v.in_flight[k], start=1):
                model.add_hint(literal, f == in_flight)

    def _crossings(self) -> None:
        for k in self._v.slots[:-1]:
            for t, tensor in enumerate(self._graph.tensors):
                late = any(self._slot[w] > k for w in tensor.targets)
                self._model.add_hint(self._v.crosses[k][t], self._slot[tensor.source] <= k and late)

    def _labels(self) -> None:
        shared = shared_with_old(self._instance, self._graph)
        overlap = np.zeros((len(self._v.slots), shared.shape[1]), dtype=int)
        np.add.at(overlap, self._slot, shared)
        best = best_continuation(overlap)
        for k in self._v.slots:
            for old, literal in enumerate(self._v.label[k]):
                self._model.add_hint(literal, (k, old) in best)


def best_continuation(overlap: NDArray[np.int_]) -> set[tuple[int, int]]:
    """Return the heaviest increasing matching of rows to columns of ``overlap``.

    >>> sorted(best_continuation(np.array([[0, 3, 0], [2, 0, 0], [0, 1, 4]])))
    [(0, 1), (2, 2)]
    """
    rows, columns = overlap.shape
    best = np.zeros((rows + 1, columns + 1), dtype=int)
    for i in range(rows):
        for j in range(columns):
            matched = best[i, j] + overlap[i, j]
            best[i + 1, j + 1] = max(matched, best[i, j + 1], best[i + 1, j])
    chosen: set[tuple[int, int]] = set()
    i, j = rows, columns
    while i and j:
        if best[i, j] == best[i - 1, j]:
            i -= 1
        elif best[i, j] == best[i, j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            chosen.add((i, j))
    return chosen
