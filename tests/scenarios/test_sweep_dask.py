"""Sweeps on a real Dask cluster of this machine: a scheduler and two workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import stagewright
from builders import error_text
from stagewright.scenarios.sweep.backends import open_backend
from stagewright.scenarios.sweep.outcome import Cells
from stagewright.scenarios.sweep.run import finish, start
from sweep_cells import SMALL, deadly, slowed, small_sweep

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.slow

FEW = SMALL.replace('"linear-dp", "exact-dp", "cpsat"', '"linear-dp"').replace("3e7, 1e8, ", "")
"""12 cells."""

PATHS = os.pathsep.join(
    [str(Path(stagewright.__file__).parents[1]), str(Path(__file__).parents[1])]
)


@dataclass
class Cluster:
    """Processes of a Dask cluster."""

    address: str
    workers: list[subprocess.Popen]


@pytest.fixture
def start_cluster(tmp_path):
    """Start a scheduler and workers; a nanny restarts its worker.

    Dask gives up a task with which more than ``failures`` workers died; 3 is its default.
    """
    started: list[subprocess.Popen] = []

    def launch(module: str, *rest: str, failures: int) -> subprocess.Popen:
        with (tmp_path / f"dask{len(started)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{module}", *rest],
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "PYTHONPATH": PATHS,
                    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(failures),
                    "OMP_NUM_THREADS": "1",
                },
            )
        started.append(process)
        return process

    def call(
        workers: int = 2, *, threads: int = 1, nanny: bool = False, failures: int = 3
    ) -> Cluster:
        file = tmp_path / "scheduler.json"
        common = ("--scheduler-file", str(file), "--no-dashboard", "--host", "127.0.0.1")
        launch("dask_scheduler", *common, "--port", "0", failures=failures)
        options = ("--nthreads", str(threads), "--nanny" if nanny else "--no-nanny")
        running = [
            launch("dask_worker", *common, *options, failures=failures) for _ in range(workers)
        ]
        end = time.monotonic() + 30
        while not file.exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        time.sleep(0.2)
        with distributed.Client(scheduler_file=str(file), set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=30)
            return Cluster(client.scheduler.address, running)

    yield call
    for process in reversed(started):
        process.kill()
        process.wait()


def run_on(cluster: Cluster, cells, kept: Cells, meanwhile: Callable[[], None] = lambda: None):
    """Run cells on the cluster, and something else beside them."""
    run = start(cells, kept)
    beside = threading.Thread(target=lambda: _after_first(run, meanwhile))
    beside.start()
    with open_backend("dask", cluster.address, None, 1) as backend:
        assert backend.cells == len(cluster.workers)
        finish(run, kept, backend)
    beside.join()
    return run


def _after_first(run, meanwhile) -> None:
    end = time.monotonic() + 30
    while not run.ran and time.monotonic() < end:
        time.sleep(0.01)
    meanwhile()


def test_a_worker_that_is_killed_midway_costs_no_cell(tmp_path, start_cluster):
    cluster, kept = start_cluster(), Cells(tmp_path / "kept")
    cells = [slowed(cell, 0.2) for cell in small_sweep(tmp_path, FEW).cells]
    run = run_on(cluster, cells, kept, lambda: cluster.workers[0].send_signal(signal.SIGKILL))
    assert cluster.workers[0].wait(timeout=5) == -signal.SIGKILL
    assert cluster.workers[1].poll() is None
    assert run.finished == len(cells) == 12
    assert run.failed == 0
    assert sorted(run.ran) == sorted(cell.key for cell in cells)


def test_a_cell_that_ends_its_workers_is_reported_and_the_others_go_on(tmp_path, start_cluster):
    """Dask gives such a task up; joblib alone would then wait for ever."""
    cluster, kept = start_cluster(nanny=True, failures=0), Cells(tmp_path / "kept")
    whole = small_sweep(tmp_path, FEW).cells
    cells = (*whole[:2], deadly(whole[2]), *whole[3:])
    run = run_on(cluster, cells, kept)
    assert run.finished == 12
    assert run.failed == 1
    assert "its worker died" in run.outcomes[cells[2].key].remark


def test_workers_that_take_more_than_the_cores_are_refused(start_cluster):
    cluster = start_cluster(1, threads=(os.cpu_count() or 1) + 1)
    text = error_text(lambda: open_backend("dask", cluster.address, None, 1).__enter__())
    assert "Dask workers on 127.0.0.1 take" in text
    assert "is more than its" in text


def test_a_scheduler_that_is_not_there_is_an_error_of_one_line(monkeypatch):
    monkeypatch.setattr("stagewright.scenarios.sweep.backends.CONNECT_S", 1)
    text = error_text(lambda: open_backend("dask", "tcp://127.0.0.1:9", None, 1).__enter__())
    assert "no Dask scheduler with workers answers at 'tcp://127.0.0.1:9'" in text
