"""``stagewright sweep --pareto``: period against GPUs or price."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stagewright.cli.inputs import Inputs, load_problem
from stagewright.cli.options import Limits

if TYPE_CHECKING:
    from stagewright.formulation.pareto import Front, Point


def sweep_front(
    inputs: Inputs,
    limits: Limits,
    planner: str,
    by: str,
    total_time_limit: float | None,
    output: str | None,
    as_json: bool,
) -> None:
    """Plan with ever fewer GPUs, or for ever less money, and print the points."""
    from stagewright.cli import render_front
    from stagewright.cli.progress import searching
    from stagewright.formulation.pareto import By, pareto_front
    from stagewright.model.errors import InputError
    from stagewright.model.files import write_files

    if output is not None and Path(output).suffix not in {".csv", ".json"}:
        raise InputError(
            f"-o ends in '{Path(output).suffix}', expected .csv or .json", source=output
        )
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
