"""``stagewright versions``."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, version

import click

from stagewright.cli.options import COST_MODEL_NAMES, Command, json_option
from stagewright.formulation.registry import PLANNER_NAMES

PACKAGES = (
    "stagewright",
    "ortools",
    "numpy",
    "networkx",
    "pydantic",
    "click",
    "rich",
    "torch",
    "MinkowskiEngine",
)


@click.command("versions", cls=Command)
@json_option
def versions_command(as_json: bool) -> None:
    """Show the versions of everything that a plan depends on."""
    from stagewright.model.costs import COST_MODELS
    from stagewright.model.document import SCHEMA

    data = {
        "packages": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "plan_schema": SCHEMA,
        "cost_models": {name: COST_MODELS[name].version for name in COST_MODEL_NAMES},
        "planners": list(PLANNER_NAMES),
    }
    if as_json:
        click.echo(json.dumps(data, indent=1))
        return
    for name in PACKAGES:
        click.echo(f"{name:16} {_version(name) or 'not installed'}")
    click.echo(f"{'python':16} {data['python']}")
    click.echo(f"{'platform':16} {data['platform']}")
    click.echo(f"{'plan schema':16} {SCHEMA}")
    models = ", ".join(f"{name}/{COST_MODELS[name].version}" for name in COST_MODEL_NAMES)
    click.echo(f"{'cost models':16} {models}")
    click.echo(f"{'planners':16} {', '.join(PLANNER_NAMES)}")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
