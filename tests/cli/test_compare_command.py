"""``stagewright compare``: all planners on one problem, side by side."""

from __future__ import annotations

import json
import re

import pytest
from command_line import SAMPLE, command, quiet_place  # noqa: F401

from stagewright.formulation.registry import PLANNER_NAMES


@pytest.fixture
def rows():
    """Run with ``--json`` and return (rows by planner, disagreements)."""

    def call(*arguments):
        answer = command("compare", *arguments, "--json")
        assert (answer.code, answer.err) == (0, "")
        data = json.loads(answer.out)
        assert data.keys() == {"rows", "disagreements"}
        return {row["planner"]: row for row in data["rows"]}, data["disagreements"]

    return call


def test_every_planner_has_a_row_in_its_place(rows):
    found, disagreements = rows(SAMPLE)
    assert list(found) == list(PLANNER_NAMES)
    assert disagreements == []
    for row in found.values():
        assert list(row) == [
            *("planner", "period_s", "claimed_period_s", "status", "gap", "wall_s", "ratio"),
            *("valid", "remark"),
        ]


def test_the_figures_of_the_sample(rows):
    found, _ = rows(SAMPLE)
    best = found["cpsat"]["period_s"]
    assert best == pytest.approx(0.139112, rel=1e-5)
    assert found["exact-dp"]["period_s"] == pytest.approx(best, rel=1e-6)
    assert found["single-gpu"]["period_s"] == pytest.approx(0.195120, rel=1e-5)
    for name in ("cpsat", "exact-dp"):
        assert found[name]["status"] == "optimal"
        assert found[name]["gap"] == pytest.approx(0, abs=1e-6)
        assert found[name]["valid"] is True
    for name in ("linear-dp", "sparsepipe-dp", "data-parallel", "single-gpu", "equal-split"):
        assert (found[name]["status"], found[name]["gap"]) == ("feasible", None)
    for row in found.values():
        if row["period_s"] is not None:
            assert row["ratio"] == pytest.approx(row["period_s"] / best)
            assert row["ratio"] >= 1
            assert row["wall_s"] >= 0
    claims = {name for name, row in found.items() if row["claimed_period_s"] is not None}
    assert claims == {"sparsepipe-dp"}


def test_a_planner_that_does_not_apply_says_why(rows):
    row = rows(SAMPLE, "--planners", "pipedream-dp")[0]["pipedream-dp"]
    assert row["remark"] == (
        "planner 'pipedream-dp' does not apply: it plans for one GPU type; "
        "this cluster has TitanV, TitanXP"
    )
    assert row["valid"] is False
    for key in ("period_s", "claimed_period_s", "status", "gap", "wall_s", "ratio"):
        assert row[key] is None


def test_a_plan_that_breaks_a_rule_has_no_ratio_below_one(rows):
    """It is shown with what it breaks, and the best is taken among those that break nothing."""
    found, _ = rows(SAMPLE, "--straight-pipeline", "--planners", "cpsat,data-parallel,single-gpu")
    broken = found["data-parallel"]
    assert broken["valid"] is False
    assert broken["remark"].startswith("breaks a rule: stage 0 has 4 replicas")
    assert found["cpsat"]["ratio"] == 1
    assert found["single-gpu"]["ratio"] >= 1


def test_an_infeasible_problem_is_an_answer_too(rows):
    found, disagreements = rows(SAMPLE, "--use-memory-constraint", "-s", "1000")
    assert found["cpsat"]["status"] == found["exact-dp"]["status"] == "infeasible"
    assert found["linear-dp"]["status"] == "unknown"
    assert disagreements == []
    assert not any(row["valid"] for row in found.values())


@pytest.mark.parametrize("planners", ["single-gpu,cpsat", " cpsat , single-gpu ,", "linear-dp"])
def test_a_choice_of_planners_in_its_order(rows, planners):
    found, _ = rows(SAMPLE, "--planners", planners)
    assert list(found) == re.findall(r"[a-z-]+", planners)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-b", "1e9"],
        ["-b", "1e10", "--no-overlap"],
        ["-b", "1e9", "--dispatch", "proportional"],
        ["-b", "1e9", "--use-all"],
        ["--cost-model", "sparsepipe", "--activation-compression-ratio", "4"],
        ["--no-transfers", "--max-stages", "2"],
        ["--use-memory-constraint", "-s", "1.5e9", "--optimizer", "adam"],
        ["--use-memory-constraint", "-s", "1000"],
    ],
    ids=" ".join,
)
def test_the_check_passes_on_the_sample(arguments):
    answer = command("compare", SAMPLE, *arguments, "--check")
    assert answer.code == 0
    proportional = "proportional" in arguments
    exact = "cpsat and exact-dp" if proportional else "cpsat and milp and exact-dp"
    assert answer.err == f"check passed: {exact} agree\n"
    assert answer.out


def test_the_check_leaves_the_data_alone():
    answer = command("compare", SAMPLE, "--planners", "cpsat,exact-dp", "--check", "--json")
    assert answer.code == 0
    assert [row["planner"] for row in json.loads(answer.out)["rows"]] == ["cpsat", "exact-dp"]
    assert answer.err == "check passed: cpsat and exact-dp agree\n"


def test_people_read_a_row_per_planner():
    answer = command("compare", SAMPLE, "-b", "1e9")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert re.split(r"\s{2,}", lines[1].strip()) == [
        *("planner", "period_s", "claimed_period_s", "status", "gap", "wall_s", "ratio"),
        "stages / remark",
    ]
    first = {line.split()[0]: line for line in lines[2:] if not line.startswith(" ")}
    assert list(first) == list(PLANNER_NAMES)
    assert first["cpsat"].split()[3] == "optimal"
    assert "does not" in first["pipedream-dp"]
    assert max(len(line.rstrip()) for line in lines) <= 110


def test_a_proven_gap_of_nothing_reads_as_nothing():
    """The model's rounding is no gap that a reader should think about."""
    out = command("compare", SAMPLE, "--planners", "cpsat,exact-dp").out
    gaps = [line.split()[4:6] for line in out.splitlines() if " optimal " in line]
    assert gaps == [["0", "%"], ["0", "%"]]


def test_nothing_is_written(tmp_path):
    command("compare", SAMPLE)
    assert list(tmp_path.iterdir()) == []
