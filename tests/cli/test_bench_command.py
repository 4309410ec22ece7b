"""``stagewright bench``: the table, its summary, the CSV, and what it refuses."""

from __future__ import annotations

import csv
import json
import re

import pytest
from command_line import HETE_FILES, SAMPLE, Answer, command, quiet_place  # noqa: F401

CASE = "test_server.txt 1e+09"


def bench(*arguments) -> Answer:
    return command("bench", "--reference", HETE_FILES, "--workers", "1", *arguments)


def test_a_row_says_what_plan_says(tmp_path):
    answer = bench("--only", CASE, "--planners", "cpsat,linear-dp", "-o", "rows.csv")
    assert answer.code == 0, answer.err
    machine, head, *rows, _, cpsat, _ = answer.out.splitlines()
    assert re.fullmatch(r"\d+ cores, .*; 1 workers, \d+ s a solve", machine)
    assert re.split(r" {2,}", head) == [
        *("instance", "planner", "period ms", "bound ms", "gap %"),
        *("s", "s to 1 %", "s to 0.1 %", "s to proof", "ratio"),
    ]
    assert [re.split(r" {2,}", row)[:2] for row in rows] == [[CASE, "cpsat"], [CASE, "linear-dp"]]
    assert cpsat == "cpsat: 1 instances, 1 within 1 %, 1 within 0.1 %, 1 proven"

    planned = json.loads(command("plan", SAMPLE, "-b", "1e9", "--workers", "1", "--json").out)
    found = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert [row["instance"] for row in found] == [CASE, CASE]
    assert float(found[0]["period_s"]) == pytest.approx(planned["certificate"]["objective_s"])
    assert float(found[0]["gap"]) <= 1e-6
    assert float(found[0]["to_1e-2_s"]) <= float(found[0]["to_1e-6_s"]) <= float(found[0]["wall_s"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--only", "zzz"), "suite 'samples' has no instance whose name matches 'zzz'"),
        (("--without", "luck"), "--without names 'luck'; expected "),
        (("--planners", "oracle"), "oracle"),
        (("--time-limit", "0"), "--time-limit"),
    ],
)
def test_what_cannot_be_meant_is_said_in_a_line(options, says):
    answer = bench(*options)
    assert answer.code == 2
    assert says in answer.err
    assert "Traceback" not in answer.err


def test_reference_data_must_be_named_and_there():
    assert "Say where it is with --reference" in command("bench", "--suite", "racks").err
    assert "gone: is not a folder" in command("bench", "--reference", "gone").err
