"""The CP-SAT model under cost model ``max-load``: variables and constraints.

Slots are filled from the last one, so that the stages from slot k to the end are K - k whatever
slots stay empty, and with them the minibatches in flight. ``upto(b, k)`` says that block b lies in
slots 0..k. All coefficients are rounded down, so that the model's optimum is a lower bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import networkx as nx
import numpy as np
from ortools.sat.python import cp_model

from stagewright.formulation.max_load.block_graph import BlockGraph, Floats
from stagewright.formulation.problem import Problem
from stagewright.model.plan import Plan

UNITS = 2**34
"""Integer time units in the ceiling."""
PRICES = 2**14
MOST_BYTES = 2**52
EXACT = 1 - 1e-12

Literal = cp_model.IntVar
Linear = cp_model.LinearExpr | int


@dataclass(frozen=True)
class LoadBounds:
    """What is known before the search.

    Attributes
    ----------
    floor_s, ceiling_s
        Between these lies the best load.
    price, work
        λ (groups,) and w (blocks,): a device of group g does no more than λ_g P of Σ_b w_b.
    """

    floor_s: float
    ceiling_s: float
    price: Floats
    work: Floats

    @property
    def unit_s(self) -> float:
        """Seconds of one integer time unit."""
        return self.ceiling_s / UNITS

    def units(self, seconds: Floats) -> list[int]:
        """Round down to whole units; what is beyond the ceiling is cut off beyond it."""
        return [int(x) for x in np.floor(np.minimum(seconds / self.unit_s, 2.0 * UNITS) * EXACT)]


class LoadModel:
    """Builds the model; slot k runs from 0 to K-1.

    Attributes
    ----------
    load
        The maximal load in time units; the objective.
    """

    def __init__(self, problem: Problem, graph: BlockGraph, bounds: LoadBounds, slots: int) -> None:
        self.model = cp_model.CpModel()
        self._problem = problem
        self._instance = problem.instance
        self._graph = graph
        self._bounds = bounds
        self.slots = range(slots)
        self.groups = range(len(self._instance.cluster.groups))
        self.blocks = range(len(graph))
        self._nets = list(graph.nets)
        low = max(0, int(bounds.floor_s / bounds.unit_s * EXACT))
        self.load = self.model.new_int_var(low, UNITS + 1, "load")
        self._true = self.model.new_constant(1)
        self._false = self.model.new_constant(0)
        self._upto = [
            [self.model.new_bool_var(f"upto[{b},{k}]") for k in self.slots[:-1]]
            for b in self.blocks
        ]
        self.on = [
            [self.model.new_bool_var(f"on[{k},{g}]") for g in self.groups] for k in self.slots
        ]
        self.empty = [self.model.new_bool_var(f"empty[{k}]") for k in self.slots]
        self.model.minimize(self.load)

    def add_constraints(self) -> None:
        """Add all families."""
        self._stages_are_ideals()
        self._slots_are_filled_from_the_last()
        self._devices_and_limits()
        self._forbidden_groups()
        self._parts_of_a_net_pay()
        self._loads()
        self._work_flows_no_faster_than_all_devices()
        self._blocks_have_earliest_and_latest_slots()
        if self._instance.rules.use_memory:
            self._memory()

    def upto(self, b: int, k: int) -> Literal:
        """Whether block b lies in slots 0..k."""
        if k < 0:
            return self._false
        return self._upto[b][k] if k < self.slots[-1] else self._true

    def _in_slot(self, values: Sequence[int], k: int) -> Linear:
        """Sum of ``values`` (blocks,) over the blocks in slot k."""
        ends = [self.upto(b, k) for b in self.blocks], [self.upto(b, k - 1) for b in self.blocks]
        here, before = (cp_model.LinearExpr.weighted_sum(x, values) for x in ends)
        return here - before

    def _stages_are_ideals(self) -> None:
        """A producer is no later than its consumers: upto[v,k] ⇒ upto[u,k], ⇒ upto[v,k+1]."""
        for k in self.slots[:-1]:
            for u, v in self._graph.edges:
                self.model.add_implication(self.upto(v, k), self.upto(u, k))
        for k, after in pairwise(self.slots[:-1]):
            for b in self.blocks:
                self.model.add_implication(self.upto(b, k), self.upto(b, after))

    def _slots_are_filled_from_the_last(self) -> None:
        """A slot is empty or on one group; before an empty slot all are empty."""
        for k in self.slots:
            self.model.add_exactly_one(self.empty[k], *self.on[k])
            if k > 0:
                self.model.add_implication(self.empty[k], self.empty[k - 1])
            size = self._in_slot([1] * len(self.blocks), k)
            self.model.add(size >= 1).only_enforce_if(~self.empty[k])
            for b in self.blocks:
                self.model.add_implication(self.empty[k], ~self.upto(b, k))

    def _devices_and_limits(self) -> None:
        """Σ_k on[k,g] <= n_g (= n_g with ``use_all``); stages, devices and their price."""
        cluster, rules = self._instance.cluster, self._instance.rules
        used = [sum(self.on[k][g] for k in self.slots) for g in self.groups]
        for g, count in enumerate(cluster.counts):
            self.model.add(used[g] == count if rules.use_all else used[g] <= count)
        if rules.max_price_per_hour is not None:
            unit = max(*cluster.prices_per_hour, rules.max_price_per_hour, 1e-9) / 2**40
            price = [int(x / unit) for x in cluster.prices_per_hour]
            limit = int(rules.max_price_per_hour * (1 + 1e-12) / unit)
            self.model.add(sum(price[g] * used[g] for g in self.groups) <= limit)

    def _forbidden_groups(self) -> None:
        """on[k,g] and a block of slot k that is forbidden there exclude one another."""
        barred = self._instance.forbidden
        for b, layers in enumerate(self._graph.nodes):
            for g in np.flatnonzero(barred[:, list(layers)].any(axis=1)):
                for k in self.slots:
                    before = self.upto(b, k - 1)
                    self.model.add_bool_or(~self.on[k][int(g)], ~self.upto(b, k), before)

    @cached_property
    def pays(self) -> list[list[Literal]]:
        """Whether slot k holds an end of net t and another does not, [slot][net]."""
        nets = range(len(self._nets))
        return [[self.model.new_bool_var(f"pays[{t},{k}]") for t in nets] for k in self.slots]

    @cached_property
    def _begun(self) -> list[list[Literal]]:
        """Implied by any end of net t in slots 0..k, [net][slot]."""
        return [self._extreme(t, ends, first=True) for t, ends in enumerate(self._nets)]

    @cached_property
    def _ended(self) -> list[list[Literal]]:
        """Implies that all ends of net t lie in slots 0..k, [net][slot]."""
        return [self._extreme(t, ends, first=False) for t, ends in enumerate(self._nets)]

    def _extreme(self, t: int, ends: tuple[int, ...], *, first: bool) -> list[Literal]:
        """``upto`` of the end before (after) all others, or of a literal beside all of them."""
        one = ends[0] if first else ends[-1]
        reached = self._descendants[one] if first else self._ancestors[one]
        if all(b == one or b in reached for b in ends):
            return [self.upto(one, k) for k in self.slots]
        beside = [self.model.new_bool_var(f"net[{t},{k},{first}]") for k in self.slots[:-1]]
        for k in self.slots[:-1]:
            for b in ends:
                if first:
                    self.model.add_implication(self.upto(b, k), beside[k])
                else:
                    self.model.add_implication(beside[k], self.upto(b, k))
        return [*beside, self._true]

    @cached_property
    def _digraph(self) -> nx.DiGraph[int]:
        graph: nx.DiGraph[int] = nx.DiGraph()
        graph.add_nodes_from(self.blocks)
        graph.add_edges_from(self._graph.edges)
        return graph

    @cached_property
    def _descendants(self) -> list[set[int]]:
        return [nx.descendants(self._digraph, b) for b in self.blocks]

    @cached_property
    def _ancestors(self) -> list[set[int]]:
        return [nx.ancestors(self._digraph, b) for b in self.blocks]

    def _parts_of_a_net_pay(self) -> None:
        """pays[t,k] ∨ ¬(b in slot k) ∨ (not begun before k and ended by k), for each end b."""
        for t, ends in enumerate(self._nets):
            for k in self.slots:
                begun = self._begun[t][k - 1] if k > 0 else self._false
                for b in ends:
                    outside = [~self.upto(b, k), self.upto(b, k - 1), self.pays[k][t]]
                    self.model.add_bool_or(*outside, ~begun)
                    self.model.add_bool_or(*outside, self._ended[t][k])

    def _loads(self) -> None:
        """Load: Σ_b T[b,g] + Σ_t c_t pays[t,k] <= load if on[k,g]; no c_t on a host."""
        seconds = self._bounds.units(np.array([self._graph.nets[ends] for ends in self._nets]))
        for k in self.slots:
            exchange = cp_model.LinearExpr.weighted_sum(self.pays[k], seconds)
            for g in self.groups:
                compute = self._in_slot(self._bounds.units(self._graph.time_s[g]), k)
                load = compute + exchange if self._graph.pays[g] else compute
                self.model.add(load <= self.load).only_enforce_if(self.on[k][g])

    def _work_flows_no_faster_than_all_devices(self) -> None:
        """Σ_b w_b upto[b,k] <= P Σ_{j<=k,g} λ_g on[j,g] with P at its ceiling; and the rest."""
        highest = float(self._bounds.price.max())
        work = self._bounds.units(self._bounds.work / highest)
        price = [int(x) for x in np.ceil(self._bounds.price / highest * PRICES - 1e-9)]
        total = sum(work)
        for k in self.slots[:-1]:
            done = cp_model.LinearExpr.weighted_sum([self.upto(b, k) for b in self.blocks], work)
            before, after = (
                sum(price[g] * self.on[j][g] for j in part for g in self.groups)
                for part in (self.slots[: k + 1], self.slots[k + 1 :])
            )
            self.model.add(PRICES * done <= (UNITS + 1) * before)
            self.model.add(PRICES * (total - done) <= (UNITS + 1) * after)

    def _blocks_have_earliest_and_latest_slots(self) -> None:
        """A block is not in slots too few for all that precedes it, nor for all that follows."""
        counts = np.array(self._instance.cluster.counts)
        best = np.sort(np.repeat(self._bounds.price, counts))[::-1][: len(self.slots)]
        room = np.concatenate([[0.0], np.cumsum(best)]) * self._bounds.ceiling_s * (1 + 1e-9)
        work = self._bounds.work
        for b in self.blocks:
            before = work[[b, *self._ancestors[b]]].sum()
            after = work[[b, *self._descendants[b]]].sum()
            for k in self.slots[:-1]:
                if before > room[k + 1]:
                    self.model.add(self.upto(b, k) == 0)
                if after > room[len(self.slots) - 1 - k]:
                    self.model.add(self.upto(b, k) == 1)

    def _memory(self) -> None:
        """Memory: f A + copies(f) P <= memory_g if on[k,g], with f = K - k in flight."""
        memory, graph = self._instance.rules.memory, self._graph
        for k in self.slots:
            in_flight = memory.in_flight(1, len(self.slots) - k)
            held = memory.activation_copies(in_flight) * graph.activation_bytes
            held = held + memory.weight_copies(in_flight) * graph.parameter_bytes
            unit = 1.0 if (held == np.floor(held)).all() else max(held.sum(), 1e-9) / MOST_BYTES
            n_bytes = self._in_slot([int(x) for x in held / unit], k)
            for g, group in enumerate(self._instance.cluster.groups):
                if group.memory_bytes is not None:
                    room = min(int(group.memory_bytes / unit), MOST_BYTES)
                    self.model.add(n_bytes <= room).only_enforce_if(self.on[k][g])

    def add_hint(self, plan: Plan) -> None:
        """Offer a plan to begin with."""
        skipped = len(self.slots) - len(plan.stages)
        stage_of = plan.stage_of
        place = [
            skipped + max(stage_of[self._instance.nodes[v]] for v in layers)
            for layers in self._graph.nodes
        ]
        for k in self.slots:
            self.model.add_hint(self.empty[k], k < skipped)
            for g in self.groups:
                used = k >= skipped and plan.stages[k - skipped].replicas[g] > 0
                self.model.add_hint(self.on[k][g], used)
            for t, ends in enumerate(self._nets):
                held = [place[b] == k for b in ends]
                self.model.add_hint(self.pays[k][t], any(held) and not all(held))
            if k < self.slots[-1]:
                for b in self.blocks:
                    self.model.add_hint(self.upto(b, k), place[b] <= k)
