"""Constraints by options and in a file: what rules they become, and how they add up."""

from __future__ import annotations

from pathlib import Path

import pytest
from bad_cases import CLUSTER, lay_out
from command_line import HETE_FILES, command, quiet_place  # noqa: F401

from stagewright.cli.app import stagewright
from stagewright.cli.inputs import Inputs, load_problem
from stagewright.cli.options import take
from stagewright.cli.plan import plan_command
from stagewright.model.placement import Kept
from stagewright.model.rules import MemoryModel, Optimizer, Recompute, Rules, Versions

CLUSTER_FILE = HETE_FILES / "two_servers.yaml"
V0, XP0, TI1 = range(3)
OLD = '{"stages": [{"nodes": ["a", "b"]}, {"nodes": ["c"]}]}'


def rules(*arguments):
    """The rules that a command line asks for."""
    root = stagewright.make_context("stagewright", ["plan"])
    context = plan_command.make_context("plan", [str(x) for x in arguments], parent=root)
    return load_problem(take(Inputs, dict(context.params))).instance.rules


@pytest.fixture(autouse=True)
def good_files(quiet_place):  # noqa: F811
    lay_out({"rules.toml": "", "old.json": OLD})


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], Rules()),
        (["--max-stages", 3], Rules(max_stages=3)),
        (["--max-replicas", 2], Rules(max_replicas=2)),
        (["--max-gpus", 3], Rules(max_gpus=3)),
        (["--max_gpus=3"], Rules(max_gpus=3)),
        (["--max-gpus", 99_999_999_999], Rules(max_gpus=10_000)),
        (["--recompute", "auto"], Rules(recompute=Recompute.AUTO)),
        (["--use-all", "--straight-pipeline"], Rules(use_all=True, straight_pipeline=True)),
        (
            ["--versions", "2bw", "--optimizer", "adam"],
            Rules(memory=MemoryModel(Versions.TWO_BW, Optimizer.ADAM)),
        ),
    ],
    ids=str,
)
def test_an_option_becomes_a_rule(arguments, expected):
    assert rules("servers.txt", *arguments) == expected


def test_a_price_becomes_a_rule_where_there_are_prices():
    Path("cluster.yaml").write_text(
        CLUSTER.replace("titanv.txt}", "titanv.txt, price_per_hour: 2}"), encoding="utf-8"
    )
    assert rules("cluster.yaml", "--max-price", 6.5) == Rules(max_price_per_hour=6.5)


def test_layers_are_pinned_forbidden_and_held_together():
    placement = rules(
        *(CLUSTER_FILE, "--pin", "node5=stage:0", "--pin", "MinkowskiLinear*=TitanXP"),
        *("--forbid", "node2=Server0/TitanXP", "--forbid", "node2=Server1"),
        *("--together", "node22, node23", "--together", "node3?"),
    ).placement
    assert placement.stage == (("node5", 0),)
    assert dict(placement.forbidden) == {
        **dict.fromkeys(("node47", "node50", "node53"), (V0, TI1)),
        "node2": (XP0, TI1),
    }
    assert placement.together == (
        ("node22", "node23"),
        tuple(f"node{i}" for i in range(30, 40)),
    )


def test_descriptions_may_hold_an_equals_sign():
    placement = rules(CLUSTER_FILE, "--pin", "*in_features=512*=stage:1").placement
    assert placement.stage == (("node47", 1),)


def test_a_plan_is_kept_up_to_a_few_layers():
    kept = rules("servers.txt", "--replan", "old.json", "--max-moved", 1).placement.kept
    assert kept == Kept((("a", "b"), ("c",)), 1)


def test_the_document_of_any_cluster_can_be_kept():
    assert command("plan", "cluster.yaml", "-o", "out", "--planner", "linear-dp").code == 0
    kept = rules("servers.txt", "--replan", "out/plan.json", "--max-moved", 0).placement.kept
    assert sorted(node for stage in kept.stages for node in stage) == ["a", "b", "c"]


def test_several_demands_can_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("STAGEWRIGHT_PLAN_PIN", "a=stage:0 b=TitanV")
    monkeypatch.setenv("STAGEWRIGHT_PLAN_MAX_GPUS", "2")
    found = rules("servers.txt")
    assert (found.max_gpus, found.placement.stage) == (2, (("a", 0),))
    assert found.placement.forbidden == (("b", (1,)),)


# --- a file, and options beside it ---------------------------------------------------------------


def write(text, name="rules.toml"):
    Path(name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rules.toml", "max_gpus = 3\nrecompute = 'always'\n[pin]\na = 'stage:0'\n"),
        ("rules.yaml", "max_gpus: 3\nrecompute: always\npin: {a: stage:0}\n"),
        ("rules.yml", '{"max_gpus": 3, "recompute": "always", "pin": {"a": "stage:0"}}'),
    ],
)
def test_a_file_says_the_same_as_options(name, text):
    write(text, name)
    options = ("--max-gpus", 3, "--recompute", "always", "--pin", "a=stage:0")
    assert rules("servers.txt", "--constraints", name) == rules("servers.txt", *options)


def test_options_add_to_a_file():
    write("max_gpus = 3\npin = {a = 'stage:0'}\nforbid = {c = 'TitanV'}\ntogether = [['a', 'b']]")
    found = rules(
        *("servers.txt", "--constraints", "rules.toml", "--max-stages", 2, "--use-all"),
        *("--pin", "c=stage:1", "--together", "b,c"),
    )
    assert (found.max_gpus, found.max_stages, found.use_all) == (3, 2, True)
    assert dict(found.placement.stage) == {"a": 0, "c": 1}
    assert found.placement.forbidden == (("c", (0,)),)
    assert set(found.placement.together) == {("a", "b"), ("b", "c")}


def test_options_may_repeat_a_file():
    write("max_gpus = 3\nuse_all = true\n[memory]\nversions = 'flush'\n[pin]\na = 'TitanV'")
    found = rules(
        *("servers.txt", "--constraints", "rules.toml", "--max-gpus", 3, "--use-all"),
        *("--versions", "flush", "--pin", "a=TitanV"),
    )
    assert found == rules("servers.txt", "--constraints", "rules.toml")


def test_the_plan_to_keep_lies_beside_the_file():
    folder = Path("plans")
    folder.mkdir()
    Path("old.json").rename(folder / "old.json")
    write("keep = {plan = 'old.json', most_moved = 2}", folder / "rules.toml")
    kept = rules("servers.txt", "--constraints", "plans/rules.toml").placement.kept
    assert kept.most_moved == 2


def test_memory_in_a_file_brings_the_assumed_memory_of_gpus():
    write("memory = {use = true}")
    answer = command("plan", "servers.txt", "--constraints", "rules.toml", "--planner", "linear-dp")
    assert answer.code == 0
    assert "assuming 1.6e+10 bytes, the published tools' default." in answer.out
