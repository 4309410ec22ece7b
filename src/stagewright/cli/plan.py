"""``stagewright plan``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stagewright.cli.inputs import Inputs, load_problem
from stagewright.cli.options import (
    Command,
    Limits,
    json_option,
    limit_options,
    planner_option,
    problem_options,
    take,
)

if TYPE_CHECKING:
    from stagewright.formulation.run import Planned
    from stagewright.model.document import PlanDocument


@click.command("plan", cls=Command)
@problem_options
@planner_option
@limit_options
@click.option(
    "-o",
    "--output",
    "--output-directory",
    type=click.Path(),
    metavar="DIR",
    help="Write plan.json, gpus=N.txt and gpus=N.svg into this folder (N: GPUs of the cluster).",
)
@click.option(
    "--explain",
    "explained",
    is_flag=True,
    help="Say what limits the period and what would help most (docs/explain.md); takes up to "
    "--time-limit again.",
)
@click.option(
    "--server",
    metavar="URL",
    help="Let a service plan ('stagewright serve', docs/service.md); files are read here.",
)
@click.option(
    "--server-token",
    metavar="TOKEN",
    help="The token of that service; better set by STAGEWRIGHT_PLAN_SERVER_TOKEN.",
)
@click.option(
    "--check-by-simulation",
    "simulated",
    is_flag=True,
    help="Simulate the plan and set the simulated periods beside the formula's (docs/simulate.md).",
)
@json_option
def plan_command(
    planner: str,
    output: str | None,
    explained: bool,
    server: str | None,
    server_token: str | None,
    simulated: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Plan a network on a cluster, with proof.

    SERVERS is a server file or a cluster.yaml. Without it, --profile and -n plan for like GPUs.

    \b
    stagewright plan hete_files/test_server.txt -b 1e9
    stagewright plan hete_files/two_servers.yaml -o out
    stagewright plan --profile graph.txt -n 4 -n 2 -b 1e10 -b 1e9
    """
    from stagewright.cli import explain, render
    from stagewright.cli.progress import searching
    from stagewright.cli.simulation_check import PlanCheck
    from stagewright.formulation.run import NoPlanExists, plan_with_baselines
    from stagewright.model.errors import InputError

    if output is not None and not output.strip():
        raise InputError("-o names no folder")
    if server is None and server_token is not None:
        raise InputError("--server-token goes with --server, the service that it is for")
    client = None
    if server is not None:
        from stagewright.service.client import Client

        client = Client(server, server_token)
    inputs, limits = take(Inputs, values), take(Limits, values)
    problem = load_problem(inputs)
    check = PlanCheck(problem) if simulated else None
    try:
        with searching(limits) as settings:
            if client is None:
                planned = plan_with_baselines(planner, problem, settings)
            else:
                planned = client.plan(planner, problem, settings)
    except NoPlanExists as error:
        explain.add_reasons(error, settings)
        raise
    explanation = explain.explain(planned, settings) if explained else None
    document = explain.document(planned, explanation)
    if check is not None:
        document = check.run(planned, document)
    written = [] if output is None else write_plan(planned, document, Path(output))
    if as_json:
        click.echo(document.dumps(), nl=False)
        return
    render.show_plan(planned, written)
    if explanation is not None:
        explain.show(explanation)
    if check is not None:
        check.show()


def write_plan(planned: Planned, document: PlanDocument, folder: Path) -> list[Path]:
    """Write the plan document, the partitioned profile text and the picture."""
    from stagewright.emit.partition_text import partition_text
    from stagewright.model.files import write_files
    from stagewright.report.svg import draw_plan

    instance, plan = planned.problem.instance, planned.plan
    name = f"gpus={instance.cluster.gpu_count}"
    return write_files(
        folder,
        {
            "plan.json": document.dumps(),
            f"{name}.txt": partition_text(instance, plan),
            f"{name}.svg": draw_plan(instance, plan, planned.evaluation),
        },
    )
