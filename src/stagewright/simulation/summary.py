"""The figures of a run as plain data for JSON."""

from __future__ import annotations

import dataclasses
from typing import Any

from stagewright.simulation.check import PeriodCheck
from stagewright.simulation.simulate import Simulation

SCHEMA = "stagewright.simulation/1"


def summary(simulation: Simulation, formula_s: float) -> dict[str, Any]:
    """Return the figures of a run; ``formula_s`` is the period that the cost model states."""
    pace, steady = simulation.pace, simulation.steady
    return {
        "schema": SCHEMA,
        "minibatches": simulation.minibatches,
        "order": None if pace is None else str(pace.order),
        "slack": None if pace is None else pace.slack,
        "group": _group(simulation),
        "links_shared": str(simulation.conditions.links),
        "formula_period_s": formula_s,
        "period_s": simulation.period_s,
        "settled": None if steady is None else steady.settled,
        "fill_s": simulation.fill_s,
        "drain_s": simulation.drain_s,
        "makespan_s": simulation.makespan_s,
        "gpus": [
            {**dataclasses.asdict(figures.gpu), **_flat(dataclasses.asdict(figures))}
            for figures in simulation.gpu_figures
        ],
        "links": [dataclasses.asdict(link) for link in simulation.links],
    }


def _group(simulation: Simulation) -> int | None:
    pace = simulation.pace
    if pace is None or not pace.order.flushes:
        return None
    return pace.group_of(simulation.run.machine)


def _flat(figures: dict[str, Any]) -> dict[str, Any]:
    del figures["gpu"]
    return figures


def check_summary(check: PeriodCheck) -> dict[str, Any]:
    """Return a check as plain data."""
    return {
        "own_links_s": check.own_s,
        "shared_cards_s": check.cards_s,
        "shared_ports_s": check.ports_s,
        "slack": check.slack,
        "start_up_s": check.start_up_s,
        "agrees": check.agrees,
        "simplifications": list(check.simplifications),
        "shared_cards": [
            {"name": name, "users": list(users)} for name, users in check.shared_cards
        ],
    }
