"""Under which conditions a plan is run: dispatch, overlap, and which transfers share a link."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

from stagewright.model.errors import DoesNotApply, InputError


class Links(StrEnum):
    """Which transfers share a link.

    ``own``: every cut and every all-reduce has links of its own, as the cost models assume.
    ``cards``: a server has one network card for all that enters or leaves it.
    ``ports``: inside a server, too, a GPU has one port for all that it sends and receives.
    """

    OWN = "own"
    CARDS = "cards"
    PORTS = "ports"


class Assumptions(Protocol):
    """What is read off a cost model: its name and its switches, none of its formulas."""

    @property
    def name(self) -> str:
        """What the command line calls it."""

    @property
    def compression_ratio(self) -> float | None:
        """By how much activations shrink; ``None`` where transfers take no time."""

    @property
    def overlap(self) -> bool:
        """Whether computing overlaps transfers."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """How the hardware runs a plan.

    Attributes
    ----------
    compression_ratio
        By which activations shrink before they are sent; ``None``: transfers take no time.
    overlap
        Whether a GPU computes while it receives activations and returns gradients.
    dispatch
        Whether replicas take turns, or minibatches go to them in proportion to their speed.
    links
        Which transfers share a link.
    one_link_per_cut
        Whether the replicas of two neighbouring stages share a single link (``sparsepipe``).
    """

    compression_ratio: float | None = 1.0
    overlap: bool = True
    dispatch: Literal["equal", "proportional"] = "equal"
    links: Links = Links.CARDS
    one_link_per_cut: bool = False


def conditions_of(cost_model: Assumptions, links: Links = Links.CARDS) -> Conditions:
    """Return the conditions that a cost model speaks of.

    Raises
    ------
    DoesNotApply
        If it is about something else than a pipeline of minibatches.
    """
    if cost_model.name == "max-load":
        raise DoesNotApply(
            "a plan under cost model 'max-load' cannot be simulated: it states loads of devices, "
            "not a pipeline with links. Plan with --cost-model topology to simulate"
        )
    if cost_model.name not in {"topology", "pipedream", "sparsepipe"}:
        raise InputError(f"the simulator does not know cost model '{cost_model.name}'")
    dispatch = getattr(cost_model, "dispatch", "equal")
    return Conditions(
        compression_ratio=cost_model.compression_ratio,
        overlap=cost_model.overlap,
        dispatch=dispatch,
        links=links,
        one_link_per_cut=cost_model.name == "sparsepipe",
    )
