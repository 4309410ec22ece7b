"""Which GPUs a stage may take, and how many are left: the resource side of the stage DPs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stagewright.model.cluster import Cluster
from stagewright.model.rules import Rules

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Choice:
    """One way to equip a stage.

    Attributes
    ----------
    replicas
        GPUs of each group.
    before, after
        Resource states without and with this stage, pairwise; shape (states,).
    """

    replicas: tuple[int, ...]
    before: Indices
    after: Indices


@dataclass(frozen=True)
class ResourceSpace:
    """States of GPUs in use by the stages placed so far; state 0 is none.

    Attributes
    ----------
    gpus
        GPUs in use in each state, shape (states,).
    choices
        Every way to equip one stage.
    final
        States in which a plan may end, shape (states,).
    """

    gpus: Indices
    choices: tuple[Choice, ...]
    final: NDArray[np.bool_]

    @property
    def transitions(self) -> int:
        """Pairs of states over all choices: the work of one step."""
        return sum(len(choice.before) for choice in self.choices)


def exact_resources(cluster: Cluster, rules: Rules) -> ResourceSpace:
    """Every count of every group, and the number of stages if it is limited."""
    capacity = list(cluster.counts)
    limited = rules.max_stages is not None and rules.max_stages < cluster.gpu_count
    if limited and rules.max_stages is not None:
        capacity.append(rules.max_stages)
    shape = [n + 1 for n in capacity]
    states = np.indices(shape).reshape(len(shape), -1)
    groups = len(cluster.groups)
    choices = []
    most = 1 if rules.straight_pipeline else cluster.gpu_count
    for replicas in itertools.product(*(range(n + 1) for n in cluster.counts)):
        if 1 <= sum(replicas) <= most:
            need = np.array([*replicas, 1] if limited else replicas)
            after = np.flatnonzero((states >= need[:, None]).all(axis=0))
            shift = int(np.ravel_multi_index(tuple(need), shape))
            choices.append(Choice(replicas, after - shift, after))
    gpus = states[:groups].sum(axis=0)
    final = gpus == cluster.gpu_count if rules.use_all else gpus > 0
    return ResourceSpace(gpus, tuple(choices), final)


def exact_size(cluster: Cluster, rules: Rules) -> int:
    """Transitions that :func:`exact_resources` would have, without building them."""
    shape = math.prod((n + 1) * (n + 2) // 2 for n in cluster.counts)
    if rules.straight_pipeline:
        shape = cluster.gpu_count * math.prod(n + 1 for n in cluster.counts)
    return shape * (1 if rules.max_stages is None else rules.max_stages)


def listed_resources(cluster: Cluster, rules: Rules, order: Sequence[int]) -> ResourceSpace:
    """Take the GPUs in a fixed order; a stage gets consecutive ones.

    ``order`` lists the groups; the last stage gets the end of the list. Far fewer states than
    :func:`exact_resources`, at the price of missing plans.
    """
    listed = [g for g in order for _ in range(cluster.counts[g])]
    total = len(listed)
    stages = min(rules.max_stages or total, total)
    levels = stages + 1 if stages < total else 1
    by_replicas: dict[tuple[int, ...], tuple[list[int], list[int]]] = {}
    for used in range(total):
        counts = [0] * len(cluster.groups)
        most = used + 1 if rules.straight_pipeline else total
        for now in range(used + 1, most + 1):
            counts[listed[total - now]] += 1
            before, after = by_replicas.setdefault(tuple(counts), ([], []))
            for level in range(max(1, levels - 1)):
                before.append(used * levels + level)
                after.append(now * levels + min(level + 1, levels - 1))
    gpus = np.repeat(np.arange(total + 1), levels)
    choices = tuple(
        Choice(replicas, np.array(before), np.array(after))
        for replicas, (before, after) in by_replicas.items()
    )
    final = gpus == total if rules.use_all else gpus > 0
    return ResourceSpace(gpus, choices, final)
