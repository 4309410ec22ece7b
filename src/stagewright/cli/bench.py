"""``stagewright bench``."""

from __future__ import annotations

import csv
import fnmatch
import io
import itertools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stagewright.cli.option_types import Command
from stagewright.cli.options import Limits, limit_options, take

if TYPE_CHECKING:
    from stagewright.scenarios.certify import Row

SUITE_NAMES = ("samples", "profiles", "mixed", "racks", "workloads")


@click.command("bench", cls=Command)
@click.option(
    "--suite",
    type=click.Choice(SUITE_NAMES),
    default="samples",
    show_default=True,
    help="Which instances; all but samples need the reference data.",
)
@click.option(
    "--reference",
    type=click.Path(),
    metavar="DIR",
    help="Folder with profiles/, goldens/ and dnn_partitioning/; for samples, of server files.  "
    "[default: hete_files]",
)
@click.option("--planners", default="cpsat", show_default=True, help="Names, with commas between.")
@click.option("--only", default="*", metavar="PATTERN", help="Instances whose name matches.")
@click.option("-o", "--output", type=click.Path(), metavar="FILE", help="Write a .csv as well.")
@click.option(
    "--without",
    default="",
    metavar="NAMES",
    help="Techniques that cpsat does without, with commas between (docs/benchmarks.md).",
)
@limit_options
def bench_command(
    suite: str,
    reference: str | None,
    planners: str,
    only: str,
    output: str | None,
    without: str,
    **values: object,
) -> None:
    """Set planners against known instances: bound, gap and seconds.

    \b
    stagewright bench
    stagewright bench --suite profiles --reference DIR --time-limit 10
    """
    from stagewright.cli.progress import searching
    from stagewright.formulation.problem import TECHNIQUES
    from stagewright.model.errors import InputError, printable
    from stagewright.model.files import write_files
    from stagewright.scenarios.certify import certify, machine
    from stagewright.scenarios.suites import SUITES

    if reference is None and suite != "samples":
        raise InputError(
            f"suite '{suite}' reads reference data", hint="Say where it is with --reference DIR"
        )
    limits = take(Limits, values)
    folder = Path(reference or "hete_files")
    if not folder.is_dir():
        raise InputError("is not a folder", source=folder)
    left_out = frozenset(name.strip() for name in without.split(",") if name.strip())
    for name in left_out - set(TECHNIQUES):
        raise InputError(f"--without names '{name}'; expected {', '.join(TECHNIQUES)}")
    names = [name.strip() for name in planners.split(",") if name.strip()]
    cases = (case for case in SUITES[suite](folder) if fnmatch.fnmatch(case.name, f"*{only}*"))
    first = next(cases, None)
    if first is None:
        raise InputError(
            f"suite '{suite}' has no instance whose name matches '{printable(only, 40)}'",
            source=folder,
            hint="Without --only the table shows all names; * stands for any letters",
        )
    click.echo(f"{machine()}; {limits.workers} workers, {limits.time_limit:g} s a solve")
    click.echo(_line(("instance", "planner", "period ms", "bound ms", "gap %", *_TIMES, "ratio")))
    rows: list[Row] = []
    with searching(limits) as settings:
        for row in certify(
            itertools.chain([first], cases), names, replace(settings, without=left_out)
        ):
            rows.append(row)
            click.echo(_line(_cells(row)))
    for text in _summary(rows):
        click.echo(text)
    if output is not None:
        path = Path(output)
        write_files(path.parent, {path.name: _csv(rows)})


_COLUMNS = (
    "instance",
    "planner",
    "period_s",
    "bound_s",
    "gap",
    "wall_s",
    "to_1e-2_s",
    "to_1e-3_s",
    "to_1e-6_s",
    "published_s",
    "ratio",
    "remark",
)
_TIMES = ("s", "s to 1 %", "s to 0.1 %", "s to proof")
_WIDTHS = (48, 13, 12, 12, 9, 8, 10, 12, 12, 8)


def _line(cells: tuple[str, ...]) -> str:
    head, *rest = zip(cells, _WIDTHS, strict=True)
    return head[0].ljust(head[1]) + "".join(text.rjust(width) for text, width in rest)


def _cells(row: Row) -> tuple[str, ...]:
    def shown(value: float | None, form: str, factor: float = 1.0) -> str:
        return "-" if value is None else format(value * factor, form)

    return (
        row.case,
        row.planner,
        shown(row.period_s, ".6g", 1000),
        shown(row.bound_s, ".6g", 1000),
        shown(row.gap, ".4f", 100),
        shown(row.wall_s, ".1f"),
        *(shown(x, ".1f") for x in row.reached_s),
        shown(row.ratio, ".4f"),
    )


def _summary(rows: list[Row]) -> list[str]:
    """How many are within each gap, by planner."""
    lines = [""]
    for name in dict.fromkeys(row.planner for row in rows):
        mine = [row for row in rows if row.planner == name]
        gaps = [row.gap for row in mine if row.gap is not None]
        within = ", ".join(
            f"{sum(gap <= mark for gap in gaps)} {words}"
            for mark, words in ((0.01, "within 1 %"), (0.001, "within 0.1 %"), (1e-6, "proven"))
        )
        ratios = [row.ratio for row in mine if row.ratio is not None]
        worst = f"; largest ratio to published {max(ratios):.4f}" if ratios else ""
        lines.append(f"{name}: {len(mine)} instances, {within}{worst}")
    return lines


def _csv(rows: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in rows:
        times = row.reached_s
        figures = (row.period_s, row.bound_s, row.gap, row.wall_s, *times)
        writer.writerow((row.case, row.planner, *figures, row.published_s, row.ratio, row.remark))
    return text.getvalue()
