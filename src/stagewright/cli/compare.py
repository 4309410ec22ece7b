"""``stagewright compare``."""

from __future__ import annotations

import json
from typing import Any

import click

from stagewright.cli.inputs import Inputs, load_problem
from stagewright.cli.options import (
    Command,
    Limits,
    json_option,
    limit_options,
    problem_options,
    take,
)
from stagewright.formulation.registry import PLANNER_NAMES


@click.command("compare", cls=Command)
@problem_options
@limit_options
@click.option(
    "--planners",
    metavar="A,B,…",
    default=",".join(PLANNER_NAMES),
    help="Which planners, separated by commas.  [default: all]",
)
@click.option(
    "--check",
    is_flag=True,
    help="Exit with 1 if two proofs contradict each other or no two exact planners answered.",
)
@json_option
def compare_command(planners: str, check: bool, as_json: bool, **values: Any) -> int:
    """Run every planner on the same cluster, under one evaluator.

    period_s is what the evaluator finds; claimed_period_s what the published planners believe
    themselves.

    \b
    stagewright compare hete_files/test_server.txt -b 1e9 --check
    """
    from stagewright.cli import render
    from stagewright.cli.progress import searching
    from stagewright.formulation.registry import get_planner
    from stagewright.model.errors import InputError
    from stagewright.scenarios.compare import compare, comparison_data

    words = (name.strip() for name in planners.split(","))
    names = list(dict.fromkeys(name for name in words if name))
    if not names:
        raise InputError(f"--planners names none; expected some of {', '.join(PLANNER_NAMES)}")
    for name in names:
        get_planner(name)
    inputs, limits = take(Inputs, values), take(Limits, values)
    problem = load_problem(inputs)
    with searching(limits) as settings:
        comparison = compare(problem, settings, names)
    if as_json:
        click.echo(json.dumps(comparison_data(comparison), indent=1, ensure_ascii=False))
    else:
        render.show_comparison(problem, comparison)
    if not check:
        return 0
    problems = list(comparison.disagreements)
    if len(comparison.proofs) < 2:
        problems.append(f"only {len(comparison.proofs)} planner gave a proof; two are needed")
    for text in problems:
        click.echo(f"stagewright: check failed: {text}", err=True)
    if not problems:
        click.echo(f"check passed: {' and '.join(comparison.proofs)} agree", err=True)
    return 1 if problems else 0
