"""One rank on its core: ``python -m stagewright.scenarios.reality.pinned CORES PROGRAM …``.

CORES are those of the ranks, such as ``0,1``; torchrun says which rank this is.
"""

from __future__ import annotations

import os
import sys


def main(cores: str, *program: str) -> None:
    """Become the program, on the core of this rank."""
    os.sched_setaffinity(0, {int(cores.split(",")[int(os.environ["LOCAL_RANK"])])})
    os.execv(sys.executable, [sys.executable, *program])  # noqa: S606 - the written launcher


if __name__ == "__main__":
    main(*sys.argv[1:])
