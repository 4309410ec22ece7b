"""How good the plan is proven to be, in plain words."""

from __future__ import annotations

from dataclasses import dataclass

from stagewright.model.plan import Status
from stagewright.report.labels import clean
from stagewright.report.page.facts import Facts, percent_words, time_words

TELLING = 0.01
"""Relative difference of prediction and simulation that a reader should know of."""


@dataclass(frozen=True)
class CertificateWords:
    """A verdict of a few words, and what it means.

    Attributes
    ----------
    verdict
        What a reader in a hurry has to know.
    proven
        Whether nothing is left to gain.
    sentences
        The same at length.
    """

    verdict: str
    proven: bool
    sentences: tuple[str, ...]


def certificate_words(facts: Facts) -> CertificateWords:
    """Say what is proven about the plan."""
    proof = facts.document.certificate
    solver = clean(proof.solver, 40)
    took = f"{proof.wall_s:.1f} s" if proof.wall_s >= 0.05 else "under 0.1 s"
    caveat = (
        "A proof speaks of the cost model's prediction from the profile, not of a measurement: "
        "it is as good as the profile and the stated bandwidths."
    )
    period = facts.evaluation.period_s
    if proof.status == Status.OPTIMAL:
        first = (
            f"No plan for this network on these GPUs that keeps the demands has a shorter period "
            f"than this one's {time_words(period)}, under cost model "
            f"{facts.cost_model.name}. {solver} proved it in {took}."
        )
        return CertificateWords("Proven optimal", True, (first, caveat))
    if proof.bound_s is None or proof.gap is None:
        first = (
            f"{solver} looks for a good plan and proves nothing ({took}). How far this plan is "
            "from the best one is not known; 'stagewright plan --planner cpsat' would say it."
        )
        return CertificateWords("Not proven", False, (first,))
    first = (
        f"No plan can have a shorter period than {time_words(proof.bound_s)}, under cost model "
        f"{facts.cost_model.name}; this plan's is {time_words(period)}. So at most "
        f"{percent_words(proof.gap)} of the period is left to gain. "
        f"{solver} searched for {took}; more time may narrow the gap."
    )
    verdict = f"Within {percent_words(proof.gap)} of the best"
    return CertificateWords(verdict, False, (first, caveat))


def doubt_words(facts: Facts) -> str:
    """Say so where a simulation contradicts the period that the cost model predicts."""
    simulation, period = facts.simulation, facts.evaluation.period_s
    if isinstance(simulation, str) or simulation.period_s is None or period <= 0:
        return ""
    off = simulation.period_s / period - 1
    if abs(off) <= TELLING:
        return ""
    return (
        f"Run in time with as few minibatches in flight as 1F1B starts with, the plan needs "
        f"{time_words(simulation.period_s)}, {percent_words(abs(off))} "
        f"{'more' if off > 0 else 'less'} than predicted."
    )
