"""From a sweep file to its cells: one planning problem and one planner each."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from stagewright.formulation.problem import Problem, Settings
from stagewright.model.constraints import Constraints
from stagewright.model.costs import CostModel, make_cost_model
from stagewright.model.errors import InputError
from stagewright.scenarios.sweep.inventory import Inventory
from stagewright.scenarios.sweep.key import digest_key, problem_digest
from stagewright.scenarios.sweep.tables import OptionsTable, SweepTable

MOST_CELLS = 100_000


@dataclass(frozen=True)
class Labels:
    """Which cell it is, in the words of the sweep file.

    Attributes
    ----------
    sweep
        Name of the file, without its suffix.
    bandwidths_bytes_per_s
        The value of the axis; empty where the cluster states its own.
    memory_bytes
        The value of the axis, or ``None``.
    """

    sweep: str
    workload: str
    cluster: str
    constraints: str
    bandwidths_bytes_per_s: tuple[float, ...]
    memory_bytes: float | None
    cost_model: str
    dispatch: str
    compression_ratio: float | None
    planner: str


@dataclass(frozen=True)
class Limits:
    """How long and how hard one cell is searched; the fields are those of ``Settings``."""

    time_limit_s: float
    gap: float
    workers: int
    seed: int
    solver: str
    tidy: bool
    fewer_machines: bool

    def settings(self) -> Settings:
        """Return them with the clock at zero."""
        return Settings(**dataclasses.asdict(self))


@dataclass(frozen=True)
class Job:
    """All that is needed to run a cell, anywhere."""

    problem: Problem
    planner: str
    limits: Limits


@dataclass(frozen=True)
class Cell:
    """One line of the table.

    Attributes
    ----------
    problem_key
        The same for all planners of one problem.
    """

    labels: Labels
    job: Job
    problem_key: str

    @cached_property
    def key(self) -> str:
        """A hash of everything that determines the answer."""
        return digest_key(self.problem_key, self.job.planner, self.job.limits)


@dataclass(frozen=True)
class Sweep:
    """A sweep file, read and multiplied out."""

    path: Path
    table: SweepTable
    cells: tuple[Cell, ...]


def make_sweep(path: Path, table: SweepTable) -> Sweep:
    """Read all files that the sweep names, and build every cell.

    Raises
    ------
    InputError
        For anything that is wrong with the file, or a file that it names.
    """
    try:
        cells = tuple(itertools.islice(_cells(path, table), MOST_CELLS + 1))
    except InputError as error:
        if error.source is not None:
            raise
        raise InputError(error.message, source=path, hint=error.hint) from None
    if len(cells) > MOST_CELLS:
        raise InputError(f"more than {MOST_CELLS:,} cells", source=path, hint="Shorten an axis")
    return Sweep(path, table, cells)


def _cells(path: Path, table: SweepTable) -> Iterator[Cell]:
    inventory = Inventory(path, table)
    axes, limits = table.axes, _limits(table.options)
    demands = {name: x.constraints(path) for name, x in table.constraints.items()}
    models = list(_cost_models(table))
    for workload, cluster, demand, links, memory in itertools.product(
        inventory.workloads,
        table.clusters,
        demands or {"": Constraints()},
        axes.bandwidths_bytes_per_s or [[]],
        axes.memory_bytes or (None,),
    ):
        stated = demands.get(demand, Constraints())
        named, instance = inventory.instance(workload, cluster, stated, tuple(links), memory)
        for model in models:
            problem = Problem(instance, model)
            key = problem_digest(problem)
            for planner in axes.planners:
                labels = Labels(
                    sweep=path.stem,
                    workload=named,
                    cluster=cluster,
                    constraints=demand,
                    bandwidths_bytes_per_s=tuple(links),
                    memory_bytes=memory,
                    cost_model=model.name,
                    dispatch=getattr(model, "dispatch", "equal"),
                    compression_ratio=model.compression_ratio,
                    planner=planner,
                )
                yield Cell(labels, Job(problem, planner, limits), key)


def _cost_models(table: SweepTable) -> Iterator[CostModel]:
    axes, options = table.axes, table.options
    if not options.transfers and "compression_ratios" in axes.model_fields_set:
        raise InputError("options.transfers = false and axes.compression_ratios exclude each other")
    for name, dispatch, ratio in itertools.product(
        axes.cost_models, axes.dispatch, axes.compression_ratios
    ):
        if dispatch != "equal" and name != "topology":
            raise InputError(f"axes.dispatch: '{dispatch}' needs cost model 'topology' alone")
        yield make_cost_model(
            name,
            compression_ratio=ratio if options.transfers else None,
            overlap=options.overlap,
            dispatch=dispatch,
        )


def _limits(options: OptionsTable) -> Limits:
    return Limits(
        time_limit_s=options.time_limit_s,
        gap=options.gap,
        workers=options.workers,
        seed=options.seed,
        solver=options.solver,
        tidy=options.tidy,
        fewer_machines=options.use_fewer_machines,
    )
