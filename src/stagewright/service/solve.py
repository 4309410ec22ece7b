"""One worker process, seen from the server."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["stagewright.service.worker"])

MOST_SAID = 65536
WAIT_S = 2.0
"""For a killed process to be gone."""


STOP = b"stop"


def warm_up() -> None:
    """Start the process that workers are forked from, with everything imported.

    A worker forked from it is a fresh process, but has nothing left to import.
    """
    process = _CONTEXT.Process(target=_nothing)
    process.start()
    process.join()


def _nothing() -> None:
    """Do nothing: the target of :func:`warm_up`."""


def _work(pipe: Connection, says: Connection, memory_bytes: float) -> None:
    """Run one task; the server itself has no need of the solvers' libraries."""
    os.set_blocking(says.fileno(), False)  # rather lose words than wait for a reader
    os.dup2(says.fileno(), 1)
    os.dup2(says.fileno(), 2)
    from stagewright.service.worker import main  # noqa: PLC0415

    main(pipe, memory_bytes)


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
        self._said, says = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(
            target=_work, args=(theirs, says, memory_bytes), daemon=True
        )
        self._process.start()
        theirs.close()
        says.close()
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

    def end(self) -> tuple[int | None, str]:
        """End the process, however it is doing.

        Returns
        -------
        tuple
            Its exit code if it had one, and what it or its libraries have printed.
        """
        self._process.join(0.2)
        code = self._process.exitcode
        if code is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid or 0, signal.SIGKILL)
            self._process.kill()
            self._process.join(WAIT_S)
        os.set_blocking(self._said.fileno(), False)
        said = b""
        with contextlib.suppress(OSError):
            said = os.read(self._said.fileno(), MOST_SAID)
        self._pipe.close()
        self._said.close()
        return code, said.decode(errors="replace")
