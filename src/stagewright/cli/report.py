"""``stagewright report``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stagewright.cli.option_types import MAX_GPUS, Command, Real, Words
from stagewright.cli.options import json_option

if TYPE_CHECKING:
    from stagewright.model.document import PlanDocument
    from stagewright.report.page.facts import Facts, OtherPlan

BESIDE = (
    "linear-dp",
    "pipedream-dp",
    "sparsepipe-dp",
    "equal-split",
    "data-parallel",
    "single-gpu",
)


@click.command("report", cls=Command)
@click.argument("plan", type=click.Path(), metavar="PLAN")
@click.option(
    "-o", "--output", type=click.Path(), metavar="FILE", required=True, help="The page, *.html."
)
@click.option(
    "--figures",
    type=click.Path(),
    metavar="DIR",
    help="Write the pictures as PNG and SVG into this folder too (needs matplotlib).",
)
@click.option(
    "--planners",
    type=Words(),
    default=",".join(BESIDE),
    show_default=True,
    help="Planners to set beside the plan.",
)
@click.option(
    "--time-limit",
    type=Real(min=0, min_open=True),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="For each of these planners.",
)
@click.option("--alone", is_flag=True, help="Run no other planner.")
@json_option
def report_command(
    plan: str,
    output: str,
    figures: str | None,
    planners: tuple[str, ...],
    time_limit: float,
    alone: bool,
    as_json: bool,
) -> None:
    """Write a page that shows everything about a plan.

    PLAN is a plan.json. The page is one HTML file that works without a network: what was asked,
    how good the plan is proven to be, stages over GPUs, where the period comes from, a timeline,
    memory, the layer graph, other planners and how to run it (docs/report.md).

    \b
    stagewright report out/plan.json -o report.html
    stagewright report out/plan.json -o report.html --figures figures
    """
    from stagewright.model.document import read_plan
    from stagewright.model.errors import InputError
    from stagewright.model.files import write_files
    from stagewright.report.page.build import render_report
    from stagewright.report.page.facts import facts_of

    path = Path(output)
    if path.suffix.lower() not in {".html", ".htm"}:
        raise InputError(f"-o ends in '{path.suffix}'; expected .html", source=output)
    document, instance, *_ = read_plan(plan)
    if instance.cluster.gpu_count > MAX_GPUS:
        raise InputError(
            f"the cluster has {instance.cluster.gpu_count:,} GPUs; expected at most {MAX_GPUS:,}",
            source=plan,
        )
    others = () if alone else other_plans(document, planners, time_limit)
    facts = facts_of(document, others, plan)
    drawn = {} if figures is None else _figures(facts)
    written = write_files(path.parent, {path.name: render_report(facts)})
    if figures is not None:
        written += write_files(Path(figures), drawn)
    if as_json:
        data = {"files": [str(x) for x in written]}
        click.echo(json.dumps(data, indent=1, ensure_ascii=False))
        return
    for file in written:
        click.echo(str(file))


def other_plans(
    document: PlanDocument, planners: tuple[str, ...], time_limit_s: float
) -> tuple[OtherPlan, ...]:
    """Run other planners on the problem of a plan, each for so many seconds at most."""
    from stagewright.formulation.problem import Problem, Settings
    from stagewright.formulation.registry import get_planner
    from stagewright.model.document import open_document
    from stagewright.report.page.facts import OtherPlan, gpu_words
    from stagewright.scenarios.compare import compare

    instance, plan, cost_model = open_document(document)
    names = [name for name in dict.fromkeys(planners) if name != plan.planner]
    for name in names:
        get_planner(name)
    settings = Settings(time_limit_s=time_limit_s, workers=1)
    found = []
    for row in compare(Problem(instance, cost_model), settings, names).rows:
        if row.planned is None:
            found.append(OtherPlan(row.planner, None, None, row.remark))
            continue
        stages = row.planned.plan.stages
        gpus = " | ".join(gpu_words(instance.cluster, stage.replicas) for stage in stages)
        found.append(
            OtherPlan(
                planner=row.planner,
                period_s=row.planned.evaluation.period_s,
                claimed_period_s=row.planned.plan.claimed_period_s,
                gpus=row.remark or gpus,
                valid=row.valid,
            )
        )
    return tuple(found)


def _figures(facts: Facts) -> dict[str, bytes]:
    """Draw the pictures, if what draws them is there."""
    from stagewright.model.errors import StagewrightError

    try:
        from stagewright.report.figures.build import draw_figures
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "matplotlib":
            raise
        raise StagewrightError(
            "--figures needs matplotlib, which is not installed. Install it with: "
            "pip install 'stagewright[report]'"
        ) from None
    return draw_figures(facts)
