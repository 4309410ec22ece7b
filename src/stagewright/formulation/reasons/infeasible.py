"""Why there is no plan: the demands that exclude each other, and the least change that helps."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stagewright.formulation.cpsat.core import infeasible_core
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.reasons.changes import (
    Change,
    ChangeKind,
    fewer_versions,
    memory_scaled,
    more_memory,
    one_more_gpu,
    recompute_auto,
)
from stagewright.formulation.reasons.demands import (
    LIMITS,
    MEMORY,
    TOGETHER,
    demands_of,
    limit_of,
    used_of,
    with_limit,
    without,
)
from stagewright.formulation.reasons.trials import Least, Trials, by_count, by_ratio
from stagewright.formulation.run import Planned
from stagewright.model.plan import Plan

LONGEST_S = 30.0
SHARE = 0.5
CORE_SHARE = 0.3
MEMORY_SHARE = 0.5

Core = Callable[[Problem, Settings], tuple[str, ...]]
"""As :func:`stagewright.formulation.cpsat.core.infeasible_core`."""


@dataclass(frozen=True, slots=True)
class Need:
    """The fullest stage of the plan that needs the least memory.

    All sizes are bytes of one replica.

    Attributes
    ----------
    plan
        That plan.
    stage, gpu
        The stage, and the GPU type whose memory it exceeds by the largest factor.
    needed_bytes, memory_bytes
        What the stage needs and what the GPU has.
    copies, parameter_bytes
        Copies of the parameters that are held (versions, gradient, optimizer), and one of them.
    in_flight, activation_bytes, input_bytes
        Minibatches in flight, activations of one, and bytes of one minibatch that the stage reads.
    proven
        Whether no plan needs 1 % less.
    """

    plan: Plan
    stage: int
    gpu: str
    needed_bytes: float
    memory_bytes: float
    copies: int
    parameter_bytes: float
    in_flight: int
    activation_bytes: float
    input_bytes: float
    proven: bool


@dataclass(frozen=True)
class Infeasibility:
    """Why there is no plan.

    Attributes
    ----------
    demands
        Names of demands that no plan satisfies together.
    minimal
        Whether each of them is known to be needed for that.
    need
        What memory lacks, if it is one of them and time allowed to find out.
    helps, fails, untried
        Single changes: after which a plan was found, there is proven to be none, and which
        were not decided in time.
    """

    demands: tuple[str, ...]
    minimal: bool
    need: Need | None
    helps: tuple[Change, ...]
    fails: tuple[Change, ...]
    untried: tuple[Change, ...]


def explain_infeasible(
    problem: Problem,
    planner: str,
    settings: Settings,
    on_step: Callable[[str], None] | None = None,
    core: Core = infeasible_core,
) -> Infeasibility:
    """Find out why there is no plan, in at most half of the time limit and 30 s.

    Parameters
    ----------
    planner
        Who proved that there is none, and will plan the changed problems.
    on_step
        Told in words what is being tried.
    core
        Where to begin looking for demands that exclude each other.
    """
    tell = on_step or _silent
    limit = min(LONGEST_S, SHARE * settings.time_limit_s)
    own = dataclasses.replace(settings, time_limit_s=limit, began=time.monotonic())
    trials = Trials(planner, own)
    tell("which demands exclude each other")
    demands, minimal = conflict(problem, trials, core)
    least = None
    if MEMORY in demands:
        tell("the least memory that a plan needs")
        least = least_memory(problem, trials)
    helps: list[Change] = []
    fails: list[Change] = []
    untried: list[Change] = []
    if least is not None:
        helps.append(more_memory(problem, needed_by_type(least.planned)))
    others = _changes(problem, demands)
    for done, change in enumerate(others):
        tell(f"change {done + 1} of {len(others)}")
        trial = trials.any(change.problem, len(others) - done)
        if trial.planned is not None:
            helps.append(_least_change(problem, change, trial.planned, trials))
        else:
            (fails if trial.excluded else untried).append(change)
    need = None if least is None else _need(problem, least)
    return Infeasibility(demands, minimal, need, tuple(helps), tuple(fails), tuple(untried))


def _silent(step: str) -> None:
    del step


def conflict(problem: Problem, trials: Trials, core: Core) -> tuple[tuple[str, ...], bool]:
    """Return demands that no plan satisfies together, and whether each of them is needed.

    The core says nothing of layers that share a stage, and a limit may have ended it. A deletion
    filter (Chinneck and Dravnieks, 1991) does the rest: a demand without which there is still no
    plan is left out for good.
    """
    named = () if trials.over else core(problem, trials.settings.started(CORE_SHARE))
    everything = demands_of(problem)
    demands = tuple(
        x for x in everything if not named or x in named or x.startswith(f"{TOGETHER}:")
    )
    relaxed = problem
    for demand in everything:
        if demand not in demands:
            relaxed = without(relaxed, demand)
    needed, minimal = list(demands), True
    for demand in demands:
        if len(needed) == 1:
            break
        trial = trials.any(without(relaxed, demand), 2 * len(needed))
        if trial.excluded:
            needed.remove(demand)
            relaxed = without(relaxed, demand)
        elif trial.planned is None:
            minimal = False
    return tuple(needed), minimal


def least_memory(problem: Problem, trials: Trials) -> Least | None:
    """Find the least factor on all memories under which there is a plan, to 1 %."""
    first = trials.any(without(problem, MEMORY), 2)
    if first.planned is None:
        return None
    share = trials.settings.started(MEMORY_SHARE)
    return Trials(trials.planner, share).least(
        lambda factor: memory_scaled(problem, factor),
        lambda planned: _fullest(planned, problem)[0],
        1.0,
        first.planned,
        by_ratio,
        shares=4,
    )


def _fullest(planned: Planned, problem: Problem) -> tuple[float, int, int]:
    """Return (needed / memory, stage, group) where that is largest."""
    return max(
        (
            (figures.memory_bytes / group.memory_bytes, k, g)
            for k, (stage, figures) in enumerate(
                zip(planned.plan.stages, planned.evaluation.stages, strict=True)
            )
            for g, group in enumerate(problem.instance.cluster.groups)
            if stage.replicas[g] > 0 and group.memory_bytes is not None
        ),
        key=lambda x: x[0],
        default=(0.0, 0, 0),
    )


def needed_by_type(planned: Planned) -> dict[str, float]:
    """Return the bytes that a plan needs on a GPU of each type."""
    needed: dict[str, float] = {}
    groups = planned.problem.instance.cluster.groups
    for stage, figures in zip(planned.plan.stages, planned.evaluation.stages, strict=True):
        for group, n in zip(groups, stage.replicas, strict=True):
            if n > 0:
                needed[group.gpu] = max(needed.get(group.gpu, 0.0), figures.memory_bytes)
    return needed


def _need(problem: Problem, least: Least) -> Need:
    _, k, g = _fullest(least.planned, problem)
    group, figures = problem.instance.cluster.groups[g], least.planned.evaluation.stages[k]
    return Need(
        plan=least.planned.plan,
        stage=k,
        gpu=group.gpu,
        needed_bytes=figures.memory_bytes,
        memory_bytes=group.memory_bytes or math.inf,
        copies=problem.instance.rules.memory.weight_copies(figures.in_flight),
        parameter_bytes=figures.parameter_bytes,
        in_flight=figures.in_flight,
        activation_bytes=figures.activation_bytes,
        input_bytes=figures.input_bytes,
        proven=least.proven,
    )


def _changes(problem: Problem, demands: Sequence[str]) -> list[Change]:
    """Single changes that may help, apart from more memory."""
    spare = MEMORY in demands
    return [
        *(recompute_auto(problem) if spare else ()),
        *(fewer_versions(problem) if spare else ()),
        *one_more_gpu(problem),
        *(
            Change(ChangeKind.WITHOUT, without(problem, demand), subject=demand)
            for demand in demands
            if demand != MEMORY
        ),
    ]


def _least_change(problem: Problem, change: Change, planned: Planned, trials: Trials) -> Change:
    """Replace a dropped limit by the least number that allows a plan."""
    demand = change.subject
    if change.kind != ChangeKind.WITHOUT or demand not in LIMITS:
        return change
    least = trials.least(
        lambda limit: with_limit(problem, demand, limit),
        lambda found: used_of(problem, demand, found),
        limit_of(problem, demand),
        planned,
        by_ratio if demand == "max-price" else by_count,
    )
    limit = _cents(least.limit) if demand == "max-price" else least.limit
    changed = with_limit(problem, demand, limit)
    return Change(ChangeKind.LIMIT, changed, subject=demand, value=limit)


def _cents(price: float) -> float:
    """Round a price up to what is printed of it; sums of prices are off by a few 1e-16."""
    return math.ceil(price * 100 - 1e-9) / 100
