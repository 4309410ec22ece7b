"""Turns: every plan's processes run all the time, and wait until it is their turn.

Starting torchrun takes longer than a turn. So each plan is started once, and its data holds it
back at the first step of every turn until a file says that it may go on.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

FOLDER = "STAGEWRIGHT_REALITY_GATE"
STEPS = "STAGEWRIGHT_REALITY_STEPS"
"""Environment of the processes: the folder of the files, and the steps in a turn."""

POLL_S = 0.2
"""Seconds between two looks. More often, the waiting processes take a visible share of the cores
from the one whose turn it is."""


def environment(folder: Path, steps: int) -> dict[str, str]:
    """Return what the processes of a plan need to know."""
    return {FOLDER: str(folder), STEPS: str(steps)}


def wait(step: int) -> None:
    """Return when the turn that ``step`` belongs to is open; at once where there are no turns."""
    if FOLDER not in os.environ:
        return
    opened = _file(Path(os.environ[FOLDER]), step // int(os.environ[STEPS]))
    while not opened.exists():
        time.sleep(POLL_S)


def open_turn(folder: Path, number: int) -> None:
    """Let the processes of a plan run a turn."""
    _file(folder, number).touch()


def _file(folder: Path, number: int) -> Path:
    return folder / f"turn{number}"
