"""Options that several commands share, and how they become a planning problem."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from stagewright.formulation.registry import DEFAULT_PLANNER, PLANNER_NAMES

if TYPE_CHECKING:
    from stagewright.formulation.problem import Problem
    from stagewright.model.server_file import ClusterFile

Function = TypeVar("Function", bound=Callable[..., Any])

MAX_GPUS = 10_000
COST_MODEL_NAMES = ("topology", "pipedream", "sparsepipe")


class Command(click.Command):
    """A command that takes option names with underscores too, as the published tools spell them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read ``--use_memory_constraint=x`` as ``--use-memory-constraint=x``."""
        plain: list[str] = []
        for place, word in enumerate(args):
            if word == "--":
                plain += args[place:]
                break
            name, equals, value = word.partition("=")
            plain.append(name.replace("_", "-") + equals + value if word[:2] == "--" else word)
        return super().parse_args(ctx, plain)


class Numbers(click.ParamType[tuple[float, ...]]):
    """Numbers above zero, separated by commas."""

    def __init__(self, name: str, *, whole: bool = False) -> None:
        self.name = name
        self._whole = whole

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Turn ``4,2`` into (4, 2)."""
        if isinstance(value, tuple):
            return value
        found = []
        for part in str(value).split(","):
            try:
                number = float(part)
            except ValueError:
                number = math.nan
            whole = self._whole and (number != int(number) if math.isfinite(number) else True)
            if not math.isfinite(number) or number <= 0 or whole:
                kind = "a whole number of 1 or more" if self._whole else "a number above 0"
                self.fail(f"'{part}' is not {kind}", param, ctx)
            found.append(number)
        return tuple(found)


@dataclass(frozen=True)
class Inputs:
    """The options of :func:`problem_options`, by their names on the command line."""

    servers: str | None
    file: str | None
    profile: str | None
    machines: tuple[tuple[float, ...], ...]
    bandwidth: tuple[tuple[float, ...], ...]
    memory: tuple[float, ...] | None
    cost_model: str
    activation_compression_ratio: float | None
    no_transfers: bool
    no_overlap: bool
    dispatch: Literal["equal", "proportional"]
    use_memory_constraint: bool
    versions: str
    optimizer: str
    straight_pipeline: bool
    use_all: bool
    max_stages: int | None


@dataclass(frozen=True)
class Limits:
    """The options of :func:`limit_options`."""

    time_limit: float
    gap: float
    workers: int
    seed: int
    use_fewer_machines: bool


def take(kind: type[Any], values: dict[str, Any]) -> Any:
    """Move the options of one dataclass out of a command's keyword arguments."""
    return kind(**{field.name: values.pop(field.name) for field in fields(kind)})


def problem_options(function: Function) -> Function:
    """Add the options that say what is to be planned."""
    for decorate in reversed(
        (
            click.argument("servers", required=False, type=click.Path(), metavar="[SERVERS]"),
            click.option(
                "-f",
                "--file",
                "--profile-filename",
                type=click.Path(),
                help="Server file or cluster.yaml, as the argument; with -n, a profile.",
            ),
            click.option(
                "--profile",
                type=click.Path(),
                help="Profile of one GPU type; plans for -n like GPUs instead of a server file.",
            ),
            click.option(
                "-n",
                "--machines",
                "--all-num-machines",
                multiple=True,
                type=Numbers("N", whole=True),
                help="With --profile: machines per level, inside out (-n 4 -n 2, or -n 4,2).",
            ),
            click.option(
                "-b",
                "--bandwidth",
                "--network-bandwidths",
                multiple=True,
                type=Numbers("BYTES_PER_S"),
                help="Bandwidth in bytes/s: one (inside a server) or two (inside, between); "
                "with -n one per level.  [default: 1e8]",
            ),
            click.option(
                "-s",
                "--memory",
                "--memory-size",
                type=Numbers("BYTES"),
                help="Memory of each GPU in bytes (server files and --profile).",
            ),
            click.option(
                "--cost-model",
                type=click.Choice(COST_MODEL_NAMES),
                default="topology",
                show_default=True,
                help="What a stage and a transfer cost (docs/cost-models.md).",
            ),
            click.option(
                "--activation-compression-ratio",
                type=float,
                metavar="R",
                help="Activations shrink by this factor before they are sent.  [default: 1]",
            ),
            click.option(
                "--no-transfers",
                is_flag=True,
                help="Charge no transfers (the published tools without a compression ratio).",
            ),
            click.option(
                "--no-overlap",
                is_flag=True,
                help="A stage waits for its input instead of computing meanwhile.",
            ),
            click.option(
                "--dispatch",
                type=click.Choice(("equal", "proportional")),
                default="equal",
                show_default=True,
                help="How minibatches are dealt to unlike replicas of a stage.",
            ),
            click.option(
                "--use-memory-constraint",
                is_flag=True,
                help="Every stage must fit the memory of its GPUs.",
            ),
            click.option(
                "--versions",
                type=click.Choice(("stash", "2bw", "flush")),
                default="stash",
                show_default=True,
                help="Weight versions kept: one per minibatch in flight, two, or one.",
            ),
            click.option(
                "--optimizer",
                type=click.Choice(("sgd", "momentum", "adam")),
                default="sgd",
                show_default=True,
                help="Optimizer state that memory has to hold.",
            ),
            click.option("--straight-pipeline", is_flag=True, help="No stage is replicated."),
            click.option("--use-all", is_flag=True, help="Leave no GPU idle."),
            click.option(
                "--max-stages",
                type=click.IntRange(min=1),
                metavar="S",
                help="At most so many stages.",
            ),
        )
    ):
        function = decorate(function)
    return function


def limit_options(function: Function) -> Function:
    """Add the options that say how long and how hard to search."""
    for decorate in reversed(
        (
            click.option(
                "--time-limit",
                type=click.FloatRange(min=0, min_open=True),
                default=60.0,
                show_default=True,
                metavar="SECONDS",
                help="Stop with the best plan so far.",
            ),
            click.option(
                "--gap",
                type=click.FloatRange(min=0, max=1, max_open=True),
                default=0.0,
                show_default=True,
                metavar="G",
                help="Stop when the plan is proven to be within this fraction of the best.",
            ),
            click.option(
                "--workers",
                type=click.IntRange(min=1, max=1024),
                default=8,
                show_default=True,
                metavar="N",
                help="Solver threads; 1 makes runs repeat exactly.",
            ),
            click.option(
                "--seed",
                type=click.IntRange(min=0, max=2**31 - 1),
                default=0,
                show_default=True,
                metavar="N",
                help="Random seed of the solver.",
            ),
            click.option(
                "--use-fewer-machines",
                is_flag=True,
                help="pipedream-dp may leave machines idle (its own option).",
            ),
        )
    ):
        function = decorate(function)
    return function


planner_option = click.option(
    "--planner",
    type=click.Choice(PLANNER_NAMES),
    default=DEFAULT_PLANNER,
    show_default=True,
    help="Who plans (docs/formulation.md).",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def load_problem(inputs: Inputs) -> Problem:
    """Read all files and return the planning problem.

    Raises
    ------
    InputError
        For anything that is wrong with the files or the options.
    """
    from stagewright.formulation.problem import Problem
    from stagewright.model.costs import make_cost_model
    from stagewright.model.errors import InputError
    from stagewright.model.load import load_instance
    from stagewright.model.rules import MemoryModel, Optimizer, Rules, Versions

    if inputs.no_transfers and inputs.activation_compression_ratio is not None:
        raise InputError("--no-transfers and --activation-compression-ratio exclude each other")
    ratio: float | None = inputs.activation_compression_ratio
    if ratio is None and not inputs.no_transfers:
        ratio = 1.0
    cost_model = make_cost_model(
        inputs.cost_model,
        compression_ratio=ratio,
        overlap=not inputs.no_overlap,
        dispatch=inputs.dispatch,
    )
    rules = Rules(
        use_memory=inputs.use_memory_constraint,
        memory=MemoryModel(Versions(inputs.versions), Optimizer(inputs.optimizer)),
        use_all=inputs.use_all,
        straight_pipeline=inputs.straight_pipeline,
        max_stages=inputs.max_stages,
    )
    read = _read(inputs)
    cost_model.check(read.cluster)
    return Problem(load_instance(read, rules), cost_model)


def _read(inputs: Inputs) -> ClusterFile:
    """Read the cluster in whichever way it was given."""
    from stagewright.model.errors import InputError
    from stagewright.model.load import read_cluster, read_levels

    bandwidths = [x for group in inputs.bandwidth for x in group]
    levels = [int(x) for group in inputs.machines for x in group]
    profile, servers = inputs.profile, inputs.servers or inputs.file
    if inputs.servers and inputs.file:
        raise InputError("name the cluster once: either SERVERS or -f")
    if inputs.memory is not None and len(inputs.memory) != 1:
        raise InputError("-s takes one number of bytes")
    memory = None if inputs.memory is None else inputs.memory[0]
    if levels and profile is None:
        profile, servers = servers, None
    if profile is not None and servers is None:
        if not levels:
            raise InputError("--profile needs -n, the number of GPUs (or of machines per level)")
        if math.prod(levels) > MAX_GPUS:
            raise InputError(f"{math.prod(levels):,} GPUs (-n); expected at most {MAX_GPUS:,}")
        return read_levels(profile, levels, bandwidths, memory)
    if profile is None and servers is not None:
        return read_cluster(servers, bandwidths, memory)
    raise InputError(
        "name a server file, or a profile with -n",
        hint="For example: stagewright plan hete_files/test_server.txt -b 1e9; "
        "or: stagewright plan --profile graph.txt -n 4 -b 1e9",
    )
