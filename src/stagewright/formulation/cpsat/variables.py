"""Decision variables of the CP-SAT model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from ortools.sat.python import cp_model

from stagewright.formulation.problem import Problem
from stagewright.formulation.rates import Rates
from stagewright.formulation.reduced_graph import ReducedGraph
from stagewright.model.costs import is_proportional

UNITS = 2**34
"""Integer time units in the ceiling: rounding stays far below 1e-6."""

PRODUCT_UNITS = 2**27
SHARES = 2**24
SLOWEST = 2**10
"""Under proportional dispatch a time is multiplied with a share of the minibatches, and the
product has to fit into 64 bits: fewer units, and times are cut off at so many ceilings. A GPU that
is slower still takes less than 1/SLOWEST of the minibatches; the bound is then that much weaker.
"""

MAX_SIZE = 3_000_000
BUILD_S_PER_ENTRY = 4e-5
"""Seconds that it takes to build and to load the model, measured on models of many layers."""

BUILD_SHARE = 0.3
"""Part of the time left that may go into building the model."""

Linear = cp_model.LinearExpr | int


@dataclass(frozen=True)
class Formulation:
    """What the model is built from.

    Attributes
    ----------
    unit_s
        Seconds of one integer time unit.
    ceiling_s, floor_s
        Upper bound (the warm start's period) and proven lower bound on the period.
    stages
        Number of stage slots K.
    guarded
        Whether single demands can be switched off: no variable may then be sized by one.
    """

    problem: Problem
    graph: ReducedGraph
    rates: Rates
    ceiling_s: float
    floor_s: float
    stages: int
    guarded: bool = False

    @property
    def replicas(self) -> int:
        """Replicas that one slot may have."""
        instance = self.problem.instance
        count = instance.cluster.gpu_count
        return count if self.guarded else instance.rules.most_replicas(count)

    @property
    def gpus(self) -> int:
        """GPUs that all slots together may have."""
        instance = self.problem.instance
        most = None if self.guarded else instance.rules.max_gpus
        return min(instance.cluster.gpu_count, instance.cluster.gpu_count if most is None else most)

    @property
    def recompute(self) -> tuple[bool, ...]:
        """What a slot may do; to recompute helps only where memory is scarce."""
        rules = self.problem.instance.rules
        if self.guarded:
            return (False, True)
        return rules.recompute.choices if rules.use_memory else rules.recompute.choices[:1]

    @property
    def crossings(self) -> bool:
        """Whether it matters which tensors cross a cut: for its time, or for a slot's memory."""
        held = self.problem.instance.rules.use_memory and True in self.recompute
        return held or not self.rates.free

    @property
    def ceiling(self) -> int:
        """Time units in the ceiling."""
        return PRODUCT_UNITS if is_proportional(self.problem.cost_model) else UNITS

    @property
    def unit_s(self) -> float:
        """Seconds of one time unit."""
        return self.ceiling_s / self.ceiling

    @property
    def size(self) -> int:
        """Entries of the model, roughly."""
        cluster = self.problem.instance.cluster
        stage = cluster.gpu_count * (len(cluster.groups) + 4)
        if len(cluster.servers) > 1:
            stage += len(cluster.servers) ** 2
        layers = len(self.graph) + len(self.graph.edges) + len(self.graph.tensors)
        return self.stages * (stage + layers)

    @property
    def too_large(self) -> bool:
        """Whether the model would take more time and memory to build than it can repay."""
        return self.size > MAX_SIZE

    def too_large_for(self, seconds: float) -> bool:
        """Whether so much time is not enough to build the model and to search in it."""
        return self.too_large or self.size * BUILD_S_PER_ENTRY > seconds * BUILD_SHARE

    def units(self, seconds: NDArray[np.float64]) -> list[int]:
        """Round seconds down to whole units, so that a bound on them stays a bound.

        No stage or cut can carry more than a ceiling for each GPU and two more: what is longer
        is cut off there, so that the integers stay small. (See :data:`SLOWEST` for stages whose
        replicas run at their own pace.)
        """
        most = (self.problem.instance.cluster.gpu_count + 2) * self.ceiling
        if is_proportional(self.problem.cost_model):
            most = max(most, SLOWEST * self.ceiling)
        return [int(x) for x in np.floor(np.minimum(seconds / self.unit_s, most))]


class Variables:
    """All decision variables, created on first use; slot k runs from 0 to K-1.

    ``upto(v, k)`` says that block v lies in slots 0..k; a block lies in slot k if it is in
    ``upto(v, k)`` and not in ``upto(v, k - 1)``. This alone makes every stage convex.
    """

    def __init__(self, model: cp_model.CpModel, formulation: Formulation) -> None:
        self.model = model
        self.formulation = formulation
        self.cluster = formulation.problem.instance.cluster
        self.slots = range(formulation.stages)
        self.groups = range(len(self.cluster.groups))
        self.blocks = range(len(formulation.graph))
        self.most = formulation.replicas
        last = formulation.stages - 1
        self._upto = [
            [model.new_bool_var(f"upto[{v},{k}]") for k in range(last)] for v in self.blocks
        ]

    @cached_property
    def period(self) -> cp_model.IntVar:
        """The period in time units."""
        formulation = self.formulation
        low = max(0, int(formulation.floor_s / formulation.unit_s))
        return self.model.new_int_var(low, formulation.ceiling + 1, "period")

    def upto(self, v: int, k: int) -> Linear:
        """Whether block v lies in slots 0..k (1 for the last slot, 0 before the first)."""
        if k < 0:
            return 0
        return self._upto[v][k] if k < self.slots[-1] else 1

    def literal(self, v: int, k: int) -> cp_model.IntVar:
        """``upto(v, k)`` as a literal; only for k below the last slot."""
        return self._upto[v][k]

    def in_slot(self, values: Sequence[int], k: int) -> Linear:
        """Sum of ``values`` (blocks,) over the blocks in slot k."""
        here = cp_model.LinearExpr.weighted_sum([self.upto(v, k) for v in self.blocks], values)
        if k == 0:
            return here
        before = cp_model.LinearExpr.weighted_sum(
            [self.upto(v, k - 1) for v in self.blocks], values
        )
        return here - before

    @cached_property
    def count(self) -> list[list[cp_model.IntVar]]:
        """GPUs of each group in each slot, [slot][group]."""
        return [
            [
                self.model.new_int_var(0, min(self.most, self.cluster.counts[g]), f"count[{k},{g}]")
                for g in self.groups
            ]
            for k in self.slots
        ]

    @cached_property
    def used(self) -> list[list[cp_model.IntVar]]:
        """Whether a slot uses a group, [slot][group]."""
        return [
            [self.model.new_bool_var(f"used[{k},{g}]") for g in self.groups] for k in self.slots
        ]

    @cached_property
    def size(self) -> list[list[cp_model.IntVar]]:
        """Whether a slot has exactly m replicas, [slot][m]; m = 0 is an empty slot."""
        return [
            [self.model.new_bool_var(f"size[{k},{m}]") for m in range(self.most + 1)]
            for k in self.slots
        ]

    @cached_property
    def in_server(self) -> list[list[cp_model.IntVar]]:
        """Whether a slot uses a server, [slot][server]."""
        servers = range(len(self.cluster.servers))
        return [
            [self.model.new_bool_var(f"in_server[{k},{s}]") for s in servers] for k in self.slots
        ]

    @cached_property
    def servers(self) -> list[list[cp_model.IntVar]]:
        """Whether a slot uses exactly q servers, [slot][q]."""
        most = min(len(self.cluster.servers), self.most)
        return [
            [self.model.new_bool_var(f"servers[{k},{q}]") for q in range(most + 1)]
            for k in self.slots
        ]

    @cached_property
    def crosses(self) -> list[list[cp_model.IntVar]]:
        """Whether a tensor crosses the cut after slot k, [slot][tensor]."""
        tensors = range(len(self.formulation.graph.tensors))
        return [
            [self.model.new_bool_var(f"crosses[{t},{k}]") for t in tensors] for k in self.slots[:-1]
        ]

    @cached_property
    def received(self) -> list[cp_model.IntVar]:
        """Time units that slot k + 1 waits for its input; used where nothing overlaps."""
        most = self.formulation.ceiling + 1
        return [self.model.new_int_var(0, most, f"received[{k}]") for k in self.slots[:-1]]

    @cached_property
    def in_flight(self) -> list[list[cp_model.IntVar]]:
        """Whether a slot may hold f minibatches in flight, [slot][f - 1]."""
        most = self.formulation.gpus
        return [
            [self.model.new_bool_var(f"in_flight[{k},{f}]") for f in range(1, most + 1)]
            for k in self.slots
        ]

    @cached_property
    def recompute(self) -> list[cp_model.IntVar]:
        """Whether a slot recomputes its activations; used where it has the choice."""
        return [self.model.new_bool_var(f"recompute[{k}]") for k in self.slots]

    def recomputes(self, k: int) -> list[tuple[bool, list[cp_model.BoolVarT]]]:
        """Whether slot k may keep (``False``) or recompute, each with the literals that say so."""
        choices = self.formulation.recompute
        if len(choices) == 1:
            return [(choices[0], [])]
        return [(does, [self.recompute[k] if does else ~self.recompute[k]]) for does in choices]

    def cut_bytes(self, k: int, values: Sequence[int]) -> Linear:
        """Sum of ``values`` (tensors,) over what slot k receives; the first receives nothing."""
        return 0 if k == 0 else cp_model.LinearExpr.weighted_sum(self.crosses[k - 1], values)

    @cached_property
    def label(self) -> list[list[cp_model.IntVar]]:
        """Whether a slot continues a stage of the plan in use, [slot][old stage]."""
        kept = self.formulation.problem.instance.rules.placement.kept
        old = range(0 if kept is None else len(kept.stages))
        return [[self.model.new_bool_var(f"label[{k},{x}]") for x in old] for k in self.slots]

    @cached_property
    def share(self) -> list[list[cp_model.IntVar]]:
        """Part of the minibatches that one replica takes, in 1/SHARES, [slot][group]."""
        return [
            [self.model.new_int_var(0, SHARES, f"share[{k},{g}]") for g in self.groups]
            for k in self.slots
        ]
