"""What a sweep file may say (see ``docs/sweep.md``)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from stagewright.formulation.registry import DEFAULT_PLANNER, PLANNER_NAMES
from stagewright.model.boundary import Bandwidth, Latency, Memory, Seconds, first_error
from stagewright.model.constraints_file import MOST_CHARACTERS, ConstraintsTable
from stagewright.model.costs import Dispatch
from stagewright.model.errors import InputError
from stagewright.model.files import read_text
from stagewright.model.toml_text import parse_toml

MOST_ENTRIES = 1_000
MOST_GPUS = 10_000


def _known_planner(name: str) -> str:
    if name not in PLANNER_NAMES:
        raise ValueError(f"expected some of {', '.join(PLANNER_NAMES)}")
    return name


Word = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^\S(.*\S)?$")]
Text = Annotated[str, Field(min_length=1, max_length=1000)]
Count = Annotated[int, Field(ge=1, le=MOST_GPUS, strict=True)]
Switch = Annotated[bool, Field(strict=True)]
Ratio = Annotated[float, Field(ge=1e-6, le=1e6, allow_inf_nan=False)]
Links = Annotated[
    list[Bandwidth],
    Field(min_length=1, max_length=16),
    BeforeValidator(lambda x: x if isinstance(x, list) else [x]),
]
PlannerName = Annotated[str, AfterValidator(_known_planner)]
CostModelName = Literal["topology", "pipedream", "sparsepipe"]
Answer = Literal["optimal", "feasible", "infeasible", "unknown", "does-not-apply"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RatesTable(_Table):
    """A GPU that nobody measured, as the roofline of ``scenarios.models`` takes it."""

    flops_per_s: Bandwidth
    bytes_per_s: Bandwidth
    launch_s: Latency = 2e-5


class WorkloadTable(_Table):
    """One network: a profile for all GPU types, one for each, or a built-in network."""

    profile: Text | None = None
    profiles: Annotated[dict[Word, Text], Field(max_length=MOST_ENTRIES)] | None = None
    network: Word | None = None
    gpus: Annotated[dict[Word, RatesTable], Field(max_length=MOST_ENTRIES)] = {}

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        _exactly_one(self, ("profile", "profiles", "network"))
        if self.gpus and self.network is None:
            raise ValueError("gpus goes with network")
        return self


class ClusterTable(_Table):
    """One cluster: a file, servers with their GPUs, or PipeDream's levels inside out."""

    file: Text | None = None
    servers: (
        Annotated[
            list[Annotated[dict[Word, Count], Field(min_length=1)]],
            Field(min_length=1, max_length=MOST_ENTRIES),
        ]
        | None
    ) = None
    machines: Annotated[list[Count], Field(min_length=1, max_length=16)] | None = None
    gpu: Word = "GPU"

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        _exactly_one(self, ("file", "servers", "machines"))
        if "gpu" in self.model_fields_set and self.machines is None:
            raise ValueError("gpu goes with machines")
        return self


class AxesTable(_Table):
    """Every list multiplies the number of cells."""

    bandwidths_bytes_per_s: Annotated[
        list[Links] | None, Field(min_length=1, max_length=MOST_ENTRIES)
    ] = None
    memory_bytes: Annotated[list[Memory] | None, Field(min_length=1, max_length=MOST_ENTRIES)] = (
        None
    )
    planners: Annotated[list[PlannerName], Field(min_length=1)] = [DEFAULT_PLANNER]
    cost_models: Annotated[list[CostModelName], Field(min_length=1)] = ["topology"]
    dispatch: Annotated[list[Dispatch], Field(min_length=1)] = ["equal"]
    compression_ratios: Annotated[list[Ratio], Field(min_length=1, max_length=MOST_ENTRIES)] = [1.0]

    @model_validator(mode="after")
    def _no_repeats(self) -> Self:
        for name in type(self).model_fields:
            values = getattr(self, name) or []
            for place, value in enumerate(values):
                if value in values[:place]:
                    raise ValueError(f"{name} lists {value} twice")
        return self


class OptionsTable(_Table):
    """What all cells share: how long and how hard to search, and the rest of the cost model."""

    time_limit_s: Annotated[Seconds, Field(gt=0)] = 60.0
    gap: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0
    workers: Annotated[int, Field(ge=1, le=1024, strict=True)] = 1
    seed: Annotated[int, Field(ge=0, le=2**31 - 1, strict=True)] = 0
    solver: Literal["highs", "scip", "gurobi"] = "highs"
    tidy: Switch = False
    use_fewer_machines: Switch = False
    overlap: Switch = True
    transfers: Switch = True


class ExpectTable(_Table):
    """What must come out, of all cells or of those that the labels pick."""

    workload: Word | None = None
    cluster: Word | None = None
    constraints: Word | None = None
    bandwidths_bytes_per_s: Links | None = None
    memory_bytes: Memory | None = None
    planner: PlannerName | None = None
    status: Answer | None = None
    period_s: Annotated[Seconds, Field(gt=0)] | None = None
    at_most_s: Annotated[Seconds, Field(gt=0)] | None = None
    stages: Count | None = None
    gpus: Count | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not {"status", "period_s", "at_most_s", "stages", "gpus"} & self.model_fields_set:
            raise ValueError("expects nothing; write status, period_s, at_most_s, stages or gpus")
        return self


class SweepTable(_Table):
    """A whole sweep file; a named scenario is one that says what must come out."""

    title: Text
    workloads: Annotated[dict[Word, WorkloadTable], Field(max_length=MOST_ENTRIES)] = {}
    clusters: Annotated[dict[Word, ClusterTable], Field(min_length=1, max_length=MOST_ENTRIES)]
    constraints: Annotated[dict[Word, ConstraintsTable], Field(max_length=MOST_ENTRIES)] = {}
    axes: AxesTable = AxesTable()
    options: OptionsTable = OptionsTable()
    expect: Annotated[list[ExpectTable], Field(max_length=MOST_ENTRIES)] = []


def read_sweep(path: Path) -> SweepTable:
    """Read a sweep file.

    Raises
    ------
    InputError
        With the file and the place in it.
    """
    text = read_text(path, "sweep file")
    if len(text) > MOST_CHARACTERS:
        raise InputError(
            f"the file has {len(text):,} characters; a sweep file has at most {MOST_CHARACTERS:,}",
            source=path,
        )
    try:
        return SweepTable.model_validate(parse_toml(text, path))
    except ValidationError as error:
        place, message = first_error(error)
        raise InputError(
            f"{place}: {message}" if place else message,
            source=path,
            hint="docs/sweep.md describes the sweep file",
        ) from None


def _exactly_one(table: BaseModel, names: tuple[str, ...]) -> None:
    if sum(getattr(table, name) is not None for name in names) != 1:
        raise ValueError(f"expected exactly one of {', '.join(names)}")
