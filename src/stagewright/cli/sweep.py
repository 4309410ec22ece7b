"""``stagewright sweep``."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stagewright.cli.inputs import Inputs, load_problem
from stagewright.cli.option_types import Command, Real
from stagewright.cli.options import (
    Limits,
    json_option,
    limit_options,
    planner_option,
    problem_options,
    take,
)

if TYPE_CHECKING:
    from stagewright.formulation.pareto import Front, Point


@click.command("sweep", cls=Command)
@problem_options
@planner_option
@limit_options
@click.option("--pareto", is_flag=True, help="Trade the period for GPUs, or for the price.")
@click.option(
    "--by",
    type=click.Choice(("gpus", "price")),
    default="gpus",
    show_default=True,
    help="With --pareto: what is traded for time. The price needs price_per_hour in the "
    "cluster.yaml.",
)
@click.option(
    "--total-time-limit",
    type=Real(min=0, min_open=True),
    metavar="SECONDS",
    help="For all points together; --time-limit is for each.  [default: none]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    metavar="FILE",
    help="Write the points into this .csv or .json file.",
)
@json_option
def sweep_command(
    planner: str,
    pareto: bool,
    by: str,
    total_time_limit: float | None,
    output: str | None,
    as_json: bool,
    **values: Any,
) -> None:
    """Show what fewer GPUs, or a lower price, cost in time.

    Plans again and again, each time with fewer GPUs than the last plan used, until one GPU is left
    or no plan exists. Every point is a plan with its own proof.

    \b
    stagewright sweep --pareto hete_files/two_servers.yaml
    stagewright sweep --pareto hete_files/test_server.txt -b 1e9 -o front.csv
    """
    from stagewright.cli import render_front
    from stagewright.cli.progress import searching
    from stagewright.formulation.pareto import By, pareto_front
    from stagewright.model.errors import InputError
    from stagewright.model.files import write_files

    if not pareto:
        raise InputError(
            "nothing to sweep is named",
            hint="Add --pareto, which trades the period for GPUs or for the price",
        )
    if output is not None and Path(output).suffix not in {".csv", ".json"}:
        raise InputError(
            f"-o ends in '{Path(output).suffix}', expected .csv or .json", source=output
        )
    inputs, limits = take(Inputs, values), take(Limits, values)
    problem = load_problem(inputs)
    found: list[Point] = []
    with searching(limits, lambda: render_front.progress(found)) as settings:
        front = pareto_front(
            planner, problem, settings, By(by), total_time_limit, on_point=found.append
        )
    data = json.dumps(front_data(front), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if output is not None:
        path = Path(output)
        text = data if path.suffix == ".json" else front_csv(front)
        write_files(path.parent, {path.name: text})
    if as_json:
        click.echo(data, nl=False)
        return
    render_front.show_front(problem, front, output)


def front_data(front: Front) -> dict[str, Any]:
    """Return a front as plain data for JSON."""
    return {
        "by": str(front.by),
        "proven": front.proven,
        "end": str(front.end),
        "points": [{**_figures(point), "stages": _stages(point)} for point in front.points],
    }


def front_csv(front: Front) -> str:
    """Return a front as CSV, one line a point."""
    from stagewright.cli.texts import gpus

    text = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for point in front.points:
        cluster = point.planned.problem.instance.cluster
        stages = " | ".join(gpus(cluster, stage.replicas) for stage in point.planned.plan.stages)
        row = {**_figures(point), "stages": stages}
        if writer is None:
            writer = csv.DictWriter(text, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)
    return text.getvalue()


def _figures(point: Point) -> dict[str, Any]:
    certificate, evaluation = point.planned.certificate, point.planned.evaluation
    throughput = evaluation.throughput_per_s
    return {
        "gpus": point.gpus,
        "price_per_hour": point.price_per_hour,
        "period_s": evaluation.period_s,
        "throughput_per_s": throughput if evaluation.period_s > 0 else None,
        "status": str(certificate.status),
        "bound_s": certificate.bound_s,
        "gap": certificate.gap,
        "wall_s": certificate.wall_s,
        "planner": point.planned.plan.planner,
    }


def _stages(point: Point) -> list[dict[str, Any]]:
    cluster = point.planned.problem.instance.cluster
    return [
        {
            "layers": len(stage.nodes),
            "replicas": [
                {"server": cluster.servers[group.server], "gpu": group.gpu, "count": n}
                for group, n in zip(cluster.groups, stage.replicas, strict=True)
                if n > 0
            ],
            "recompute": stage.recompute,
        }
        for stage in point.planned.plan.stages
    ]
