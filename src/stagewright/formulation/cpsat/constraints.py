"""Constraints of the CP-SAT model, one method a family.

Symbols as in ``docs/formulation.md``: x[v,k] block v in slot k, n[k,g] replicas, m their sum, P
the period. Coefficients are rounded down, so the model's optimum never exceeds the true one by
more than :data:`ROUNDING_UNITS` time units.
"""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise

import numpy as np
from ortools.sat.python import cp_model

from stagewright.formulation.bounds import WorkBound
from stagewright.formulation.cpsat.links import Links
from stagewright.formulation.cpsat.proportional import Proportional
from stagewright.formulation.cpsat.variables import Formulation, Linear, Variables
from stagewright.model.costs import is_proportional

ROUNDING_UNITS = 3
PRICES = 2**14
MOST_BYTES = 2**58


class Constraints:
    """Adds every constraint family to a model."""

    def __init__(
        self,
        model: cp_model.CpModel,
        variables: Variables,
        formulation: Formulation,
        work: WorkBound,
    ) -> None:
        self._model = model
        self._v = variables
        self._f = formulation
        self._work = work
        self._instance = formulation.problem.instance
        self._cost_model = formulation.problem.cost_model
        self._links = Links(model, variables)
        self._reduce_units: dict[tuple[int, float], cp_model.IntVar] = {}
        self._transfer_units: dict[tuple[int, float], cp_model.IntVar] = {}

    def add_constraints(self) -> None:
        """Add all families."""
        self._stages_are_ideals()
        self._slots_have_sizes()
        self._empty_slots_come_last()
        self._groups_are_not_overdrawn()
        self._tensors_cross()
        self._stage_time()
        self._cut_time()
        self._work_flows_no_faster_than_all_gpus()
        if self._instance.rules.use_memory:
            self._memory()

    def _stages_are_ideals(self) -> None:
        """A producer is no later than its consumers: upto[v,k] ⇒ upto[u,k], ⇒ upto[v,k+1]."""
        for k in self._v.slots[:-1]:
            for u, v in self._f.graph.edges:
                self._model.add_implication(self._v.literal(v, k), self._v.literal(u, k))
        for k, after in pairwise(self._v.slots[:-1]):
            for v in self._v.blocks:
                self._model.add_implication(self._v.literal(v, k), self._v.literal(v, after))

    def _slots_have_sizes(self) -> None:
        """Σ_g n[k,g] = m for the one m with size[k,m]; used[k,g] ⇔ n[k,g] >= 1."""
        v, model = self._v, self._model
        for k in v.slots:
            model.add_exactly_one(v.size[k])
            model.add(sum(v.count[k]) == sum(m * size for m, size in enumerate(v.size[k])))
            for g in v.groups:
                model.add(v.count[k][g] >= 1).only_enforce_if(v.used[k][g])
                model.add(v.count[k][g] == 0).only_enforce_if(~v.used[k][g])

    def _empty_slots_come_last(self) -> None:
        """A slot is empty iff no block lies in it, and then so are all later slots."""
        v, model = self._v, self._model
        model.add(v.size[0][0] == 0)
        for k in v.slots:
            if k > 0:
                model.add_implication(v.size[k - 1][0], v.size[k][0])
            inside = [v.upto(b, k) for b in v.blocks]
            before = [v.upto(b, k - 1) for b in v.blocks]
            for here, earlier in zip(inside, before, strict=True):
                model.add(here <= earlier).only_enforce_if(v.size[k][0])
            model.add(sum(inside) - sum(before) >= 1).only_enforce_if(~v.size[k][0])

    def _groups_are_not_overdrawn(self) -> None:
        """Σ_k n[k,g] <= n_g, or = n_g if every GPU must be used."""
        for g in self._v.groups:
            total = sum(self._v.count[k][g] for k in self._v.slots)
            if self._instance.rules.use_all:
                self._model.add(total == self._v.cluster.counts[g])
            else:
                self._model.add(total <= self._v.cluster.counts[g])

    def _tensors_cross(self) -> None:
        """crosses[t,k] ∨ ¬upto[source,k] ∨ upto[w,k] for each consumer w of tensor t."""
        if self._f.rates.free:
            return
        v = self._v
        for k in v.slots[:-1]:
            for t, tensor in enumerate(self._f.graph.tensors):
                here = v.literal(tensor.source, k)
                for target in tensor.targets:
                    self._model.add_bool_or(v.crosses[k][t], ~here, v.literal(target, k))

    def _stage_time(self) -> None:
        """Time: m Σ_v T[v,g] x + (m-1) Σ_v (2P_v/β) x <= m² (P - wait), for each g used."""
        v = self._v
        proportional = is_proportional(self._cost_model)
        for k in v.slots:
            limit = v.period - self._wait(k)
            paces: list[tuple[cp_model.IntVar, bool, list[cp_model.IntVar]]]
            if proportional:
                paces = [(Proportional(self._model, v, k).pace(self._compute[k]), True, [])]
            else:
                paces = [(self._compute[k][g], False, [v.used[k][g]]) for g in v.groups]
            for compute, per_minibatch, literals in paces:
                for m in range(1, v.most + 1):
                    chosen = [v.size[k][m], *literals]
                    self._stage_fits(k, m, compute * (m if per_minibatch else 1), limit, chosen)

    def _stage_fits(
        self, k: int, m: int, compute: Linear, limit: Linear, chosen: list[cp_model.IntVar]
    ) -> None:
        """Slot k with m replicas, each minibatch taking one of them ``compute`` time units."""
        if m == 1:
            self._model.add(compute <= limit).only_enforce_if(*chosen)
            return
        for beta, literals in self._links.reduce(k):
            sync = self._reduce_time(k, beta)
            self._model.add(m * compute + (m - 1) * sync <= m * m * limit).only_enforce_if(
                *chosen, *literals
            )

    @cached_property
    def _compute(self) -> list[list[cp_model.IntVar]]:
        """Time units of one minibatch through slot k on group g's type, [slot][group]."""
        units = {
            gpu: self._f.units(self._f.graph.time_s[g])
            for g, gpu in enumerate(group.gpu for group in self._v.cluster.groups)
        }
        table = []
        for k in self._v.slots:
            by_type = {
                gpu: self._total(self._v.in_slot(values, k), sum(values), f"compute[{k},{gpu}]")
                for gpu, values in units.items()
            }
            table.append([by_type[group.gpu] for group in self._v.cluster.groups])
        return table

    def _reduce_time(self, k: int, beta: float) -> cp_model.IntVar:
        """Time units of 2P/β for the parameters of slot k."""
        if (k, beta) not in self._reduce_units:
            values = self._f.units(2 * self._f.graph.parameter_bytes / beta)
            self._reduce_units[k, beta] = self._total(
                self._v.in_slot(values, k), sum(values), f"reduce[{k},{beta:g}]"
            )
        return self._reduce_units[k, beta]

    def _total(self, expression: Linear, most: int, name: str) -> cp_model.IntVar:
        total = self._model.new_int_var(0, most, name)
        self._model.add(total == expression)
        return total

    def _wait(self, k: int) -> Linear:
        """Time units that slot k waits for its input where nothing overlaps."""
        if self._cost_model.overlap or k == 0 or self._f.rates.free:
            return 0
        return self._v.received[k - 1]

    def _cut_time(self) -> None:
        """Transfer: share · latency + 2A/(ρβ) <= share · P, wherever the two slots are."""
        if self._f.rates.free:
            return
        for k in self._v.slots[:-1]:
            for case in self._links.cut(k):
                waits = case.waits and not self._cost_model.overlap
                limit = self._v.received[k] if waits else self._v.period
                latency = case.share * int(case.latency_s / self._f.unit_s)
                self._model.add(
                    self._transfer_time(k, case.bandwidth) + latency <= case.share * limit
                ).only_enforce_if(*case.literals)
            if not self._cost_model.overlap:
                self._model.add(self._v.received[k] <= self._v.period)

    def _transfer_time(self, k: int, beta: float) -> cp_model.IntVar:
        """Time units of 2A/(ρβ) for the cut after slot k."""
        if (k, beta) not in self._transfer_units:
            n_bytes = np.array([t.n_bytes for t in self._f.graph.tensors])
            values = self._f.units(self._f.rates.round_trip * n_bytes / beta)
            total = cp_model.LinearExpr.weighted_sum(self._v.crosses[k], values)
            self._transfer_units[k, beta] = self._total(
                total, sum(values), f"transfer[{k},{beta:g}]"
            )
        return self._transfer_units[k, beta]

    def _work_flows_no_faster_than_all_gpus(self) -> None:
        """Σ_v w_v upto[v,k] <= P Σ_{j<=k,g} λ_g n[j,g] with P at its upper bound; and the rest."""
        v = self._v
        highest = float(self._work.price.max())
        work = self._f.units(self._work.work / highest)
        price = [int(x) for x in np.ceil(self._work.price / highest * PRICES - 1e-9)]
        total = sum(work)
        for k in v.slots[:-1]:
            done = cp_model.LinearExpr.weighted_sum([v.upto(b, k) for b in v.blocks], work)
            before = sum(price[g] * v.count[j][g] for j in v.slots[: k + 1] for g in v.groups)
            after = sum(price[g] * v.count[j][g] for j in v.slots[k + 1 :] for g in v.groups)
            self._model.add(PRICES * done <= (self._f.ceiling + 1) * before)
            self._model.add(PRICES * (total - done) <= (self._f.ceiling + 1) * after)

    def _memory(self) -> None:
        """Memory: f A(V) + copies(f) P(V) <= memory_g, f >= Σ_{j>=k} m_j / m_k, each g used."""
        v, graph = self._v, self._f.graph
        memory = self._instance.rules.memory
        unit = self._byte_unit()
        activation = [int(x) for x in np.floor(graph.activation_bytes / unit)]
        parameters = [int(x) for x in np.floor(graph.parameter_bytes / unit)]
        for k in v.slots:
            held = self._total(v.in_slot(activation, k), sum(activation), f"activations[{k}]")
            weights = self._total(v.in_slot(parameters, k), sum(parameters), f"parameters[{k}]")
            from_here = sum(sum(v.count[j]) for j in v.slots[k:])
            self._model.add_exactly_one(v.in_flight[k])
            for f, literal in enumerate(v.in_flight[k], start=1):
                for m in range(1, v.most + 1):
                    self._model.add(from_here <= f * m).only_enforce_if(literal, v.size[k][m])
                needed = memory.activation_copies(f) * held + memory.weight_copies(f) * weights
                for g, group in enumerate(v.cluster.groups):
                    if group.memory_bytes is not None:
                        room = min(int(group.memory_bytes / unit), MOST_BYTES)
                        self._model.add(needed <= room).only_enforce_if(literal, v.used[k][g])

    def _byte_unit(self) -> float:
        """One byte where all sizes are whole; else as fine as 64 bits allow, rounded down."""
        graph = self._f.graph
        copies = self._v.cluster.gpu_count + 4
        sizes = np.concatenate([graph.activation_bytes, graph.parameter_bytes])
        total = float(sizes.sum()) * copies
        whole = bool((sizes == np.floor(sizes)).all())
        return 1.0 if whole and total <= MOST_BYTES else max(total, 1e-9) / MOST_BYTES
