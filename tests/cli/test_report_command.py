"""``stagewright report``: what it writes, and what it refuses."""

from __future__ import annotations

import builtins
import json
from pathlib import Path

import pytest
from command_line import SAMPLE, command, quiet_place  # noqa: F401


@pytest.fixture
def plan() -> str:
    """A plan document made by the command itself."""
    answer = command("plan", SAMPLE, "-b", "1e9", "--planner", "linear-dp", "-o", "out")
    assert answer.code == 0
    return "out/plan.json"


def test_it_writes_one_page_and_names_it(plan):
    answer = command("report", plan, "-o", "pages/report.html", "--time-limit", "2")
    assert (answer.code, answer.out, answer.err) == (0, "pages/report.html\n", "")
    assert [path.name for path in Path("pages").iterdir()] == ["report.html"]
    page = Path("pages/report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "stagewright emit out/plan.json -n Minkvgg -a minkvgg" in page
    for planner in ("single-gpu", "data-parallel", "equal-split", "sparsepipe-dp", "pipedream-dp"):
        assert f">{planner}<" in page
    assert page.count("linear-dp</th>") == 0
    assert "this plan (linear-dp)" in page


def test_alone_runs_no_other_planner(plan):
    assert command("report", plan, "-o", "report.html", "--alone").code == 0
    page = Path("report.html").read_text(encoding="utf-8")
    assert "equal-split" not in page
    assert ">single-gpu<" in page  # the plan document itself has the baselines


def test_planners_can_be_chosen(plan):
    answer = command("report", plan, "-o", "report.html", "--planners", "equal-split,exact-dp")
    assert answer.code == 0
    page = Path("report.html").read_text(encoding="utf-8")
    assert ">exact-dp<" in page
    assert "sparsepipe-dp" not in page


def test_as_json_it_lists_the_files(plan):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    answer = command("report", plan, "-o", "report.html", "--alone", "--figures", "fig", "--json")
    assert answer.code == 0
    files = json.loads(answer.out)["files"]
    assert files[0] == "report.html"
    assert {"fig/period.png", "fig/period.svg", "fig/timeline.svg"} <= set(files)
    assert all(Path(name).is_file() for name in files)


def test_without_matplotlib_figures_are_refused_and_nothing_is_written(plan, monkeypatch):
    real = builtins.__import__

    def absent(name, *rest, **options):
        if name.startswith("stagewright.report.figures"):
            raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    answer = command("report", plan, "-o", "report.html", "--alone", "--figures", "fig")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == (
        "stagewright: error: --figures needs matplotlib, which is not installed. Install it with: "
        "pip install 'stagewright[report]'\n"
    )
    assert not Path("report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "report.txt"], "report.txt: -o ends in '.txt'; expected .html"),
        (["-o", "report"], "report: -o ends in ''; expected .html"),
        (
            ["-o", "x.html", "--planners", "magic"],
            "unknown planner 'magic'; expected cpsat, milp, exact-dp, linear-dp, pipedream-dp, "
            "sparsepipe-dp, data-parallel, single-gpu, equal-split",
        ),
        ([], "Missing option '-o' / '--output'. (see 'stagewright report --help')"),
    ],
)
def test_mistakes_are_one_line(plan, arguments, message):
    answer = command("report", plan, *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == f"stagewright: error: {message}\n"


def test_what_is_no_plan_is_refused():
    Path("plan.json").write_text("{}", encoding="utf-8")
    answer = command("report", "plan.json", "-o", "report.html")
    assert answer.code == 2
    assert "Expected a plan document (stagewright.plan/1)" in answer.err
    assert not Path("report.html").exists()
