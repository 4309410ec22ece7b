"""Options that several commands share, and how they become a planning problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import click

from stagewright.cli.constraint_options import constraint_options
from stagewright.cli.option_types import MAX_GPUS, Command, Numbers, Real
from stagewright.formulation.registry import DEFAULT_PLANNER, PLANNER_NAMES

__all__ = [
    "COST_MODEL_NAMES",
    "MAX_GPUS",
    "Command",
    "Limits",
    "json_option",
    "limit_options",
    "planner_option",
    "problem_options",
    "take",
]

Function = TypeVar("Function", bound=Callable[..., Any])

COST_MODEL_NAMES = ("topology", "pipedream", "sparsepipe", "max-load")
SOLVERS = ("highs", "scip", "gurobi")


@dataclass(frozen=True)
class Limits:
    """The options of :func:`limit_options`."""

    time_limit: float
    gap: float
    workers: int
    seed: int
    use_fewer_machines: bool
    tidy: bool
    solver: str


def take(kind: type[Any], values: dict[str, Any]) -> Any:
    """Move the options of one dataclass out of a command's keyword arguments."""
    return kind(**{field.name: values.pop(field.name) for field in fields(kind)})


def problem_options(function: Function) -> Function:
    """Add the options that say what is to be planned, and what is demanded of any plan."""
    function = constraint_options(function)
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
                "--quantile",
                type=Real(min=0, max=1),
                metavar="Q",
                help="Plan for this quantile of the minibatches, such as 0.95, where profiles were "
                "measured on several.  [default: the mean]",
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
            click.option(
                "--tidy",
                is_flag=True,
                help="Among plans of the same period, take one with the fewest GPUs, then with the "
                "least traffic between servers.",
            ),
            click.option(
                "--solver",
                type=click.Choice(SOLVERS),
                default=SOLVERS[0],
                show_default=True,
                help="Which solver the planner milp uses.",
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
