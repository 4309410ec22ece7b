"""``make bench``: how long each planner takes on the sample clusters, as ratios in one run.

Bare seconds mean little on a shared machine, so every planner is timed in turn with
``linear-dp`` and the median of the pairwise ratios is what counts.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.registry import PLANNER_NAMES
from stagewright.formulation.run import Planned, run_planner
from stagewright.model.costs import Topology
from stagewright.model.errors import DoesNotApply
from stagewright.model.load import load_instance, read_cluster

CLUSTERS = ("test_server.txt", "titanv4_titanxp3.txt", "two_servers.yaml")
BANDWIDTHS = (1e8, 1e9, 1e10)
YARDSTICK = "linear-dp"


def sample_problems(folder: Path) -> list[tuple[str, Problem]]:
    """Return (name, problem) for every sample cluster and bandwidth, under ``topology``."""
    found = []
    for name in CLUSTERS:
        fixed = name.endswith(".yaml")
        for bandwidth in (None,) if fixed else BANDWIDTHS:
            given = [] if bandwidth is None else [bandwidth]
            instance = load_instance(read_cluster(folder / name, given))
            title = name if bandwidth is None else f"{name} -b {bandwidth:g}"
            found.append((title, Problem(instance, Topology())))
    return found


def time_pair(name: str, problem: Problem, settings: Settings, runs: int) -> tuple[float, Planned]:
    """Return the median ratio of a planner's time to the yardstick's, and its last answer."""
    ratios = []
    for _ in range(runs):
        began = time.perf_counter()
        run_planner(YARDSTICK, problem, settings)
        middle = time.perf_counter()
        planned = run_planner(name, problem, settings)
        ratios.append((time.perf_counter() - middle) / (middle - began))
    return statistics.median(ratios), planned


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path("hete_files"),
    show_default=True,
    help="Where the sample clusters are.",
)
@click.option("--runs", type=click.IntRange(min=1), default=5, show_default=True, help="Per cell.")
@click.option(
    "--workers", type=click.IntRange(min=1), default=8, show_default=True, help="cpsat's."
)
def main(folder: Path, runs: int, workers: int) -> None:
    """Print a table: instance, planner, period, gap, ratio to the best, time as a ratio."""
    table = Table(box=None, pad_edge=False)
    for column in (
        "instance",
        "planner",
        "period_s",
        "status",
        "gap",
        "ratio to best",
        "time ratio",
    ):
        table.add_column(column, justify="left" if column in {"instance", "planner"} else "right")
    settings = Settings(workers=workers)
    for title, problem in sample_problems(folder):
        cells = []
        for name in PLANNER_NAMES:
            try:
                cells.append((name, *time_pair(name, problem, settings, runs)))
            except DoesNotApply:
                continue
        best = min(planned.evaluation.period_s for _, _, planned in cells)
        for name, ratio, planned in cells:
            gap = planned.certificate.gap
            table.add_row(
                title,
                name,
                f"{planned.evaluation.period_s:.6g}",
                planned.certificate.status,
                "-" if gap is None else f"{gap:.1e}",
                f"{planned.evaluation.period_s / best:.3f}",
                f"{ratio:.2f}",
            )
    console = Console(width=120, highlight=False)
    console.print(
        f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}; "
        f"time ratio: median over {runs} runs, {YARDSTICK} = 1 in the same run; "
        f"cpsat with {workers} workers\n"
    )
    console.print(table)


if __name__ == "__main__":
    main()
