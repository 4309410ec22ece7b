"""``stagewright sweep FILE.toml``: interrupted, killed, resumed; and what it prints."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import SAMPLE, command, process, quiet_place  # noqa: F401

from sweep_cells import SMALL, write_sweep

pytest.importorskip("joblib")

COMMAND = [sys.executable, "-m", "stagewright", "sweep", "sweep.toml", "--jobs", "1"]
PNG = b"\x89PNG\r\n"


def table(path: str) -> list[dict[str, str]]:
    """The rows of a results.csv but for the wall clock."""
    rows = list(csv.DictReader(io.StringIO(Path(path).read_text("utf-8"))))
    for row in rows:
        del row["wall_s"]
    return rows


def finished(folder: str) -> dict[str, int]:
    """When each finished cell was written."""
    return {path.name: path.stat().st_mtime_ns for path in Path(folder).glob("*.json")}


def begin() -> subprocess.Popen:
    """Start the sweep in the background."""
    return subprocess.Popen(
        [*COMMAND, "--cache", "cells"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_sixty_cells_interrupted_at_random_give_the_same_table(tmp_path):
    """Five interrupts, killed and Ctrl-C in turn, each after a random number of cells."""
    write_sweep(tmp_path, SMALL, layers=16)
    draw = random.Random(1)  # noqa: S311 - which moments does not matter
    goals = sorted(draw.sample(range(1, 50), 5))
    for place, goal in enumerate(goals):
        before = finished("cells")
        running = begin()
        end = time.monotonic() + 900
        while len(finished("cells")) < max(goal, len(before) + 1) and running.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.02)
        killed = place % 2 == 0
        running.send_signal(signal.SIGKILL if killed else signal.SIGINT)
        out, err = running.communicate(timeout=300)
        after = finished("cells")
        assert before.items() <= after.items(), "a finished cell ran again"
        assert len(before) < len(after) < 60, "it was not interrupted midway"
        assert running.returncode == (-signal.SIGKILL if killed else 130)
        if not killed:
            assert f"interrupted: {len(after)} of 60 cells are finished" in err
            assert "Traceback" not in err
            assert f"{len(after) - len(before)} cells ran" in out
    before = finished("cells")
    last = json.loads(process(*COMMAND[3:], "--cache", "cells", "--json", timeout=900).out)
    assert last["ran"] == 60 - len(before)
    assert before.items() <= finished("cells").items()

    whole = json.loads(process(*COMMAND[3:], "--cache", "other", "--json", timeout=900).out)
    assert whole["ran"] == len(whole["rows"]) == 60
    for row in (*last["rows"], *whole["rows"]):
        del row["wall_s"]
    assert last["rows"] == whole["rows"]
    assert last["changes"] == whole["changes"]
    assert finished("cells").keys() == finished("other").keys()


@pytest.mark.slow
def test_processes_end_with_a_sweep_that_is_killed(tmp_path):
    write_sweep(tmp_path, SMALL, layers=16)
    running = begin()
    end = time.monotonic() + 900
    while not finished("cells"):
        assert time.monotonic() < end
        time.sleep(0.01)
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    assert children
    running.kill()
    running.communicate()
    while any(Path(f"/proc/{pid}").exists() and not _zombie(pid) for pid in children):
        assert time.monotonic() < end
        time.sleep(0.05)


def _zombie(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


TINY = """\
title = "One chain"

[workloads]
even = {profile = "even.txt"}

[clusters]
four = {machines = [4]}

[axes]
bandwidths_bytes_per_s = [1e6, 1e9]
planners = ["exact-dp", "data-parallel", "sparsepipe-dp"]

[[expect]]
planner = "exact-dp"
status = "optimal"
"""


def test_the_table_the_files_and_the_json_agree(tmp_path):
    write_sweep(tmp_path, TINY)
    answer = command("sweep", "sweep.toml", "--cache", "cells", "-o", "out")
    assert (answer.code, answer.err) == (0, "")
    assert "sweep: One chain (6 cells)" in answer.out
    assert "6 cells ran." in answer.out
    assert "* proven optimal" in answer.out
    assert "GPU×" in answer.out
    names = {"results.csv", "results.parquet", "period.png", "period.svg", "shape.png", "shape.svg"}
    assert {path.name for path in Path("out").iterdir()} == names
    assert Path("out/shape.png").read_bytes().startswith(PNG)

    again = command("sweep", "sweep.toml", "--cache", "cells", "--json")
    data = json.loads(again.out)
    assert (data["ran"], data["finished"], data["failed"], data["unmet"]) == (0, 6, 0, [])
    rows = table("out/results.csv")
    assert [row["planner"] for row in rows] == ["exact-dp", "data-parallel", "sparsepipe-dp"] * 2
    for row, same in zip(rows, data["rows"], strict=True):
        assert float(row["period_s"]) == same["period_s"]
        assert row["shape"] == same["shape"]
    (change,) = data["changes"]
    assert (change["above_bytes_per_s"], change["up_to_bytes_per_s"]) == (1e6, 1e9)
    assert change["before"] != change["after"]


def test_parquet_holds_what_the_csv_holds(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    write_sweep(tmp_path, TINY)
    assert command("sweep", "sweep.toml", "--cache", "cells", "-o", "out").code == 0
    rows = pq.read_table("out/results.parquet").to_pylist()
    texts = list(csv.DictReader(io.StringIO(Path("out/results.csv").read_text("utf-8"))))
    assert len(rows) == len(texts) == 6
    for row, text in zip(rows, texts, strict=True):
        assert list(row) == list(text)
        for name, value in row.items():
            shown = "" if value is None else str(value).lower() if value in {True, False} else value
            if isinstance(value, bool) or not isinstance(value, int | float):
                assert text[name] == shown
            else:
                assert float(text[name]) == value


def test_an_expectation_that_is_not_met_fails(tmp_path):
    text = TINY + 'period_s = 0.001\n\n[[expect]]\nplanner = "data-parallel"\nstages = 2\n'
    write_sweep(tmp_path, text)
    answer = command("sweep", "sweep.toml", "--cache", "cells")
    assert answer.code == 1
    lines = answer.err.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("stagewright: check failed: sweep, even, four, exact-dp, 1e+06: the")
    assert lines[0].endswith(" s, expected 0.001 s")
    assert lines[3].endswith("1 stages, expected 2")
    assert "Expectations that are not met: 4." in answer.out


def test_cells_without_a_plan_are_answers_too(tmp_path):
    text = TINY.replace('"exact-dp", "data', '"exact-dp", "pipedream-dp", "data').replace(
        "[axes]", "[axes]\nmemory_bytes = [1e3]"
    )
    text = text.replace('status = "optimal"', 'status = "infeasible"')
    write_sweep(tmp_path, text)
    answer = command("sweep", "sweep.toml", "--cache", "cells")
    assert answer.code == 0
    assert "none: proven that there is no plan" in answer.out


def test_fresh_runs_everything_again(tmp_path):
    write_sweep(tmp_path, TINY)
    for extra, ran in (([], 6), ([], 0), (["--fresh"], 6)):
        answer = command("sweep", "sweep.toml", "--cache", "cells", "--json", *extra)
        assert json.loads(answer.out)["ran"] == ran


def test_finished_cells_are_kept_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    write_sweep(tmp_path, TINY)
    assert command("sweep", "sweep.toml").code == 0
    assert len(finished(str(tmp_path / "home" / "stagewright" / "cells"))) == 6


def test_more_cells_than_cores_are_refused(tmp_path):
    write_sweep(tmp_path, TINY)
    answer = command("sweep", "sweep.toml", "--jobs", "5000")
    assert answer.code == 2
    assert "5000 cells at once (--jobs) × 1 solver threads (options.workers) is more than" in (
        answer.err
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "nothing to sweep is named. Name a FILE.toml, a --scenario, or SERVERS with --pareto"),
        ([SAMPLE], "found the suffix '.txt', expected a sweep file that ends in .toml"),
        (["gone.toml"], "gone.toml: no such file; expected a sweep file"),
        (["a.toml", "--scenario", "memory"], "both a file and --scenario are given"),
        (["--scenario", "magic"], "there is no scenario 'magic'; expected gnmt-straight, memory"),
        (["a.toml", "-b", "1e9"], "--bandwidth goes with --pareto; a FILE.toml and a"),
        (["a.toml", "--time-limit", "3"], "--time-limit goes with --pareto"),
        (["a.toml", "--by", "price"], "--by goes with --pareto"),
        (["--pareto", SAMPLE, "--jobs", "2"], "--jobs does not go with --pareto"),
        (["--pareto", SAMPLE, "-o", "front.txt"], "expected .csv or .json"),
    ],
)
def test_what_does_not_go_together_is_refused(words, text):
    answer = command("sweep", *words)
    assert (answer.code, answer.out) == (2, "")
    (line,) = answer.err.splitlines()
    assert text in line


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--backend", "dask"], "--backend dask needs --scheduler, the address of the cluster"),
        (["--scheduler", "tcp://x:1"], "--scheduler goes with --backend dask or ray"),
    ],
)
def test_a_cluster_needs_its_address(tmp_path, words, text):
    write_sweep(tmp_path, TINY)
    answer = command("sweep", "sweep.toml", *words)
    assert answer.code == 2
    assert text in answer.err


def test_a_library_that_is_missing_is_named(tmp_path, monkeypatch):
    write_sweep(tmp_path, TINY)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    answer = command("sweep", "sweep.toml")
    assert answer.code == 2
    assert "joblib is not installed. Install it: pip install 'stagewright[sweep]'" in answer.err


def test_scenarios_are_listed():
    answer = command("sweep", "--list")
    assert answer.code == 0
    assert "slow-links" in answer.out
    assert json.loads(command("sweep", "--list", "--json").out)["slow-links"].startswith("MinkVGG")


def test_nothing_heavy_is_imported_for_the_help():
    code = (
        "import sys; from stagewright.cli.app import run; run(['sweep', '-h']); "
        "print([x for x in ('joblib', 'matplotlib', 'pyarrow', 'pydantic') if x in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ}
    )
    assert done.stdout.splitlines()[-1] == "[]"
