"""Running cells in processes: what is kept, what runs again, and what a dying worker costs."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import threading
import time

import joblib.externals.loky.reusable_executor as loky_pool
import pytest

from builders import error_text
from stagewright.scenarios.sweep.backends import Backend, fitting, open_backend
from stagewright.scenarios.sweep.cells import make_sweep
from stagewright.scenarios.sweep.key import problem_digest, versions
from stagewright.scenarios.sweep.outcome import Cells, Outcome
from stagewright.scenarios.sweep.results import answered, to_csv
from stagewright.scenarios.sweep.run import finish, start
from stagewright.scenarios.sweep.tables import read_sweep
from stagewright.scenarios.sweep.worker import answer, pack
from sweep_cells import SMALL, Logged, deadly, slowed, small_sweep, write_sweep

FEW = SMALL.replace('"linear-dp", "exact-dp", "cpsat"', '"linear-dp"').replace(
    "3e7, 1e8, 3e8, ", ""
)
"""8 cells."""


@pytest.fixture
def loky(monkeypatch):
    """A backend of two processes, wherever it is run."""
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)
    with open_backend("loky", None, 2, 1) as backend:
        yield backend


def test_all_cells_are_answered_as_without_processes(tmp_path, loky):
    sweep = small_sweep(tmp_path, FEW)
    run = start(sweep.cells, Cells(tmp_path / "kept"))
    finish(run, Cells(tmp_path / "kept"), loky)
    assert run.finished == len(run.ran) == len(sweep.cells) == 8
    for cell in sweep.cells:
        here = answer(pack(cell.job), versions())
        assert _plain(run.outcomes[cell.key]) == _plain(here)
        assert here.status == "feasible"


def test_a_finished_cell_does_not_run_again(tmp_path, loky):
    sweep, kept = small_sweep(tmp_path, FEW), Cells(tmp_path / "kept")
    finish(start(sweep.cells[:5], kept), kept, loky)
    run = start(sweep.cells, kept)
    assert run.finished == 5
    finish(run, kept, loky)
    assert set(run.ran) == {cell.key for cell in sweep.cells[5:]}
    assert start(sweep.cells, kept, fresh=True).finished == 0


@pytest.mark.parametrize("damage", ["", "{", '{"schema": "stagewright.cell/1"}', "other key"])
def test_a_damaged_file_is_no_answer(tmp_path, damage):
    kept = Cells(tmp_path)
    kept.keep("a" * 64, Outcome(status="infeasible"))
    assert kept.get("a" * 64) == Outcome(status="infeasible")
    file = tmp_path / f"{'a' * 64}.json"
    text = damage
    if damage == "other key":
        text = json.dumps({**json.loads(file.read_text("utf-8")), "key": "b" * 64})
    file.write_text(text, "utf-8")
    assert kept.get("a" * 64) is None


def test_a_failure_is_not_kept(tmp_path):
    kept = Cells(tmp_path)
    kept.keep("a" * 64, Outcome(status="failed"))
    assert kept.get("a" * 64) is None


def test_a_worker_with_other_code_answers_nothing(tmp_path):
    cell = small_sweep(tmp_path, FEW).cells[0]
    found = answer(pack(cell.job), "other versions")
    assert found.status == "failed"
    assert "other versions of stagewright" in found.remark


def test_a_fault_of_ours_is_the_answer_of_its_cell_only(tmp_path):
    cell = small_sweep(tmp_path, FEW).cells[0]
    broken = dataclasses.replace(cell.job, planner="no such planner")
    found = answer(pack(broken), versions())
    assert found.status == "failed"
    assert "unknown planner 'no such planner'" in found.remark


@pytest.mark.slow
def test_a_cell_that_ends_its_worker_is_reported_and_the_others_go_on(tmp_path, loky):
    sweep, kept = small_sweep(tmp_path, FEW), Cells(tmp_path / "kept")
    cells = (*sweep.cells[:3], deadly(sweep.cells[3]), *sweep.cells[4:])
    run = start(cells, kept)
    finish(run, kept, loky)
    assert run.finished == 8
    assert run.failed == 1
    outcome = run.outcomes[cells[3].key]
    assert outcome.status == "failed"
    assert "its worker died, and again when it ran alone" in outcome.remark
    assert start(cells, kept).finished == 7


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_no_cell(tmp_path, loky):
    sweep, kept = small_sweep(tmp_path, FEW), Cells(tmp_path / "kept")
    run = start([slowed(cell, 0.3) for cell in sweep.cells], kept)
    killed = []

    def kill_one():
        while not run.ran:
            time.sleep(0.01)
        pid = next(iter(loky_pool._executor._processes))
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)

    thread = threading.Thread(target=kill_one)
    thread.start()
    finish(run, kept, loky)
    thread.join()
    assert killed
    assert run.finished == 8
    assert run.failed == 0


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_backend_that_does_not_stream_runs_in_rounds(tmp_path):
    """As Ray's; joblib's multiprocessing has the same limits and needs nothing installed."""
    sweep, kept = small_sweep(tmp_path, FEW), Cells(tmp_path / "kept")
    run = start(sweep.cells, kept)
    finish(run, kept, Backend("multiprocessing", {}, 2, (), streams=False))
    assert run.finished == len(run.ran) == 8
    assert run.failed == 0


def test_a_changed_profile_or_option_is_another_cell(tmp_path):
    first = small_sweep(tmp_path, FEW)
    assert len({cell.key for cell in first.cells}) == 8
    assert [x.key for x in small_sweep(tmp_path, FEW).cells] == [x.key for x in first.cells]
    for text in (
        FEW.replace("time_limit_s = 20", "time_limit_s = 21"),
        FEW + "seed = 1\n",
        FEW + "overlap = false\n",
        FEW.replace('"linear-dp"', '"data-parallel"'),
        FEW.replace("1e7", "2e7").replace("1e9", "2e9"),
        FEW.replace("V = 2", "V = 1").replace("V = 3", "V = 4"),
    ):
        assert not {x.key for x in small_sweep(tmp_path, text).cells} & {x.key for x in first.cells}
    path = write_sweep(tmp_path, FEW)
    for name in ("even.txt", "steep.txt"):
        profile = tmp_path / name
        profile.write_text(profile.read_text("utf-8").replace("=6.0", "=6.5"), "utf-8")
    changed = make_sweep(path, read_sweep(path))
    assert not {x.key for x in changed.cells} & {x.key for x in first.cells}


def test_the_key_follows_the_versions(tmp_path, monkeypatch):
    before = small_sweep(tmp_path, FEW).cells[0].key
    monkeypatch.setattr("stagewright.scenarios.sweep.key.versions", lambda: "another release")
    assert small_sweep(tmp_path, FEW).cells[0].key != before


def test_notes_are_no_part_of_a_problem(tmp_path):
    problem = small_sweep(tmp_path, FEW).cells[0].job.problem
    noted = dataclasses.replace(problem.instance, notes=("a remark",))
    assert problem_digest(dataclasses.replace(problem, instance=noted)) == problem_digest(problem)


@pytest.mark.parametrize(("jobs", "threads", "cores"), [(3, 1, 2), (1, 3, 2), (2, 2, 3)])
def test_cells_times_threads_never_exceed_the_cores(jobs, threads, cores):
    text = error_text(lambda: fitting(jobs, threads, cores))
    assert f"{cores} cores" in text
    assert fitting(None, 1, cores) == cores
    assert fitting(None, 2, 5) == 2


def test_no_more_cells_are_under_way_than_asked_for(tmp_path, monkeypatch):
    """Each cell notes when it began and ended, in the worker."""
    monkeypatch.setattr("joblib.cpu_count", lambda: 4)
    sweep, kept = small_sweep(tmp_path, FEW), Cells(tmp_path / "kept")
    for at_once in (1, 2):
        log = tmp_path / f"log{at_once}"
        log.mkdir()
        cells = [_logged(cell, str(log / str(i))) for i, cell in enumerate(sweep.cells[:6])]
        with open_backend("loky", None, at_once, 2) as backend:
            assert backend.cells == at_once
            finish(start(cells, kept, fresh=True), kept, backend)
        spans = [tuple(map(float, path.read_text().split())) for path in log.iterdir()]
        assert len(spans) == 6
        assert max(sum(a <= t < b for a, b in spans) for t, _ in spans) == at_once


def test_the_table_is_in_the_order_of_the_file(tmp_path, loky):
    sweep, kept = small_sweep(tmp_path, FEW), Cells(tmp_path / "kept")
    run = start(sweep.cells[::-1], kept)
    finish(run, kept, loky)
    assert to_csv(answered(start(sweep.cells, kept))).count("\n") == 9
    rows = [each.row for each in answered(start(sweep.cells, kept))]
    assert [row.cluster for row in rows] == ["alike", "alike", "mixed", "mixed"] * 2


def _logged(cell, path):
    job = dataclasses.replace(cell.job, problem=Logged(cell.job.problem, path))
    return dataclasses.replace(cell, job=job)


def _plain(outcome):
    return outcome.model_dump(exclude={"wall_s"})
