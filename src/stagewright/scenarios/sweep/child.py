"""How a process of this machine that runs cells behaves.

Apart from the rest, so that a process that gets no cell loads nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

HEARTBEAT_S = 0.5


def prepare(parent: int) -> None:
    """Make a process of this machine leave Ctrl-C to its parent, and end when the parent ends."""
    with contextlib.suppress(ValueError):  # not the main thread: nothing to ignore
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(HEARTBEAT_S)
    os._exit(1)
