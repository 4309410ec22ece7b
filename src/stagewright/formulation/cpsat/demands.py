"""Demands of the user on counts and prices, and how any demand can be switched off.

A demand has a name, such as ``max-stages`` or ``pin:node5``. With a literal for that name its
constraints hold only if the literal does, so that a proof of infeasibility can name the demands
that it needs.
"""

from __future__ import annotations

from collections.abc import Mapping

from ortools.sat.python import cp_model

from stagewright.formulation.cpsat.variables import Variables
from stagewright.model.instance import Instance
from stagewright.model.rules import Recompute

Guards = Mapping[str, cp_model.IntVar]

PRICE_UNITS = 2**60
PRICE_MARGIN = 1e-12


def demand_names(instance: Instance) -> tuple[str, ...]:
    """Name every demand in force, each once; layers that belong together are no demand here."""
    rules = instance.rules
    always = {
        "memory": rules.use_memory,
        "recompute": rules.recompute != Recompute.AUTO,
        "use-all": rules.use_all,
        "straight-pipeline": rules.straight_pipeline,
        "max-stages": rules.max_stages is not None,
        "max-replicas": rules.max_replicas is not None,
        "max-gpus": rules.max_gpus is not None,
        "max-price": rules.max_price_per_hour is not None,
    }
    placement = rules.placement
    names = [
        *(name for name, is_demanded in always.items() if is_demanded),
        *(f"pin:{node}" for node, _ in placement.stage),
        *(f"forbid:{node}" for node, _ in placement.forbidden),
        *(["kept"] if placement.kept is not None else []),
    ]
    return tuple(dict.fromkeys(names))


class Demands:
    """Adds the demands on counts, prices and recomputing; see :func:`demand_names`."""

    def __init__(
        self, model: cp_model.CpModel, variables: Variables, guards: Guards | None = None
    ) -> None:
        self._model = model
        self._v = variables
        self._guards = guards or {}
        self._instance = variables.formulation.problem.instance
        self._rules = self._instance.rules

    def add_demands(self) -> None:
        """Add all of them."""
        self._use_all()
        self._replicas()
        self._max_stages()
        self._max_gpus()
        self._max_price()
        self._recompute()

    def _only_if(self, name: str) -> list[cp_model.IntVar]:
        return [self._guards[name]] if name in self._guards else []

    def _use_all(self) -> None:
        """Every GPU: Σ_k n[k,g] = n_g."""
        if not self._rules.use_all:
            return
        v = self._v
        for g in v.groups:
            total = sum(v.count[k][g] for k in v.slots)
            demand = self._model.add(total == v.cluster.counts[g])
            demand.only_enforce_if(*self._only_if("use-all"))

    def _replicas(self) -> None:
        """Replicas of a slot: ¬size[k,m] for every m above the limit."""
        straight = 1 if self._rules.straight_pipeline else None
        limits = {"straight-pipeline": straight, "max-replicas": self._rules.max_replicas}
        for name, limit in limits.items():
            for k in self._v.slots:
                for literal in self._v.size[k][1 + limit :] if limit is not None else []:
                    self._model.add_bool_and(~literal).only_enforce_if(*self._only_if(name))

    def _max_stages(self) -> None:
        """At most S stages: slot S is empty."""
        limit = self._rules.max_stages
        if limit is not None and limit in self._v.slots:
            empty = self._model.add_bool_and(self._v.size[limit][0])
            empty.only_enforce_if(*self._only_if("max-stages"))

    def _max_gpus(self) -> None:
        """At most so many GPUs: Σ_k,g n[k,g] <= limit."""
        if self._rules.max_gpus is not None:
            total = sum(n for counts in self._v.count for n in counts)
            demand = self._model.add(total <= self._rules.max_gpus)
            demand.only_enforce_if(*self._only_if("max-gpus"))

    def _max_price(self) -> None:
        """Price per hour: Σ_k,g price_g n[k,g] <= limit."""
        limit = self._rules.max_price_per_hour
        if limit is None:
            return
        v = self._v
        if limit > 0:
            units = PRICE_UNITS // (2 * v.cluster.gpu_count * len(v.slots))
            prices = [round(min(x / limit, 2.0) * units) for x in v.cluster.prices_per_hour]
            most = units + int(units * PRICE_MARGIN)
        else:
            prices = [1 if x > 0 else 0 for x in v.cluster.prices_per_hour]
            most = 0 if limit == 0 else -1
        total = sum(prices[g] * sum(v.count[k][g] for k in v.slots) for g in v.groups)
        self._model.add(total <= most).only_enforce_if(*self._only_if("max-price"))

    def _recompute(self) -> None:
        """The rule on recomputing where it can be switched off: recompute[k] as the rule says."""
        choices = self._rules.recompute.choices
        if len(self._v.formulation.recompute) == 1 or len(choices) > 1:
            return
        for literal in self._v.recompute:
            wanted = literal if choices[0] else ~literal
            self._model.add_bool_and(wanted).only_enforce_if(*self._only_if("recompute"))
