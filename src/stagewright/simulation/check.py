"""A formula's period beside simulated ones: with links of their own, with shared ones, and less.

The same plan runs several times. With links of its own for every cut and enough in flight, nothing
but the formula's own simplifications can make a difference. What sharing links costs, and what
PipeDream's start-up count costs, is told apart from that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from stagewright.model.instance import Instance
from stagewright.model.plan import Plan
from stagewright.simulation.conditions import Conditions, Links
from stagewright.simulation.orders import Pace
from stagewright.simulation.simplifications import simplifications
from stagewright.simulation.simulate import Simulation, simulate

TOLERANCE = 0.01
"""Largest relative difference that counts as agreement."""

MOST_SLACK = 4
"""So much slack counts as enough in flight."""

_ENOUGH = 1.002


@dataclass(frozen=True, slots=True)
class PeriodCheck:
    """One plan's periods, in seconds per minibatch.

    Attributes
    ----------
    formula_s
        What the formula says.
    own_s, cards_s, ports_s
        Simulated with enough in flight: every cut with links of its own; one network card a server;
        one port a GPU, too (:class:`~stagewright.simulation.conditions.Links`).
    slack
        How much slack was enough (:func:`~stagewright.simulation.orders.windows`), up to
        :data:`MOST_SLACK`.
    start_up_s
        Simulated with the start-up count itself, and one network card a server.
    simplifications
        Where the formula says something else than links and GPUs of their own would do.
    shared_cards
        Network cards that several cuts or all-reduces share: name, and what goes over it.
    """

    formula_s: float
    own_s: float
    cards_s: float
    ports_s: float
    slack: int
    start_up_s: float
    simplifications: tuple[str, ...]
    shared_cards: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def agrees(self) -> bool:
        """Whether formula and simulation agree within 1 % where nothing is shared."""
        return abs(self.own_s - self.formula_s) <= TOLERANCE * self.formula_s

    @property
    def explained(self) -> bool:
        """Whether they agree, or a simplification of the formula is known that bears on it."""
        return self.agrees or bool(self.simplifications)

    def too_kind(self, simulated_s: float) -> float:
        """By which part of itself the formula's period is exceeded."""
        return 0.0 if self.formula_s <= 0 else simulated_s / self.formula_s - 1


def check_period(
    instance: Instance, plan: Plan, conditions: Conditions, cost_model: str, formula_s: float
) -> PeriodCheck:
    """Simulate a plan under several conditions and set the periods beside the formula's.

    Raises
    ------
    InputError
        If the plan is too large to be simulated.
    """
    slack, own_s = _own(instance, plan, conditions)
    enough = Pace(slack=slack)
    start_up = simulate(instance, plan, replace(conditions, links=Links.CARDS))
    shared = tuple(
        (link.name, link.users)
        for link in start_up.links
        if len(link.users) > 1 and link.minibatch_s > 0
    )
    cards_s = own_s
    if shared:
        cards_s = _period(simulate(instance, plan, replace(conditions, links=Links.CARDS), enough))
    ports_s = _period(simulate(instance, plan, replace(conditions, links=Links.PORTS), enough))
    return PeriodCheck(
        formula_s=formula_s,
        own_s=own_s,
        cards_s=cards_s,
        ports_s=ports_s,
        slack=slack,
        start_up_s=_period(start_up),
        simplifications=simplifications(instance.cluster, plan, conditions, cost_model),
        shared_cards=shared,
    )


def _own(instance: Instance, plan: Plan, conditions: Conditions) -> tuple[int, float]:
    """Return the slack that is enough with links of their own for every cut, and the period."""
    alone = replace(conditions, links=Links.OWN)

    def period_s(slack: int) -> float:
        return _period(simulate(instance, plan, alone, Pace(slack=slack)))

    least_s = period_s(MOST_SLACK)
    for slack in range(MOST_SLACK):
        found_s = period_s(slack)
        if found_s <= least_s * _ENOUGH:
            return slack, found_s
    return MOST_SLACK, least_s


def _period(simulation: Simulation) -> float:
    if simulation.period_s is None:
        raise AssertionError("a run of the simulator's own choice has no steady state")
    return simulation.period_s
