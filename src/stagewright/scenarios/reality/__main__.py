"""``make reality``, which is ``python -m stagewright.scenarios.reality``."""

from __future__ import annotations

import platform
import signal
import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from stagewright.model.errors import StagewrightError
from stagewright.scenarios.reality.cores import kept_awake, two_cores
from stagewright.scenarios.reality.loop import CLUSTERS, Outcome, close_loop
from stagewright.scenarios.reality.measured import Effort
from stagewright.scenarios.reality.verdict import Kind, judge, ratio

NETWORKS = ("minkvgg16_bn", "resnet50", "tiny")
SHORT = dict(zip(("equal", "mixed"), CLUSTERS, strict=True))


@click.command()
@click.option(
    "--network",
    "networks",
    type=click.Choice(NETWORKS),
    multiple=True,
    default=NETWORKS[:2],
    show_default=True,
    help="Which networks.",
)
@click.option(
    "--cluster",
    "clusters",
    type=click.Choice(tuple(SHORT)),
    multiple=True,
    default=tuple(SHORT),
    show_default=True,
    help="Which clusters: two equal cores, or one whole and one half.",
)
@click.option(
    "--rounds", type=click.IntRange(1, 1000), default=5, show_default=True, help="Of each plan."
)
@click.option(
    "--turns",
    type=click.IntRange(1, 1000),
    default=3,
    show_default=True,
    help="Of each plan in a round, one after another's; their mean counts.",
)
@click.option(
    "--repeats", type=click.IntRange(1, 1000), default=25, show_default=True, help="Of a profile."
)
@click.option(
    "--tries",
    type=click.IntRange(1, 1000),
    default=3,
    show_default=True,
    help="Of a turn that other programs disturb.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("out/reality"),
    show_default=True,
    metavar="DIR",
    help="Folder for profiles, cluster files, plans, packages and times; must not exist.",
)
def main(
    networks: tuple[str, ...],
    clusters: tuple[str, ...],
    rounds: int,
    turns: int,
    repeats: int,
    tries: int,
    output: Path,
) -> None:
    """Plan for two cores, run the plans and compare; exit code 1 says that it does not hold."""
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    try:
        if output.exists():
            raise click.UsageError(f"{output} exists; name another folder with -o, or remove it")
        cores = two_cores()
        effort = Effort(repeats, rounds, turns, tries)
        click.echo(f"Python {platform.python_version()}, cores as GPUs, one thread each.")
        good = True
        chosen = [SHORT[x] for x in clusters]
        with kept_awake(cores):
            for outcome in close_loop(networks, chosen, cores, output, effort, _tell):
                good &= _show(outcome)
    except StagewrightError as error:
        click.echo(f"reality: error: {error}", err=True)
        sys.exit(2)
    click.echo(f"\n{time.monotonic() - began:.0f} s in all.")
    sys.exit(0 if good else 1)


def _tell(text: str) -> None:
    click.echo(f"{text} …", err=True)


def _show(outcome: Outcome) -> bool:
    """Print a table and its verdict, and return whether all holds."""
    single = next((x for x in outcome.rows if x.kind == Kind.SINGLE), None)
    table = Table(box=None, pad_edge=False)
    for heading in ("plan", "stages (layers)"):
        table.add_column(heading)
    for heading in ("predicted ms", "measured ms", "rounds", "others", "error", "× single"):
        table.add_column(heading, justify="right")
    for row in sorted(outcome.rows, key=lambda x: x.predicted_s):
        table.add_row(
            row.kind,
            row.name,
            f"{1e3 * row.predicted_s:.1f}",
            f"{1e3 * row.measured_s:.1f}",
            f"{1e3 * min(row.rounds_s):.0f}–{1e3 * max(row.rounds_s):.0f}",
            f"{100 * row.others:.0f} %",
            f"{100 * row.error:+.0f} %",
            "" if single is None else f"{ratio(row, single):.2f}",
        )
    click.echo(
        f"\n{outcome.network}, {outcome.cluster}, {len(outcome.rows[0].rounds_s)} rounds. gloo: "
        f"{outcome.link.bandwidth_bytes_per_s / 1e9:.2f} GB/s, "
        f"{1e6 * outcome.link.latency_s:.0f} µs a message, "
        f"all-reduce {outcome.all_reduce_bytes_per_s / 1e9:.2f} GB/s."
    )
    Console(width=100, highlight=False).print(table)
    verdict = judge(outcome.rows)
    for text in verdict.fails:
        click.echo(f"DOES NOT HOLD: {text}")
    click.echo(
        f"{len(verdict.holds)} of {len(verdict.holds) + len(verdict.fails)} statements hold."
    )
    return not verdict.fails


if __name__ == "__main__":
    main()
