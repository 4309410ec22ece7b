"""Rules in words."""

from __future__ import annotations

import pytest

from builders import cluster_of
from stagewright.model.placement import Kept, Placement
from stagewright.model.rule_names import rules_in_words
from stagewright.model.rules import Recompute, Rules

CLUSTER = cluster_of([{"TitanV": 2, "TitanXP": 2}, {"TitanXP": 4}], memory_bytes=12e9)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (Rules(), []),
        (Rules(use_memory=True), ["--use-memory-constraint, at most 12 GB per GPU"]),
        (Rules(use_all=True), ["--use-all, 8 GPUs"]),
        (
            Rules(straight_pipeline=True, max_stages=3, max_replicas=2),
            ["--straight-pipeline", "--max-stages 3", "--max-replicas 2"],
        ),
        (
            Rules(max_gpus=4, max_price_per_hour=12.0, recompute=Recompute.AUTO),
            ["--max-gpus 4", "--max-price 12", "--recompute auto"],
        ),
    ],
)
def test_rules_read_as_on_the_command_line(rules, words):
    assert rules_in_words(rules, CLUSTER) == words


@pytest.mark.parametrize(
    ("placement", "words"),
    [
        (
            Placement(stage=(("a", 0), ("b", 0), ("c", 2))),
            ["--pin a, b=stage:0", "--pin c=stage:2"],
        ),
        (Placement(stage=tuple((x, 1) for x in "abcde")), ["--pin a, b, c and 2 more=stage:1"]),
        (Placement(forbidden=(("a", (1, 2)),)), ["--pin a=TitanV"]),
        (Placement(forbidden=(("a", (2,)),)), ["--pin a=Server0"]),
        (Placement(forbidden=(("a", (1,)),)), ["--forbid a=Server0/TitanXP"]),
        (Placement(together=(("a", "b"), ("c", "d"))), ["--together a,b", "--together c,d"]),
        (Placement(kept=Kept((("a",),), 3)), ["--replan, --max-moved 3"]),
    ],
)
def test_demands_on_layers_read_as_on_the_command_line(placement, words):
    assert rules_in_words(Rules(placement=placement), CLUSTER) == words
