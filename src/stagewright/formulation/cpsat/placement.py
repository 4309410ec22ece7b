"""Demands on single layers: pins, forbidden groups, and a plan in use that is to be kept."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from ortools.sat.python import cp_model

from stagewright.formulation.cpsat.demands import Guards
from stagewright.formulation.cpsat.variables import Variables
from stagewright.formulation.reduced_graph import ReducedGraph
from stagewright.model.instance import Instance
from stagewright.model.placement import Kept


class PlacementDemands:
    """Adds the demands on single layers; slot numbers are stage numbers, as empty slots are last.

    Layers that belong together are one block already (``reduce_graph``).
    """

    def __init__(
        self, model: cp_model.CpModel, variables: Variables, guards: Guards | None = None
    ) -> None:
        self._model = model
        self._v = variables
        self._guards = guards or {}
        self._instance = variables.formulation.problem.instance
        self._graph = variables.formulation.graph
        self._placement = self._instance.rules.placement
        self._block_of = {x: b for b, block in enumerate(self._graph.blocks) for x in block}

    def add_demands(self) -> None:
        """Add all of them."""
        for node, stage in self._placement.stage:
            self._pin(node, stage)
        for node, groups in self._placement.forbidden:
            self._forbid(node, groups)
        if self._placement.kept is not None:
            self._keep(self._placement.kept)

    def _unless(self, name: str) -> list[cp_model.BoolVarT]:
        """What to add to a clause so that it holds only under its guard."""
        return [~self._guards[name]] if name in self._guards else []

    def _pin(self, node: str, stage: int) -> None:
        """A pinned layer: upto[b,s] and not upto[b,s-1]; input nodes lie in stage 0."""
        v, off = self._v, self._unless(f"pin:{node}")
        if node in self._instance.graph.inputs:
            if stage != 0:
                self._model.add_bool_or(off)
            return
        if node not in self._instance.index:
            return
        if stage not in v.slots:
            self._model.add_bool_or(off)
            return
        b = self._block_of[self._instance.index[node]]
        if stage < v.slots[-1]:
            self._model.add_bool_or(v.literal(b, stage), *off)
        if stage > 0:
            self._model.add_bool_or(~v.literal(b, stage - 1), *off)

    def _forbid(self, node: str, groups: Sequence[int]) -> None:
        """A forbidden group: ¬used[k,g] if the layer's block lies in slot k."""
        if node not in self._instance.index:
            return
        b = self._block_of[self._instance.index[node]]
        for k in self._v.slots:
            elsewhere = self._elsewhere(b, k)
            for g in groups:
                self._model.add_bool_or(
                    ~self._v.used[k][g], *elsewhere, *self._unless(f"forbid:{node}")
                )

    def _elsewhere(self, b: int, k: int) -> list[cp_model.BoolVarT]:
        """Literals of which one holds iff block b is not in slot k."""
        v = self._v
        later = [~v.literal(b, k)] if k < v.slots[-1] else []
        earlier = [v.literal(b, k - 1)] if k > 0 else []
        return [*later, *earlier]

    def _keep(self, kept: Kept) -> None:
        """A plan in use: Σ stays >= known - M, stays[b,l] ⇒ block b's slot has label l."""
        v, model = self._v, self._model
        self._labels_increase()
        together = shared_with_old(self._instance, self._graph)
        stays: list[cp_model.IntVar] = []
        sizes: list[int] = []
        for b, old in zip(*np.nonzero(together), strict=True):
            stay = model.new_bool_var(f"stays[{b},{old}]")
            for k in v.slots:
                model.add_bool_or(~stay, v.label[k][old], *self._elsewhere(int(b), k))
            stays.append(stay)
            sizes.append(int(together[b, old]))
        least = sum(sizes) - kept.most_moved
        if least > 0:
            enough = model.add(cp_model.LinearExpr.weighted_sum(stays, sizes) >= least)
            if "kept" in self._guards:
                enough.only_enforce_if(self._guards["kept"])

    def _labels_increase(self) -> None:
        """One label a slot at most; from[k,l], that some slot up to k has one >= l, bars k+1."""
        v, model = self._v, self._model
        old = range(len(v.label[0]))
        reached = [[model.new_bool_var(f"from[{k},{x}]") for x in old] for k in v.slots]
        for k in v.slots:
            model.add_at_most_one(v.label[k])
            for x in old:
                model.add_implication(v.label[k][x], reached[k][x])
            for x, following in pairwise(old):
                model.add_implication(reached[k][following], reached[k][x])
        for k, after in pairwise(v.slots):
            for x in old:
                model.add_implication(reached[k][x], reached[after][x])
                model.add_implication(reached[k][x], ~v.label[after][x])


def shared_with_old(instance: Instance, graph: ReducedGraph) -> np.ndarray[tuple[int, int]]:
    """Count the layers of each old stage in each block, shape (blocks, old stages)."""
    kept = instance.rules.placement.kept
    table = np.zeros((len(graph), 0 if kept is None else len(kept.stages)), dtype=int)
    for b, block in enumerate(graph.blocks):
        for x in block:
            if instance.old_stage[x] >= 0:
                table[b, instance.old_stage[x]] += 1
    return table
