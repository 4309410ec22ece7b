"""``plan --explain``, and what is said where there is no plan."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import command, quiet_place  # noqa: F401

from builders import chain, write_profile
from stagewright.model.document import read_plan


@pytest.fixture
def heavy_layer() -> list:
    """Four layers, one as heavy as the other three together; transfers cost next to nothing.

    On two GPUs the best period is 8 ms, on three 6 ms: node2 stands alone.
    """
    path = write_profile(Path(), chain([2, 6, 2, 2], [1e3, 1e3, 1e3, 0]))
    return ["plan", "--profile", path, "-n", "2", "-b", "1e9", "--straight-pipeline"]


@pytest.fixture
def too_large() -> list:
    """On one GPU 3 GB of activations and 2 × 1.5 GB of parameters."""
    path = write_profile(Path(), chain([1, 1, 1], 1e9, 0.5e9))
    memory = ["--use-memory-constraint", "-s", "4e9"]
    return ["plan", "--profile", path, "-n", "1", "-b", "1e9", *memory]


def after(text: str, heading: str) -> list[str]:
    lines = text.splitlines()
    rest = lines[lines.index(heading) + 1 :]
    return rest[: rest.index("")] if "" in rest else rest


def test_people_read_what_limits_the_period_and_what_would_help(heavy_layer):
    answer = command(*heavy_layer, "--explain")
    assert (answer.code, answer.err) == (0, "")
    told = " ".join(" ".join(after(answer.out, "What limits the period:")).split())
    assert told.startswith("- Stage ")
    assert "takes the whole period: 8.000 ms of computing. node2 (Linear) alone takes" in told
    rows = after(answer.out, "What would help most, each planned anew:")
    assert [" ".join(row.split()) for row in rows[1:]] == [
        "one more GPU 6.000 ms 25.0 % proven optimal",
        "twice the bandwidth 8.000 ms 0 % proven optimal",
    ]


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
    assert {x["kind"] for x in told["limits"]} == {"layer"}
    document, *_ = read_plan("out/plan.json")
    assert document.dumps() == answer.out


def test_many_limits_are_counted_not_told(tmp_path):
    path = write_profile(tmp_path, chain([1] * 6))
    words = ["-n", "6", "-b", "1e9", "--straight-pipeline", "--no-transfers"]
    answer = command("plan", "--profile", path, *words, "--explain")
    told = after(answer.out, "What limits the period:")
    assert sum(line.startswith("- Stage ") for line in told) == 4
    assert told[-1] == "  … and 2 more (--json tells all)"


def test_where_there_is_no_plan_people_read_why_and_what_helps(too_large):
    answer = command(*too_large)
    assert (answer.code, answer.out) == (3, "")
    assert answer.err.splitlines() == [
        "stagewright: error: no plan exists: no plan satisfies all the rules "
        "(--use-memory-constraint, at most 4 GB per GPU)",
        "No plan meets this demand:",
        "- every stage fits the memory of its GPUs (--use-memory-constraint)",
        "Even the plan that needs the least memory does not fit: stage 0 (3 layers, "
        "node1 … node3; GPU×1) needs 6.0 GB on GPU (4.0 GB): parameters 3.0 GB (2 copies), "
        "activations 3.0 GB (1 minibatch in flight).",
        "There is a plan with any one of these changes:",
        "- 6.0 GB of memory on each GPU",
        "- one more GPU",
        "Proven not to help alone:",
        "- stages that may recompute (--recompute auto)",
        "- fewer versions of the weights (--versions 2bw)",
        "- fewer versions of the weights (--versions flush)",
    ]


@pytest.mark.parametrize("change", [["-s", "6e9"], ["-n", "2"]])
def test_what_is_said_to_help_helps(too_large, change):
    place = too_large.index(change[0]) + 1
    too_large[place] = change[1]
    assert command(*too_large).code == 0


def test_names_from_files_are_harmless(tmp_path):
    graph = chain([1, 1], 1e9, 1e9)
    hostile = graph.layers[0].__class__("no\x1b[31mde", "[red]x\x07(1)", 1, 0, (1e9,), 1e9)
    edges = ((hostile.id, "node2"),)
    path = write_profile(tmp_path, graph.__class__((hostile, graph.layers[1]), edges, "g"))
    words = ["--profile", path, "-n", "1", "-b", "1e9"]
    for more in (["--use-memory-constraint", "-s", "1e9"], ["--explain"]):
        answer = command("plan", *words, *more)
        assert not {"\x1b", "\x07"} & set(answer.out + answer.err)
