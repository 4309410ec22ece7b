"""Options that say what is demanded of any plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from stagewright.cli.option_types import LARGEST, Placed, Real, Words

Function = TypeVar("Function", bound=Callable[..., Any])


def constraint_options(function: Function) -> Function:
    """Add the options that a constraints file can state too, and the file itself.

    None has a default value here: what is not given may be in the file.
    """
    for decorate in reversed(
        (
            *_MEMORY,
            *_LIMITS,
            *_PLACES,
            click.option(
                "--constraints",
                type=click.Path(),
                metavar="FILE",
                help="Demands from a .toml or .yaml file (docs/formats.md), beside these options.",
            ),
        )
    ):
        function = decorate(function)
    return function


_MEMORY = (
    click.option(
        "--use-memory-constraint",
        is_flag=True,
        help="Every stage must fit the memory of its GPUs.",
    ),
    click.option(
        "--versions",
        type=click.Choice(("stash", "2bw", "flush", "once")),
        help="Weight versions kept: one per minibatch in flight, two, one; or sizes counted once."
        "  [default: stash]",
    ),
    click.option(
        "--optimizer",
        type=click.Choice(("sgd", "momentum", "adam")),
        help="Optimizer state that memory has to hold.  [default: sgd]",
    ),
    click.option(
        "--recompute",
        type=click.Choice(("never", "always", "auto")),
        help="Whether stages compute their activations again instead of keeping them; auto: "
        "where that helps.  [default: never]",
    ),
)

_LIMITS = (
    click.option("--straight-pipeline", is_flag=True, help="No stage is replicated."),
    click.option("--use-all", is_flag=True, help="Leave no GPU idle."),
    click.option(
        "--max-stages", type=click.IntRange(min=1), metavar="S", help="At most so many stages."
    ),
    click.option(
        "--max-replicas",
        type=click.IntRange(min=1),
        metavar="R",
        help="At most so many replicas of each stage.",
    ),
    click.option(
        "--max-gpus", type=click.IntRange(min=1), metavar="N", help="At most so many GPUs in all."
    ),
    click.option(
        "--max-price",
        type=Real(min=0, max=LARGEST),
        metavar="PER_HOUR",
        help="At most this price of the GPUs in use; needs price_per_hour in the cluster.yaml.",
    ),
)

_PLACES = (
    click.option(
        "--pin",
        type=Placed(),
        multiple=True,
        metavar="NODE=WHERE",
        help="Layers that lie in one stage (stage:K, from 0) or on certain GPUs only (a GPU type, "
        "a server, or SERVER/TYPE). NODE is an identifier, a description, or a pattern such as "
        "'Embedding*'.",
    ),
    click.option(
        "--forbid",
        type=Placed(),
        multiple=True,
        metavar="NODE=WHERE",
        help="Layers that must not lie on certain GPUs.",
    ),
    click.option(
        "--together",
        type=Words(),
        multiple=True,
        metavar="A,B,…",
        help="Layers that share a stage, such as layers with tied weights.",
    ),
    click.option(
        "--replan",
        type=click.Path(),
        metavar="OLD.json",
        help="An earlier plan, of any cluster, that the new plan may change a little only.",
    ),
    click.option(
        "--max-moved",
        type=click.IntRange(min=0, max=10_000_000),
        metavar="M",
        help="With --replan: at most so many layers leave their stage.",
    ),
)
