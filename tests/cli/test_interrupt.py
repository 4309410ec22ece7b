"""Ctrl-C: the first one ends the search, the second one ends the program."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from command_line import quiet_place  # noqa: F401

from builders import chain, graph_of, layer, write_profile


def wide_graph(branches: int = 7, length: int = 5, blocks: int = 2, seed: int = 3):
    """Parallel branches, joined, and again: too many cuts for an exact dynamic programme."""
    rng = random.Random(seed)  # noqa: S311 - the same every time
    layers, edges = [], []

    def add(*producers):
        name = f"n{len(layers)}"
        sizes = rng.randint(1, 50) * 1e5, rng.randint(0, 90) * 1e5
        layers.append(layer(name, rng.randint(1, 97), rng.randint(1, 197), *sizes))
        edges.extend(f"{u}->{name}" for u in producers)
        return name

    last = add()
    for _ in range(blocks):
        ends = []
        for _ in range(branches):
            end = last
            for _ in range(length):
                end = add(end)
            ends.append(end)
        last = add(*ends)
    return graph_of(layers, " ".join(edges))


@dataclass
class Running:
    """A solve that is under way; its stderr is a terminal."""

    process: subprocess.Popen
    terminal: int
    shown: str = ""

    def read_until(self, text: str, timeout: float = 60) -> None:
        """Wait until the terminal shows ``text``."""
        end = time.monotonic() + timeout
        while text not in self.shown:
            assert time.monotonic() < end, self.shown
            assert self._read(), self.shown

    def _read(self) -> bool:
        with contextlib.suppress(OSError):  # the other end is closed
            data = os.read(self.terminal, 4096)
            self.shown += data.decode("utf-8", "replace")
            return bool(data)
        return False

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self, timeout: float) -> tuple[int, str]:
        """Return the exit code and stdout."""
        out, _ = self.process.communicate(timeout=timeout)
        while self._read():
            pass
        return self.process.returncode, out


@pytest.fixture
def start():
    """Start the command with a terminal as its stderr."""
    started: list[Running] = []

    def call(*arguments, program=("-m", "stagewright")) -> Running:
        ours, theirs = os.openpty()
        process = subprocess.Popen(
            [sys.executable, *program, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
            encoding="utf-8",
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        )
        os.close(theirs)
        started.append(Running(process, ours))
        return started[-1]

    yield call
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
        running.process.communicate()
        os.close(running.terminal)


@pytest.fixture
def endless(tmp_path) -> Callable[[], list]:
    """Arguments of a solve that nobody can wait for."""
    path = write_profile(tmp_path, wide_graph())
    return [
        *("plan", "--profile", path, "-n", "4,3", "-b", "1e9,1e8"),
        *("--workers", "2", "--time-limit", "3600"),
    ]


@pytest.mark.slow
def test_ctrl_c_gives_the_best_plan_so_far(start, endless):
    running = start(*endless)
    running.read_until("best ")
    running.interrupt()
    code, out = running.end(timeout=15)
    assert code == 0
    assert "Traceback" not in running.shown
    assert "Period " in out
    assert "Proven to be within " in out


@pytest.mark.slow
def test_ctrl_c_gives_whole_json_and_files(start, endless):
    running = start(*endless, "--json", "-o", "out")
    running.read_until("best ")
    time.sleep(0.5)
    running.interrupt()
    code, out = running.end(timeout=15)
    assert code == 0
    assert "Traceback" not in running.shown
    document = json.loads(out)
    certificate = document["certificate"]
    assert certificate["status"] == "feasible"
    assert 0 < certificate["bound_s"] < certificate["objective_s"] == document["period_s"]
    assert 0 < certificate["gap"] < 1
    assert certificate["wall_s"] < 60
    assert json.loads(Path("out/plan.json").read_text(encoding="utf-8")) == document


@pytest.mark.slow
def test_ctrl_c_before_the_solver_begins_is_as_good(start, endless):
    running = start(*endless, "--json")
    running.read_until("searching")
    running.interrupt()
    code, out = running.end(timeout=20)
    assert code == 0
    assert json.loads(out)["period_s"] > 0


SOLVER_THAT_DOES_NOT_STOP = (
    "from ortools.sat.python import cp_model\n"
    "cp_model.CpSolver.stop_search = lambda self: None\n"
    "from stagewright.cli import main\n"
    "main()\n"
)


@pytest.mark.slow
def test_a_second_ctrl_c_ends_the_program(start, endless):
    """Even while the solver is at work in its own thread."""
    running = start(*endless, "-o", "out", program=("-c", SOLVER_THAT_DOES_NOT_STOP))
    running.read_until("best ")
    running.interrupt()
    time.sleep(0.5)
    assert running.process.poll() is None
    running.interrupt()
    code, out = running.end(timeout=10)
    assert (code, out) == (130, "")
    assert "stagewright: error: interrupted" in running.shown
    assert "Traceback" not in running.shown
    assert "terminate called" not in running.shown
    assert not Path("out").exists()


@pytest.mark.slow
def test_ctrl_c_ends_a_published_planner_without_a_plan(start, tmp_path):
    path = write_profile(tmp_path, chain([i % 7 + 1 for i in range(80)], 1e6, 1e6))
    running = start(
        "plan", "--profile", path, "-n", "500", "-b", "1e9", "--planner", "pipedream-dp"
    )
    running.read_until("searching")
    running.interrupt()
    assert running.end(timeout=10) == (4, "")
    assert "'pipedream-dp' found no plan" in running.shown or "did not finish" in running.shown
    assert "Traceback" not in running.shown


def workers_of(parent: int) -> list[int]:
    """Processes that solve a MILP for ``parent``."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            status = (folder / "status").read_text()
            mine = f"PPid:\t{parent}\n" in status
            if mine and b"milp.worker" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def alive(pid: int) -> bool:
    """Whether a process still runs; one that nobody has waited for yet does not."""
    with contextlib.suppress(OSError):
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


def until(condition: Callable[[], object], timeout: float = 20) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_milp_solver_goes_with_its_parent(how):
    servers = Path(__file__).parents[2] / "hete_files" / "two_servers.yaml"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "stagewright", "plan", str(servers), "--planner", "milp"),
            *("--workers", "2", "--time-limit", "3600"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: workers_of(process.pid), timeout=90)
        workers = workers_of(process.pid)
        process.send_signal(how)
        _, shown = process.communicate(timeout=30)
        until(lambda: not any(map(alive, workers)))
        assert "Traceback" not in shown
    finally:
        process.kill()
