"""Which GPUs a stage may take, and how many are left: the resource side of the stage DPs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stagewright.formulation.positions import Positions, positions_of
from stagewright.model.instance import Instance
from stagewright.model.rules import Recompute, Rules

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]

PRICE_SLACK = 1 + 1e-12


@dataclass(frozen=True)
class Choice:
    """One way to equip a stage.

    Attributes
    ----------
    replicas
        GPUs of each group.
    recompute
        Whether it computes its activations again.
    old_stage
        Which stage of the plan to keep it continues, if any.
    before, after
        States without and with this stage, pairwise; shape (states,).
    """

    replicas: tuple[int, ...]
    recompute: bool
    old_stage: int | None
    before: Indices
    after: Indices


@dataclass(frozen=True)
class ResourceSpace:
    """States: GPUs in use by the stages placed so far, times what :class:`Positions` asks for.

    Attributes
    ----------
    gpus
        GPUs in use in each state, shape (states,).
    choices
        Every way to equip one stage.
    final
        States in which a plan may begin, all its stages placed; shape (states,).
    positions
        The position varies fastest in a state's number.
    """

    gpus: Indices
    choices: tuple[Choice, ...]
    final: NDArray[np.bool_]
    positions: Positions

    @property
    def transitions(self) -> int:
        """Pairs of states over all choices: the work of one step."""
        return sum(len(choice.before) for choice in self.choices)


@dataclass(frozen=True)
class _GpuSteps:
    """Pairs of GPU states without and with a stage on ``replicas``."""

    replicas: tuple[int, ...]
    before: Indices
    after: Indices


def exact_resources(instance: Instance) -> ResourceSpace:
    """Every count of every group."""
    cluster, rules = instance.cluster, instance.rules
    capacity = _capacity(instance)
    shape = [n + 1 for n in capacity]
    states = np.indices(shape).reshape(len(shape), -1)
    gpus = states.sum(axis=0)
    affordable = _affordable(rules, gpus, np.array(cluster.prices_per_hour) @ states)
    steps = []
    most = rules.most_replicas(cluster.gpu_count)
    for replicas in itertools.product(*(range(n + 1) for n in capacity)):
        if 1 <= sum(replicas) <= most:
            enough = (states >= np.array(replicas)[:, None]).all(axis=0)
            after = np.flatnonzero(enough & affordable)
            shift = int(np.ravel_multi_index(replicas, shape))
            if len(after) > 0:
                steps.append(_GpuSteps(replicas, after - shift, after))
    return _with_positions(instance, gpus, steps, affordable)


def exact_size(instance: Instance) -> int:
    """Transitions that :func:`exact_resources` would have at most, without building them."""
    rules, positions = instance.rules, positions_of(instance)
    pairs = np.ones(1)
    for n in _capacity(instance):
        pairs = np.convolve(pairs, np.arange(n + 1, 0, -1.0))
    most = rules.most_replicas(instance.cluster.gpu_count)
    steps = sum(len(positions.steps(old)[0]) for old in positions.continued)
    return int(pairs[1 : most + 1].sum()) * len(_recomputed(rules)) * steps


def listed_resources(instance: Instance, order: Sequence[int]) -> ResourceSpace:
    """Take the GPUs in a fixed order; a stage gets consecutive ones.

    ``order`` lists the groups; the last stage gets the end of the list. Far fewer states than
    :func:`exact_resources`, at the price of missing plans.
    """
    cluster, rules = instance.cluster, instance.rules
    listed = [g for g in order for _ in range(cluster.counts[g])]
    total = len(listed)
    gpus = np.arange(total + 1)
    prices = [cluster.prices_per_hour[g] for g in reversed(listed)]
    affordable = _affordable(rules, gpus, np.concatenate([[0.0], np.cumsum(prices)]))
    by_replicas: dict[tuple[int, ...], tuple[list[int], list[int]]] = {}
    most = rules.most_replicas(total)
    for used in range(total):
        counts = [0] * len(cluster.groups)
        for now in range(used + 1, min(used + most, total) + 1):
            if not affordable[now]:
                break
            counts[listed[total - now]] += 1
            before, after = by_replicas.setdefault(tuple(counts), ([], []))
            before.append(used)
            after.append(now)
    steps = [
        _GpuSteps(replicas, np.array(before), np.array(after))
        for replicas, (before, after) in by_replicas.items()
    ]
    return _with_positions(instance, gpus, steps, affordable)


def _capacity(instance: Instance) -> list[int]:
    """GPUs of each group that a plan may use."""
    limit = instance.rules.max_gpus
    return [n if limit is None else min(n, limit) for n in instance.cluster.counts]


def _affordable(rules: Rules, gpus: Indices, price: Floats) -> NDArray[np.bool_]:
    """Whether the limits on GPUs and their price allow a state; using more never helps."""
    allowed = np.ones(len(gpus), dtype=bool)
    if rules.max_gpus is not None:
        allowed &= gpus <= rules.max_gpus
    if rules.max_price_per_hour is not None:
        allowed &= price <= rules.max_price_per_hour * PRICE_SLACK
    return allowed


def _recomputed(rules: Rules) -> tuple[bool, ...]:
    """What stages do; where memory is no rule, recomputing only takes longer."""
    if rules.recompute == Recompute.AUTO and not rules.use_memory:
        return (False,)
    return rules.recompute.choices


def _with_positions(
    instance: Instance, gpus: Indices, steps: Iterable[_GpuSteps], affordable: NDArray[np.bool_]
) -> ResourceSpace:
    """Every GPU state at every position."""
    positions = positions_of(instance)
    size = len(positions)
    choices = []
    moves = {old: positions.steps(old) for old in positions.continued}
    for step, recompute in itertools.product(steps, _recomputed(instance.rules)):
        for old_stage, (following, here) in moves.items():
            before = (step.before[:, None] * size + following).ravel()
            after = (step.after[:, None] * size + here).ravel()
            choices.append(Choice(step.replicas, recompute, old_stage, before, after))
    ends = gpus == instance.cluster.gpu_count if instance.rules.use_all else gpus > 0
    final = (ends & affordable)[:, None] & (np.arange(size) == positions.start)
    return ResourceSpace(np.repeat(gpus, size), tuple(choices), final.ravel(), positions)
