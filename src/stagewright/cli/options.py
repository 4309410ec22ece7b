"""Options that several commands share, and how they become a planning problem."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import click

from stagewright.formulation.registry import DEFAULT_PLANNER, PLANNER_NAMES

LARGEST = 1e24

Function = TypeVar("Function", bound=Callable[..., Any])

MAX_GPUS = 10_000
COST_MODEL_NAMES = ("topology", "pipedream", "sparsepipe", "max-load")


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
        try:
            return super().parse_args(ctx, plain)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # so that the message can name the command
            raise


class Real(click.FloatRange):
    """A finite number in a range."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read the number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"'{value}' is not a finite number", param, ctx)
        return number


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
            good = 0 < number <= (MAX_GPUS if self._whole else LARGEST)
            if not good or (self._whole and number != int(number)):
                kind = (
                    f"a whole number from 1 to {MAX_GPUS:,}" if self._whole else "a number above 0"
                )
                self.fail(f"'{part}' is not {kind}", param, ctx)
            found.append(number)
        return tuple(found)


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
                type=click.Choice(("stash", "2bw", "flush", "once")),
                default="stash",
                show_default=True,
                help="Weight versions kept: one per minibatch in flight, two, one; or sizes once.",
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
                type=Real(min=0, min_open=True),
                default=60.0,
                show_default=True,
                metavar="SECONDS",
                help="Stop with the best plan so far.",
            ),
            click.option(
                "--gap",
                type=Real(min=0, max=1, max_open=True),
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
