"""``stagewright emit``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import click

from stagewright.cli.extensions import import_user_module, layers_option
from stagewright.cli.options import Command, json_option


@click.command("emit", cls=Command)
@click.argument("plan", required=False, type=click.Path(), metavar="[PLAN]")
@click.option(
    "-f",
    "--graph",
    "--profile-filename",
    type=click.Path(),
    help="Profile text with stage ids (gpus=N.txt), instead of a plan.",
)
@click.option(
    "--stage-to-num-ranks",
    metavar="0:3,1:1",
    help="With --graph: replicas of each stage.  [default: one each]",
)
@click.option("-n", "--name", "--model-name", required=True, help="Class of the whole network.")
@click.option(
    "-a", "--arch", required=True, help="What arch() returns, and the file of that class."
)
@click.option(
    "-o",
    "--output",
    "--output-directory",
    required=True,
    type=click.Path(),
    metavar="DIR",
    help="Folder to write the package into.",
)
@click.option(
    "--target",
    type=click.Choice(("pipedream", "torch")),
    default="pipedream",
    show_default=True,
    help="pipedream: what the published runtimes import; torch: with a launcher for torchrun too.",
)
@layers_option
@json_option
def emit_command(
    plan: str | None,
    graph: str | None,
    stage_to_num_ranks: str | None,
    name: str,
    arch: str,
    output: str,
    target: Literal["pipedream", "torch"],
    layer_modules: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write the stages of a plan as PyTorch modules.

    PLAN is a plan.json; with --graph it is a profile text with stage ids instead.

    \b
    stagewright emit out/plan.json -n MinkVggPartitioned -a minkvgg -o models/minkvgg
    stagewright emit -f gpus=4.txt --stage-to-num-ranks 0:3,1:1 -n Vgg -a vgg -o models/vgg
    """
    from stagewright.emit.package import emit_package, staged_from_plan, staged_from_profile

    for module in layer_modules:
        import_user_module(module)
    if (plan is None) == (graph is None):
        raise click.UsageError("name either a PLAN or a --graph")
    if plan is not None:
        if stage_to_num_ranks is not None:
            raise click.UsageError("--stage-to-num-ranks goes with --graph; a plan has its own")
        staged = staged_from_plan(plan)
    else:
        staged = staged_from_profile(Path(str(graph)), stage_to_num_ranks)
    written = emit_package(staged, output, name=name, arch=arch, target=target)
    if as_json:
        data = {"files": [str(path) for path in written], "ranks": [list(x) for x in staged.ranks]}
        click.echo(json.dumps(data, indent=1, ensure_ascii=False))
        return
    stages = len(staged.ranks)
    click.echo(f"Wrote {len(written)} files to {output}: {stages} stages of {name}.")
    click.echo(f"Check them: stagewright verify {output}")
    if target == "torch":
        ranks = sum(len(x) for x in staged.ranks)
        click.echo(f"Train: torchrun --nproc-per-node={ranks} {Path(output) / 'train.py'}")
