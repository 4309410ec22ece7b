"""Progress on a terminal, and Ctrl-C that keeps the best plan so far."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stagewright.cli.options import Limits

if TYPE_CHECKING:
    from stagewright.formulation.problem import Progress, Settings


@contextmanager
def searching(limits: Limits, what_for: Callable[[], str] = str) -> Iterator[Settings]:
    """Give the settings of a search; show its progress on stderr if that is a terminal.

    ``what_for`` is asked for words that follow "searching".
    The first Ctrl-C makes the search end with the best plan so far, the second ends the program.
    """
    from stagewright.cli.texts import milliseconds, percent
    from stagewright.formulation.problem import Settings

    stop = threading.Event()
    status = _status()

    def on_progress(progress: Progress) -> None:
        if status is None:
            return
        parts = []
        if progress.period_s is not None:
            parts.append(f"best {milliseconds(progress.period_s)}")
        if progress.bound_s is not None:
            parts.append(f"bound {milliseconds(progress.bound_s)}")
        if progress.period_s and progress.bound_s is not None:
            parts.append(f"gap {percent(1 - progress.bound_s / progress.period_s)}")
        status.update(
            f"searching{what_for()}: {', '.join(parts)}, {progress.wall_s:.0f} s (Ctrl-C keeps it)"
        )

    settings = Settings(
        time_limit_s=limits.time_limit,
        gap=limits.gap,
        workers=limits.workers,
        seed=limits.seed,
        fewer_machines=limits.use_fewer_machines,
        tidy=limits.tidy,
        solver=limits.solver,
        on_progress=on_progress,
        stop=stop,
    )
    with _interruptible(stop):
        if status is None:
            yield settings
        else:
            with status:
                yield settings


@contextmanager
def trying(settings: Settings) -> Iterator[Callable[[str], None]]:
    """Give a function that shows on stderr, if that is a terminal, what is being tried.

    The first Ctrl-C sets ``settings.stop``, the second ends the program.
    """
    status = _status()

    def tell(step: str) -> None:
        if status is not None:
            status.update(f"trying: {step} (Ctrl-C ends it)")

    with _interruptible(settings.stop):
        if status is None:
            yield tell
        else:
            with status:
                yield tell


def _status() -> Any:
    if not sys.stderr.isatty():
        return None
    from rich.console import Console

    return Console(stderr=True).status("searching")


@contextmanager
def _interruptible(stop: threading.Event) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_interrupt(signum: int, frame: Any) -> None:
        del frame
        if stop.is_set():
            signal.default_int_handler(signum, None)
        stop.set()

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
