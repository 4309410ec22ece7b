"""Proportional dispatch: each replica takes minibatches as fast as it can."""

from __future__ import annotations

from collections.abc import Sequence

from ortools.sat.python import cp_model

from stagewright.formulation.cpsat.variables import SHARES, SLOWEST, Variables


class Proportional:
    """Pace τ of one slot: 1/τ = Σ_g n_g / T_g, written with shares s_g of the minibatches.

    Each replica of group g takes the share s_g of all minibatches and needs s_g T_g <= τ; the
    shares of all replicas make one: Σ_g n_g s_g >= 1. Shares are whole multiples of
    1/SHARES, and rounding them down is allowed for, so that τ is never overstated.
    """

    def __init__(self, model: cp_model.CpModel, variables: Variables, slot: int) -> None:
        self._model = model
        self._v = variables
        self._k = slot

    def pace(self, compute: Sequence[cp_model.IntVar]) -> cp_model.IntVar:
        """Return τ in time units; ``compute`` is T_g of the slot, by group."""
        v, model, k = self._v, self._model, self._k
        ceiling = v.formulation.ceiling
        tau = model.new_int_var(0, ceiling + 1, f"pace[{k}]")
        totals = []
        for g in v.groups:
            share = v.share[k][g]
            slowest = SLOWEST * ceiling
            time = model.new_int_var(0, slowest, f"time[{k},{g}]")
            model.add_min_equality(time, [compute[g], slowest])
            load = model.new_int_var(0, SHARES * (ceiling + 1), f"load[{k},{g}]")
            model.add_multiplication_equality(load, [share, time])
            model.add(load <= SHARES * tau)
            totals.append(self._all_replicas(g, share))
        model.add(sum(totals) >= SHARES - v.most).only_enforce_if(~v.size[k][0])
        return tau

    def _all_replicas(self, g: int, share: cp_model.IntVar) -> cp_model.IntVar:
        """n_g s_g, by one literal for each count."""
        v, model, k = self._v, self._model, self._k
        most = min(v.most, v.cluster.counts[g])
        total = model.new_int_var(0, most * SHARES, f"taken[{k},{g}]")
        exactly = [model.new_bool_var(f"count[{k},{g}]={n}") for n in range(most + 1)]
        model.add_exactly_one(exactly)
        model.add(v.count[k][g] == sum(n * x for n, x in enumerate(exactly)))
        for n, literal in enumerate(exactly):
            model.add(total == n * share).only_enforce_if(literal)
        return total
