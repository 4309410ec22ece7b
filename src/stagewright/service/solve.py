"""One worker process, seen from the server."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
from typing import Any

from stagewright.service.worker import STOP, main

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["stagewright.service.worker"])

WAIT_S = 2.0
"""For a killed process to be gone."""


def warm_up() -> None:
    """Start the process that workers are forked from, with everything imported.

    A worker forked from it is a fresh process, but has nothing left to import.
    """
    process = _CONTEXT.Process(target=_nothing)
    process.start()
    process.join()


def _nothing() -> None:
    """Do nothing: the target of :func:`warm_up`."""


class Solve:
    """A process at work on one task.

    Parameters
    ----------
    task
        As JSON.
    memory_bytes
        What it may take beyond what its libraries occupy.
    """

    def __init__(self, task: str, memory_bytes: float) -> None:
        self._pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=main, args=(theirs, memory_bytes), daemon=True)
        self._process.start()
        theirs.close()
        with contextlib.suppress(OSError):  # it is gone already: `receive` finds out
            self._pipe.send_bytes(task.encode())

    def receive(self, timeout_s: float) -> dict[str, Any] | None:
        """Wait for the next message; ``None`` if there is none yet.

        Raises
        ------
        EOFError
            If the process is gone.
        """
        try:
            if not self._pipe.poll(timeout_s):
                return None
            message: dict[str, Any] = json.loads(self._pipe.recv_bytes())
        except OSError:
            raise EOFError from None
        return message

    def stop(self) -> None:
        """Ask for the best plan so far."""
        with contextlib.suppress(OSError):
            self._pipe.send_bytes(STOP)

    def end(self) -> int | None:
        """End the process, however it is doing; return its exit code if it had one."""
        self._process.join(0.2)
        code = self._process.exitcode
        if code is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid or 0, signal.SIGKILL)
            self._process.kill()
            self._process.join(WAIT_S)
        self._pipe.close()
        return code
