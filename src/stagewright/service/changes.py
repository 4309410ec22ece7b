"""Telling those who wait for a job that something about it is new."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict


class Changes:
    """Waiters by job. All methods but :meth:`tell` belong to the event loop's thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        self.closed = False

    def attach(self) -> None:
        """Take the running event loop as the one that waits."""
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """Wake everybody: the server is about to end."""
        self.closed = True
        for events in self._waiting.values():
            for event in events:
                event.set()

    def tell(self, job_id: str) -> None:
        """Wake those who wait for a job; may be called from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):  # it closes just now
                self._loop.call_soon_threadsafe(self._wake, job_id)

    def _wake(self, job_id: str) -> None:
        for event in self._waiting.get(job_id, ()):
            event.set()

    @staticmethod
    async def wait(event: asyncio.Event, timeout_s: float) -> bool:
        """Wait until ``event``, of :meth:`watch`, is set; clear it, and return whether it was."""
        try:
            await asyncio.wait_for(event.wait(), timeout_s)
        except TimeoutError:
            return False
        event.clear()
        return True

    def watch(self, job_id: str) -> asyncio.Event:
        """Return an event that is set at every change of a job, until :meth:`leave`."""
        event = asyncio.Event()
        self._waiting[job_id].add(event)
        return event

    def leave(self, job_id: str, event: asyncio.Event) -> None:
        """Give an event back."""
        self._waiting[job_id].discard(event)
        if not self._waiting[job_id]:
            del self._waiting[job_id]
