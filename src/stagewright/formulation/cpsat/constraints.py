"""Constraints of the CP-SAT model, one method a family: structure, and what takes time.

What a user demands beyond that is in ``demands``, ``placement`` and ``memory``.

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
from stagewright.formulation.cpsat.demands import Demands, Guards
from stagewright.formulation.cpsat.links import Links
from stagewright.formulation.cpsat.memory import Memory
from stagewright.formulation.cpsat.placement import PlacementDemands
from stagewright.formulation.cpsat.proportional import Proportional
from stagewright.formulation.cpsat.variables import Formulation, Linear, Variables
from stagewright.model.costs import is_proportional

ROUNDING_UNITS = 3
PRICES = 2**14


class Constraints:
    """Adds every constraint family to a model.

    Parameters
    ----------
    guards
        A literal for each demand that can be switched off; see ``demands``.
    """

    def __init__(
        self,
        model: cp_model.CpModel,
        variables: Variables,
        formulation: Formulation,
        work: WorkBound,
        guards: Guards | None = None,
    ) -> None:
        self._model = model
        self._v = variables
        self._f = formulation
        self._work = work
        self._instance = formulation.problem.instance
        self._cost_model = formulation.problem.cost_model
        self._guards = guards or {}
        self._reduce_units: dict[tuple[int, float], cp_model.IntVar] = {}
        self._transfer_units: dict[tuple[int, float], cp_model.IntVar] = {}

    def add_constraints(self) -> None:
        """Add all families."""
        self.add_structure()
        self.add_demands()
        self._stage_time()
        self._cut_time()
        self._work_flows_no_faster_than_all_gpus()

    def add_structure(self) -> None:
        """Add what makes the variables a plan."""
        self._stages_are_ideals()
        self._slots_have_sizes()
        self._empty_slots_come_last()
        self._groups_are_not_overdrawn()
        self._tensors_cross()

    def add_demands(self) -> None:
        """Add what the user demands of the plan."""
        Demands(self._model, self._v, self._guards).add_demands()
        PlacementDemands(self._model, self._v, self._guards).add_demands()
        if self._instance.rules.use_memory:
            only_if = [self._guards["memory"]] if "memory" in self._guards else []
            Memory(self._model, self._v, only_if).add_memory()

    @cached_property
    def _links(self) -> Links:
        """Bandwidths; made when the first family asks, since it adds literals."""
        return Links(self._model, self._v)

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
        """Σ_k n[k,g] <= n_g."""
        for g in self._v.groups:
            total = sum(self._v.count[k][g] for k in self._v.slots)
            self._model.add(total <= self._v.cluster.counts[g])

    def _tensors_cross(self) -> None:
        """crosses[t,k] ∨ ¬upto[source,k] ∨ upto[w,k] for each consumer w of tensor t."""
        if not self._f.crossings:
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
        graph = self._f.graph
        units = {
            group.gpu: (self._f.units(graph.time_s[g]), self._f.units(graph.again_s[g]))
            for g, group in enumerate(self._v.cluster.groups)
        }
        table = []
        for k in self._v.slots:
            by_type = {
                gpu: self._compute_time(k, once, again, f"compute[{k},{gpu}]")
                for gpu, (once, again) in units.items()
            }
            table.append([by_type[group.gpu] for group in self._v.cluster.groups])
        return table

    def _compute_time(
        self, k: int, once: list[int], again: list[int], name: str
    ) -> cp_model.IntVar:
        """Σ_v T_v x[v,k], and F_v more where the slot chooses to recompute."""
        if len(self._f.recompute) == 1:
            return self._total(self._v.in_slot(once, k), sum(once), name)
        kept = self._v.in_slot(once, k)
        twice = self._v.in_slot([t + f for t, f in zip(once, again, strict=True)], k)
        total = self._model.new_int_var(0, sum(once) + sum(again), name)
        self._model.add(total >= kept)
        self._model.add(total == kept).only_enforce_if(~self._v.recompute[k])
        self._model.add(total == twice).only_enforce_if(self._v.recompute[k])
        return total

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
            total = self._v.cut_bytes(k + 1, values)
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
