"""``pipedream-dp``: PipeDream's hierarchical dynamic programme, as released.

It minimises its own idea of the period (Narayanan et al., SOSP 2019, section 3.1, and the
released optimizer's handling of levels, memory and transfers), which
``claimed_period_s`` states; the evaluator then says what the plan is worth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stagewright.formulation.antichain_states import StateSpace, published_states
from stagewright.formulation.assemble import stages_of_states
from stagewright.formulation.levels import Level, levels_of
from stagewright.formulation.problem import Outcome, Problem, Settings
from stagewright.formulation.split_table import (
    Floats,
    Indices,
    SplitTable,
    check_cells,
    fill,
    range_table,
)
from stagewright.model.errors import DoesNotApply
from stagewright.model.instance import Instance
from stagewright.model.plan import Plan, Stage, Status
from stagewright.model.rules import Rules


@dataclass(frozen=True)
class PipeDreamDp:
    """The published planner for homogeneous levels."""

    name: str = "pipedream-dp"
    summary: str = "PipeDream's hierarchical dynamic programme, as published (one GPU type)"

    def check(self, problem: Problem) -> None:
        """Need one GPU type in equal servers, and no rule that the original lacks."""
        levels_of(problem.instance.cluster)
        refuse_unknown_rules(self.name, problem.instance.rules)
        if problem.cost_model.one_device:
            raise DoesNotApply("it replicates stages, which the cost model does not know")

    def solve(self, problem: Problem, settings: Settings) -> Outcome:
        """Plan as the original does; the claim is its own period."""
        instance = problem.instance
        levels = levels_of(instance.cluster)
        graph = next(iter(instance.profiles.values()))
        states = published_states(graph)
        tables = _solve_levels(
            states,
            Figures.of(instance, states),
            levels,
            ratio=problem.cost_model.compression_ratio,
            straight=instance.rules.straight_pipeline,
            memory_bytes=memory_limit(instance),
            settings=settings,
        )
        claimed = float(tables[-1].value[0, -1, levels[-1].machines - 1])
        if not math.isfinite(claimed):
            return Outcome(
                Status.UNKNOWN, None, reason="the published recursion finds no plan within memory"
            )
        stages = _stages(instance, states, levels, tables)
        return Outcome(Status.FEASIBLE, Plan(stages, self.name, claimed))


@dataclass(frozen=True)
class Figures:
    """Totals over states: seconds, activation and parameter bytes of U_j, bytes of augment(A_j)."""

    time_s: Floats
    activation_bytes: Floats
    parameter_bytes: Floats
    out_bytes: Floats

    @classmethod
    def of(cls, instance: Instance, states: StateSpace) -> Figures:
        """Read them from the first GPU type's profile, as the published tools do."""
        gpu, graph = next(iter(instance.profiles.items()))
        layers = [graph.by_id[node] for node in states.nodes]
        activation = np.array([x.activation_bytes for x in layers])
        parameters = np.array([x.parameter_bytes for x in layers])
        return cls(
            states.totals(instance.type_time_s[gpu], states.done),
            states.totals(activation, states.done),
            states.totals(parameters, states.done),
            states.totals(activation, states.frontier),
        )


def memory_limit(instance: Instance) -> float | None:
    """Bytes of the smallest GPU if memory is a rule, else ``None``."""
    if not instance.rules.use_memory:
        return None
    known = [g.memory_bytes for g in instance.cluster.groups if g.memory_bytes is not None]
    return min(known, default=None)


def refuse_unknown_rules(name: str, rules: Rules) -> None:
    """Raise :class:`DoesNotApply` for rules that the published planners do not know."""
    unknown = {"--max-stages": rules.max_stages is not None, "--use-all": rules.use_all}
    for option, given in unknown.items():
        if given:
            raise DoesNotApply(f"'{name}' does not know {option}; use cpsat or exact-dp")


def _solve_levels(
    states: StateSpace,
    figures: Figures,
    levels: Sequence[Level],
    *,
    ratio: float | None,
    straight: bool,
    memory_bytes: float | None,
    settings: Settings,
) -> list[SplitTable]:
    size = len(states.done)
    check_cells(size, sum(level.machines for level in levels[:-1]))
    compute = range_table(figures.time_s)
    parameters = range_table(figures.parameter_bytes)
    held = range_table(figures.activation_bytes) + parameters
    tables: list[SplitTable] = []
    inner = 1
    for level in levels:
        outermost = level is levels[-1]
        n, bandwidth = level.machines, level.bandwidth_bytes_per_s
        m = np.arange(1, n + 1)
        rows = 1 if outermost else size
        # Ranges with j < i are infinite in every table: inf - inf and inf * 0 mean "none".
        with np.errstate(invalid="ignore"):
            sync = 2 * (m - 1) * parameters[:rows, :, None] / (bandwidth * m) / inner
            one_stage = np.nan_to_num(
                (compute[:rows, :, None] + sync) / m, nan=np.inf, posinf=np.inf
            )
            if memory_bytes is not None:
                over = np.ceil((n - m) / m) * held[:rows, :, None] > memory_bytes
                one_stage[over] = np.inf
        if straight:
            one_stage[:, :, 1:] = np.inf

        def last_stage(
            j: int,
            k: Indices,
            m: Indices,
            last: Indices,
            n: int = n,
            bandwidth: float = bandwidth,
            compute: Floats = compute,
        ) -> Floats:
            sync = 2 * (last - 1) * parameters[k + 1, j] / (bandwidth * last)
            seconds: Floats = (compute[k + 1, j] + sync) / last
            if ratio is not None:
                sent = 2 * figures.out_bytes / (bandwidth * ratio)
                seconds = np.maximum(seconds, sent[k] / last)
                if j < size - 1:
                    seconds = np.maximum(seconds, sent[j] / last)
            if memory_bytes is not None:
                over = held[k + 1, j] * np.ceil((n - m) / last) > memory_bytes
                seconds = np.where(over, np.inf, seconds)
            return np.where(last > 1, np.inf, seconds) if straight else seconds

        tables.append(
            fill(
                states,
                one_stage,
                last_stage,
                starts=rows,
                settings=settings,
                fewer_machines=settings.fewer_machines,
            )
        )
        if not outermost:
            compute = tables[-1].value[:, :, n - 1]
            inner = n
    return tables


def _stages(
    instance: Instance, states: StateSpace, levels: Sequence[Level], tables: Sequence[SplitTable]
) -> tuple[Stage, ...]:
    """Read the plan from the outside in; replica counts multiply."""
    found: list[tuple[int, list[int]]] = []

    def descend(depth: int, first: int, last: int, units: list[int]) -> None:
        """Split states over groups of machines; ``units`` are first GPUs of each group."""
        if depth < 0:
            found.append((last, units))
            return
        inside = math.prod(level.machines for level in levels[:depth])
        for part in tables[depth].parts(first, last, levels[depth].machines):
            chosen = [
                unit + (part.offset + machine) * inside
                for unit in units
                for machine in range(part.machines)
            ]
            descend(depth - 1, part.first, part.last, chosen)

    descend(len(levels) - 1, 0, len(states.done) - 1, [0])
    per_group = instance.cluster.counts[0]
    replicas = []
    for _, gpus in found:
        counts = [0] * len(instance.cluster.groups)
        for gpu in gpus:
            counts[gpu // per_group] += 1
        replicas.append(tuple(counts))
    return stages_of_states(states, [last for last, _ in found], replicas, instance)
