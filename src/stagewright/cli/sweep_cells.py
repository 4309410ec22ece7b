"""``stagewright sweep FILE.toml`` and ``--scenario``: many cells in parallel."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from stagewright.scenarios.sweep.cells import Sweep
    from stagewright.scenarios.sweep.results import Answered
    from stagewright.scenarios.sweep.run import Run

INTERRUPTED = 130


@dataclass(frozen=True)
class Execution:
    """Where and how cells run."""

    jobs: int | None
    backend: str
    scheduler: str | None
    cache: str | None
    fresh: bool

    @property
    def folder(self) -> Path:
        """Where finished cells are kept."""
        if self.cache is not None:
            return Path(self.cache)
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return home / "stagewright" / "cells"


@dataclass(frozen=True)
class Report:
    """What came out, complete or up to an interrupt.

    Attributes
    ----------
    titles
        Of each sweep, by its name.
    unmet
        Expectations that were not met, in words.
    """

    titles: dict[str, str]
    run: Run
    found: list[Answered]
    unmet: list[str]


def sweep_cells(
    files: Sequence[Path], execution: Execution, output: str | None, as_json: bool
) -> int:
    """Run the cells of all files, print and write what came out, and return the exit code."""
    from stagewright.cli.render_sweep import show_sweep
    from stagewright.scenarios.sweep.backends import require
    from stagewright.scenarios.sweep.cells import make_sweep
    from stagewright.scenarios.sweep.expect import check_expectations
    from stagewright.scenarios.sweep.tables import read_sweep

    require("joblib", *(("pyarrow", "matplotlib") if output is not None else ()))
    sweeps = [make_sweep(path, read_sweep(path)) for path in files]
    for sweep in sweeps:
        check_expectations(sweep)
    run, interrupted = _run(sweeps, execution)
    report = _report(sweeps, run)
    written = [] if output is None else _write(Path(output), report, pictures=not interrupted)
    if as_json:
        click.echo(json.dumps(_data(report), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        show_sweep(report, written)
    for text in report.unmet:
        click.echo(f"stagewright: check failed: {text}", err=True)
    if interrupted:
        click.echo(
            f"stagewright: interrupted: {run.finished} of {len(run.cells)} cells are finished; the "
            "same command goes on from there",
            err=True,
        )
        return INTERRUPTED
    return 1 if run.failed or report.unmet else 0


def list_all(as_json: bool) -> None:
    """Print the name and the title of every scenario."""
    from stagewright.scenarios.named import scenario_file, scenario_names
    from stagewright.scenarios.sweep.tables import read_sweep

    titles = {name: read_sweep(scenario_file(name)).title for name in scenario_names()}
    if as_json:
        click.echo(json.dumps(titles, indent=1, ensure_ascii=False))
        return
    width = max(map(len, titles))
    for name, title in titles.items():
        click.echo(f"{name:{width}}  {title}")


def _run(sweeps: Sequence[Sweep], execution: Execution) -> tuple[Run, bool]:
    """Run what is not finished; also return whether Ctrl-C ended it."""
    from stagewright.cli.interrupts import Interrupts
    from stagewright.scenarios.sweep.backends import open_backend
    from stagewright.scenarios.sweep.outcome import Cells
    from stagewright.scenarios.sweep.run import finish, start

    kept = Cells(execution.folder)
    cells = [cell for sweep in sweeps for cell in sweep.cells]
    threads = max(sweep.table.options.workers for sweep in sweeps)
    run = start(cells, kept, fresh=execution.fresh)
    interrupts = Interrupts()
    try:
        with (
            interrupts.active(),
            open_backend(
                execution.backend, execution.scheduler, execution.jobs, threads
            ) as backend,
            _progress(run) as on_cell,
        ):
            finish(run, kept, backend, on_cell, interrupts.held)
    except KeyboardInterrupt:
        return run, True
    return run, False


def _report(sweeps: Sequence[Sweep], run: Run) -> Report:
    from stagewright.scenarios.sweep.expect import unmet
    from stagewright.scenarios.sweep.results import answered

    found = answered(run)
    titles = {sweep.path.stem: sweep.table.title for sweep in sweeps}
    missed = [text for sweep in sweeps for text in unmet(sweep, found)]
    return Report(titles, run, found, missed)


def _write(folder: Path, report: Report, *, pictures: bool) -> list[Path]:
    """Write the tables; pictures take seconds, for which nobody waits after Ctrl-C."""
    from stagewright.model.files import write_files
    from stagewright.scenarios.sweep.changes import series
    from stagewright.scenarios.sweep.plots import draw
    from stagewright.scenarios.sweep.results import to_csv, to_parquet

    found = report.found
    files: dict[str, str | bytes] = {
        "results.csv": to_csv(found),
        "results.parquet": to_parquet(found),
    }
    if pictures:
        files |= draw(series(found))
    return write_files(folder, files)


def _data(report: Report) -> dict[str, Any]:
    from stagewright.scenarios.sweep.changes import bandwidth, series

    return {
        "titles": report.titles,
        "cells": len(report.run.cells),
        "finished": report.run.finished,
        "failed": report.run.failed,
        "ran": len(report.run.ran),
        "unmet": report.unmet,
        "rows": [asdict(each.row) for each in report.found],
        "changes": [
            {
                "series": line.name,
                "above_bytes_per_s": bandwidth(before),
                "up_to_bytes_per_s": bandwidth(after),
                "before": before.outcome.shape,
                "after": after.outcome.shape,
            }
            for line in series(report.found)
            for before, after in line.changes
        ],
    }


@contextmanager
def _progress(run: Run) -> Iterator[Callable[[], None]]:
    """Show a bar on stderr if that is a terminal; give what is to be called after each cell."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("Ctrl-C keeps what is finished"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("cells", total=len(run.cells), completed=run.finished)
        yield lambda: bar.update(task, completed=run.finished)
