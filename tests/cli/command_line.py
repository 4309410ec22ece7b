"""Running the command: in this process, or as a process of its own.

``from command_line import command, quiet_place``: the fixture applies wherever it is imported.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import stagewright
from builders import chain, write_profile
from stagewright.cli.app import run

HETE_FILES = Path(__file__).parents[2] / "hete_files"

SAMPLE = str(HETE_FILES / "test_server.txt")
"""A cluster that is planned, with proof, in a moment."""

TITANV = str(HETE_FILES / "profiles" / "minkvgg_titanv.txt")


@dataclass(frozen=True)
class Answer:
    """What a run of the command left behind."""

    code: int
    out: str
    err: str


def command(*arguments) -> Answer:
    """Run the command in this process: ``command("plan", path, "--json")``."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(x) for x in arguments])
    return Answer(code, out.getvalue(), err.getvalue())


def process(*arguments, timeout: float = 60, **options) -> Answer:
    """Run the command as a process of its own; it may not take longer than ``timeout``."""
    done = subprocess.run(
        [sys.executable, "-m", "stagewright", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        check=False,
        **options,
    )
    texts = (text.decode("utf-8", "surrogateescape") for text in (done.stdout, done.stderr))
    return Answer(done.returncode, *texts)


def slow_link() -> list:
    """Plan two GPUs that are never both in use: their link takes longer than all the work."""
    path = write_profile(Path(), chain([1, 1], 1e9, 1e9))
    return ["plan", "--profile", path, "-n", "2", "-b", "1e6"]


@pytest.fixture(autouse=True)
def quiet_place(tmp_path, monkeypatch):
    """Run in an empty folder, with no settings from the environment."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("STAGEWRIGHT_")]:
        monkeypatch.delenv(name)
    for name in ("COLUMNS", "PYTHONIOENCODING", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    source = str(Path(stagewright.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([source, os.environ.get("PYTHONPATH", "")]))
