"""Ctrl-C that waits while something is written down."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interrupts:
    """Raises ``KeyboardInterrupt`` on Ctrl-C, but not within :meth:`held`.

    Otherwise an answer could be in its file and not in the table, or the other way round.
    """

    def __init__(self) -> None:
        self._holding = False
        self._waiting = False

    @contextmanager
    def active(self) -> Iterator[None]:
        """Handle Ctrl-C; outside the main thread it is left as it is."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._on_interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let Ctrl-C wait until the end of the block."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self._waiting:
            self._waiting = False
            raise KeyboardInterrupt

    def _on_interrupt(self, signum: int, frame: Any) -> None:
        del signum, frame
        if not self._holding:
            raise KeyboardInterrupt
        self._waiting = True
