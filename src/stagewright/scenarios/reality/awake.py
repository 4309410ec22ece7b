"""A core that never sleeps: ``python -m stagewright.scenarios.reality.awake CORE PARENT``.

Works only while nothing else wants the core. A core of a virtual machine that has nothing to do is
given back to the host, and what wakes it waits until the host has time for it: often 4 ms for a
message that takes 0.3 ms, as measured here. No GPU does that between two messages.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

TURNS = 1_000_000
"""Of the loop between two looks whether the parent still lives: about 20 ms."""


def main(core: int, parent: int) -> None:
    """Keep the core awake for as long as the parent lives."""
    os.sched_setaffinity(0, {core})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while os.getppid() == parent:
        for _ in range(TURNS):
            pass


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(int(sys.argv[1]), int(sys.argv[2]))
