"""Choosing runs and wide stages: a path to all layers that no group of GPUs is overdrawn by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum

import numpy as np
from ortools.sat.python import cp_model

from stagewright.formulation.cells import Cell
from stagewright.formulation.cpsat.stoppable import solve_until
from stagewright.formulation.milp.process import solve_apart
from stagewright.formulation.milp.translate import Translation
from stagewright.formulation.priced_paths import Wide
from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.server_runs import Run
from stagewright.formulation.stage_columns import Columns
from stagewright.model.plan import Stage
from stagewright.model.rules import Recompute

MANY_LITERALS = 300_000
LOOSE = 1e-6
"""Feasibility tolerance where whole numbers are rounded and checked afterwards."""

Value = Callable[[cp_model.IntVar], int]
"""What a solver says a variable is."""


class Verdict(Enum):
    """What is known of a period."""

    KEPT = "kept"
    REFUTED = "refuted"
    OPEN = "open"


class PathModel:
    """Runs and wide stages that prices do not exclude, as a CP-SAT model.

    A run has a literal for each server it may lie in (or for each class, where cells are classes);
    a wide stage has one, and replicas on each cell. If this has no path though all parts are given,
    no plan keeps the period. With cells by server a path is a plan; else it says what to look at.
    """

    def __init__(
        self,
        problem: Problem,
        columns: Columns,
        runs: Sequence[Run],
        wide: Sequence[Wide],
        cells: Sequence[Cell],
    ) -> None:
        self._problem = problem
        self._columns = columns
        self._runs, self._wide = runs, wide
        self._model = cp_model.CpModel()
        self._cells = cells
        self._exact = all(cell.server is not None for cell in cells)
        self._servers = {
            r.kind: list(
                dict.fromkeys(
                    c.server for c in cells if columns.resources[c.resource].kind == r.kind
                )
            )
            for r in columns.resources
        }
        self._sizes = {r.kind: len(r.servers) for r in columns.resources}
        self._in_server: dict[tuple[int, int | None], cp_model.IntVar] = {}
        self._over: list[cp_model.IntVar] = []
        self._replicas: list[dict[int, cp_model.IntVar]] = []
        self.stages: tuple[Stage, ...] | None = None
        self.chosen: tuple[list[Run], list[Wide]] = ([], [])

    @property
    def too_large(self) -> bool:
        """Whether the model would take more time and memory than it can repay."""
        in_servers = sum(len(self._servers[run.kind]) for run in self._runs)
        return in_servers + len(self._cells) * len(self._wide) > MANY_LITERALS

    def decide(self, settings: Settings, patience: float) -> Verdict:
        """Look for a path with CP-SAT, for so much of its deterministic time."""
        self._build()
        solver = cp_model.CpSolver()
        solver.parameters.max_time_in_seconds = max(0.05, settings.time_limit_s - settings.wall_s)
        solver.parameters.max_deterministic_time = patience
        solver.parameters.num_workers = settings.workers
        solver.parameters.random_seed = settings.seed
        solver.parameters.linearization_level = 2
        status = solve_until(solver, self._model, settings.stop)
        if status == cp_model.INFEASIBLE:
            return Verdict.REFUTED
        if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
            return Verdict.OPEN
        self._accept(solver.value)
        return Verdict.KEPT

    def find(self, settings: Settings, limit_s: float) -> bool:
        """Look for a path with HiGHS, for so many seconds.

        Its linear relaxation is nearly tight here, and it often finds in a second what CP-SAT does
        not in a minute. What it excludes is no proof.
        """
        self._build()
        self._model.minimize(self._model.new_int_var(0, 1, "nothing"))
        left = settings.time_limit_s - settings.wall_s
        own = replace(settings.started(), time_limit_s=min(left, limit_s), solver="highs")
        linear = Translation(self._model.proto, 1.0)
        values = solve_apart(
            linear.model, None, own, 0.0, lambda _: None, tolerances=(LOOSE,)
        ).values
        if values is None:
            return False
        self._accept(lambda variable: round(values[variable.index]))
        return True

    def _build(self) -> None:
        """Add all literals and constraints."""
        for number, run in enumerate(self._runs):
            for server in self._servers[run.kind]:
                literal = self._model.new_bool_var(f"run[{number},{server}]")
                self._in_server[number, server] = literal
        for number, stage in enumerate(self._wide):
            self._add_wide(number, stage)
        self._paths_are_whole()
        self._groups_are_not_overdrawn()

    def _accept(self, value: Value) -> None:
        """Remember the path that the values describe."""
        runs = [
            self._runs[number] for (number, _), literal in self._in_server.items() if value(literal)
        ]
        over = zip(self._wide, self._over, strict=True)
        self.chosen = runs, [stage for stage, literal in over if value(literal)]
        if self._exact:
            self.stages = self._read(value)

    def _add_wide(self, number: int, stage: Wide) -> None:
        """Σ_c n[c] = m; no server has all of them, and as many servers take part as cuts need."""
        model = self._model
        literal = model.new_bool_var(f"wide[{number}]")
        counts: dict[int, cp_model.IntVar] = {}
        for c, cell in enumerate(self._cells):
            if stage.option.allowed[cell.resource, stage.pair]:
                most = min(cell.total, stage.replicas)
                counts[c] = model.new_int_var(0, most, f"replicas[{number},{c}]")
                model.add(counts[c] <= most * literal)
        model.add(sum(counts.values()) == stage.replicas * literal)
        self._over.append(literal)
        self._replicas.append(counts)
        self._touches_servers(number, stage, counts, literal)

    def _touches_servers(
        self,
        number: int,
        stage: Wide,
        counts: dict[int, cp_model.IntVar],
        literal: cp_model.IntVar,
    ) -> None:
        """At least two servers take part, and as many as the cuts at the ends need."""
        model = self._model
        needed = max(2, int(self._columns.across[[stage.first, stage.last]].max()))
        touched: list[cp_model.IntVar] = []
        for place in dict.fromkeys(self._place(c) for c in counts):
            here = sum(n for c, n in counts.items() if self._place(c) == place)
            server, kind = place
            if server is not None and needed == 2:
                model.add(here <= (stage.replicas - 1) * literal)
                continue
            most = 1 if server is not None else self._sizes[kind]
            touched.append(used := model.new_int_var(0, most, f"touched[{number},{place}]"))
            model.add(used <= here)
        if touched and (needed > 2 or not self._exact):
            model.add(sum(touched) >= needed * literal)

    def _place(self, c: int) -> tuple[int | None, int]:
        """Server (or nothing) and class of a cell."""
        cell = self._cells[c]
        return cell.server, self._columns.resources[cell.resource].kind

    def _paths_are_whole(self) -> None:
        """As much ends in an ideal as begins there: one at the ends, one or nothing between."""
        ends: dict[int, list[cp_model.IntVar]] = defaultdict(list)
        begins: dict[int, list[cp_model.IntVar]] = defaultdict(list)
        for (number, _), literal in self._in_server.items():
            begins[self._runs[number].first].append(literal)
            ends[self._runs[number].last].append(literal)
        for stage, literal in zip(self._wide, self._over, strict=True):
            begins[stage.first].append(literal)
            ends[stage.last].append(literal)
        size = len(self._columns.pairs.space)
        self._model.add_exactly_one(begins[0])
        for i in range(1, size - 1):
            self._model.add(sum(ends[i]) == sum(begins[i]))
            self._model.add_at_most_one(begins[i])

    def _groups_are_not_overdrawn(self) -> None:
        """What all chosen runs and wide stages take of a cell is no more than it has."""
        for c, cell in enumerate(self._cells):
            by_runs = [
                self._runs[number].usage[cell.resource] * literal
                for (number, server), literal in self._in_server.items()
                if server == cell.server and self._runs[number].usage[cell.resource]
            ]
            by_wide = [counts[c] for counts in self._replicas if c in counts]
            self._model.add(sum(by_runs) + sum(by_wide) <= cell.total)

    def _read(self, value: Value) -> tuple[Stage, ...]:
        """The chosen stages in pipeline order, without input nodes."""
        found: list[tuple[int, tuple[int, ...]]] = []
        for (number, server), literal in self._in_server.items():
            if server is not None and value(literal):
                run = self._runs[number]
                for pair, counts in zip(run.pairs, run.replicas, strict=True):
                    taken = [(Cell(r, server, n), n) for r, n in enumerate(counts)]
                    found.append((pair, by_group(self._problem, self._columns, taken)))
        for stage, literal, counts_of in zip(self._wide, self._over, self._replicas, strict=True):
            if value(literal):
                taken = [(self._cells[c], value(n)) for c, n in counts_of.items()]
                found.append((stage.pair, by_group(self._problem, self._columns, taken)))
        return stages_of(self._problem, self._columns, found)


def by_group(
    problem: Problem, columns: Columns, taken: Sequence[tuple[Cell, int]]
) -> tuple[int, ...]:
    """Replicas of each group, from counts by cell; cells are groups."""
    groups = problem.instance.cluster.groups
    replicas = [0] * len(groups)
    for cell, n in taken:
        if n:
            gpu = columns.resources[cell.resource].gpu
            place = next(
                g for g, x in enumerate(groups) if x.gpu == gpu and x.server == cell.server
            )
            replicas[place] += n
    return tuple(replicas)


def stages_of(
    problem: Problem, columns: Columns, chosen: Sequence[tuple[int, tuple[int, ...]]]
) -> tuple[Stage, ...]:
    """Turn (pair of ideals, replicas by group) into stages in pipeline order, without inputs."""
    instance, pairs = problem.instance, columns.pairs
    always = instance.rules.recompute == Recompute.ALWAYS
    members = pairs.space.members
    stages = []
    for pair, replicas in sorted(chosen, key=lambda x: int(pairs.first[x[0]])):
        inside = np.flatnonzero(members[pairs.last[pair]] & ~members[pairs.first[pair]])
        stages.append(Stage(tuple(instance.nodes[v] for v in inside), replicas, always))
    return tuple(stages)
