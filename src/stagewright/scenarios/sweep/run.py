"""Running what is not finished yet, in parallel; each answer is kept as soon as it is there."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from stagewright.scenarios.sweep.backends import Backend
from stagewright.scenarios.sweep.cells import Cell, Job
from stagewright.scenarios.sweep.key import versions
from stagewright.scenarios.sweep.outcome import Cells, Outcome
from stagewright.scenarios.sweep.worker import answer, pack


@dataclass
class Run:
    """How far a sweep has come.

    Attributes
    ----------
    cells
        All cells, in the order of the file.
    outcomes
        What is finished, by key.
    ran
        Keys of the cells that ran in this run, in the order in which they finished.
    """

    cells: tuple[Cell, ...]
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)

    @property
    def finished(self) -> int:
        """Cells with an answer."""
        return sum(cell.key in self.outcomes for cell in self.cells)

    @property
    def failed(self) -> int:
        """Cells that ended without an answer."""
        return sum(
            cell.key in self.outcomes and self.outcomes[cell.key].status == "failed"
            for cell in self.cells
        )


def start(cells: Sequence[Cell], kept: Cells, *, fresh: bool = False) -> Run:
    """Return a run that begins with the cells that are finished already; none if ``fresh``."""
    run = Run(tuple(cells))
    for cell in run.cells if not fresh else ():
        found = kept.get(cell.key)
        if found is not None:
            run.outcomes[cell.key] = found
    return run


def finish(
    run: Run,
    kept: Cells,
    backend: Backend,
    on_cell: Callable[[], None] = lambda: None,
    undisturbed: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """Run every cell that is not finished.

    When a worker dies, the cells that were under way run again, one at a time. One that then takes
    its worker along again is reported as failed; all others go on.

    Parameters
    ----------
    on_cell
        Called after each cell.
    undisturbed
        What an answer is noted within, so that an interrupt does not leave half of it.
    """

    def note(key: str, outcome: Outcome) -> None:
        with undisturbed():
            kept.keep(key, outcome)
            run.outcomes[key] = outcome
            run.ran.append(key)
            on_cell()

    left = {cell.key: cell.job for cell in run.cells if cell.key not in run.outcomes}
    suspects: dict[str, Job] = {}
    while left:
        under_way = _together(left, backend, note)
        suspects |= {key: left.pop(key) for key in under_way}
        left = {key: job for key, job in left.items() if key not in run.outcomes}
    for key, job in suspects.items():
        if _together({key: job}, backend, note):
            text = "its worker died, and again when it ran alone; perhaps it is out of memory"
            note(key, Outcome(status="failed", remark=text))


def _together(
    jobs: dict[str, Job], backend: Backend, note: Callable[[str, Outcome], None]
) -> set[str]:
    """Run jobs until all are done or a worker dies; return those that were under way then."""
    under_way: set[str] = set()

    def tasks() -> Iterator[Any]:
        import joblib  # noqa: PLC0415 - optional

        for key, job in jobs.items():
            under_way.add(key)
            yield joblib.delayed(_keyed)(key, pack(job), versions())

    try:
        with backend.active(), _results(tasks(), backend) as results:
            for key, outcome in results:
                note(key, outcome)
                under_way.discard(key)
    except backend.died:
        return under_way
    return set()


def _keyed(key: str, packed: bytes, expected_versions: str) -> tuple[str, Outcome]:
    return key, answer(packed, expected_versions)


@contextmanager
def _results(tasks: Iterator[Any], backend: Backend) -> Iterator[Iterable[tuple[str, Outcome]]]:
    """Give the results as they come, and leave nothing running at the end."""
    results = _stream(tasks, backend.cells) if backend.streams else _rounds(tasks, backend.cells)
    try:
        yield results
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results.close()


def _stream(tasks: Iterator[Any], at_once: int) -> Generator[tuple[str, Outcome], None, None]:
    """Send ``at_once`` tasks, and another whenever one is done.

    One job would run in this process, which a crash of a solver would end; so there are two, of
    which ``pre_dispatch`` may leave one without work.
    """
    import joblib  # noqa: PLC0415 - optional

    results: Generator[tuple[str, Outcome], None, None] = joblib.Parallel(
        n_jobs=max(2, at_once),
        pre_dispatch=at_once,
        batch_size=1,
        return_as="generator_unordered",
    )(tasks)
    return results


def _rounds(tasks: Iterator[Any], at_once: int) -> Generator[tuple[str, Outcome], None, None]:
    """Send ``at_once`` tasks, and as many again when all of them are done."""
    import joblib  # noqa: PLC0415 - optional

    parallel = joblib.Parallel(n_jobs=max(2, at_once), batch_size=1)
    while batch := list(islice(tasks, at_once)):
        yield from parallel(batch)
