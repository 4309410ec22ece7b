"""Names of layers and places: what they mean, and exact errors."""

from __future__ import annotations

import pytest

from builders import chain, cluster_of, error_text, graph_of, layer
from stagewright.model.placement_names import PlacementNames, resolve_placement

CLUSTER = cluster_of([{"TitanV": 2, "TitanXP": 2}, {"TitanXP": 4}])
V0, XP0, XP1 = range(3)
GRAPH = graph_of(
    [
        layer("in", description="Input0"),
        layer("embed", description="Embedding(100, 8)"),
        layer("lstm1", description="LSTM(8, 8)"),
        layer("lstm2", description="LSTM(8, 8)"),
        layer("w[0]", description="Linear(8, bias=True)"),
        layer("unused", description="__getitem__(1)"),
    ],
    "in->embed embed->lstm1 lstm1->lstm2 lstm2->w[0] lstm1->unused",
)


def resolve(pin=(), forbid=(), together=(), graph=GRAPH, cluster=CLUSTER):
    return resolve_placement(PlacementNames(pin, forbid, together), graph, cluster)


@pytest.mark.parametrize(
    ("pattern", "nodes"),
    [
        ("embed", ["embed"]),
        ("LSTM(8, 8)", ["lstm1", "lstm2"]),
        ("LSTM*", ["lstm1", "lstm2"]),
        ("lstm?", ["lstm1", "lstm2"]),
        ("lstm[2-9]", ["lstm2"]),
        ("w[0]", ["w[0]"]),
        ("*bias=True)", ["w[0]"]),
        ("*", ["embed", "lstm1", "lstm2", "w[0]"]),
    ],
)
def test_a_layer_is_named_by_identifier_description_or_pattern(pattern, nodes):
    assert resolve(pin=[(pattern, "stage:1")]).stage == tuple((node, 1) for node in nodes)


def test_patterns_know_capitals():
    assert "no layer" in error_text(lambda: resolve(pin=[("lstm(*", "stage:1")]))


@pytest.mark.parametrize(
    ("place", "groups"),
    [
        ("TitanV", {V0}),
        ("TitanXP", {XP0, XP1}),
        ("Server0", {V0, XP0}),
        ("Server1", {XP1}),
        ("Server0/TitanXP", {XP0}),
    ],
)
def test_a_place_is_a_type_a_server_or_both(place, groups):
    assert resolve(forbid=[("embed", place)]).forbidden == (("embed", tuple(sorted(groups))),)
    rest = tuple(sorted({V0, XP0, XP1} - groups))
    assert resolve(pin=[("embed", place)]).forbidden == (("embed", rest),)


def test_demands_on_one_layer_all_hold():
    found = resolve(
        pin=[("embed", "TitanXP"), ("emb*", "Server0"), ("embed", "stage:0")],
        forbid=[("*", "TitanV")],
    )
    assert dict(found.forbidden)["embed"] == (V0, XP1)
    assert found.stage == (("embed", 0),)


def test_layers_that_belong_together_are_named_one_by_one_or_by_a_pattern():
    found = resolve(together=[("lstm*",), ("embed", "w[[]0]", "embed")])
    assert found.together == (("lstm1", "lstm2"), ("embed", "w[0]"))


ERRORS = {
    "an unknown layer": (
        {"pin": [("lstm3", "stage:0")]},
        "no layer is called or described as 'lstm3'. Did you mean 'lstm2', 'lstm1'?",
    ),
    "a pattern without a match": (
        {"forbid": [("Conv*", "TitanV")]},
        "no layer is called or described as 'Conv*'. The layers are 'embed', 'lstm1', 'lstm2', …",
    ),
    "an input": (
        {"pin": [("in", "stage:0")]},
        "'in' is an input, which costs nothing and cannot be pinned",
    ),
    "an unused output": (
        {"forbid": [("unused", "TitanV")]},
        "'unused' is an output that nobody uses, which costs nothing and cannot be forbidden",
    ),
    "an unknown place": (
        {"pin": [("embed", "TitanX")]},
        "'TitanX' is no place of this cluster; expected stage:K, a GPU type, a server, or "
        "SERVER/TYPE. Did you mean 'TitanXP', 'TitanV'?",
    ),
    "a place like nothing": (
        {"forbid": [("embed", "?")]},
        "'?' is no place of this cluster; expected a GPU type, a server, or SERVER/TYPE. The "
        "cluster has 'TitanV', 'TitanXP', 'Server0', …",
    ),
    "a stage that is no number": (
        {"pin": [("embed", "stage:one")]},
        "'stage:one' is no place of this cluster; expected stage:K, a GPU type, a server, or "
        "SERVER/TYPE. The cluster has 'TitanV', 'TitanXP', 'Server0', …",
    ),
    "a forbidden stage": (
        {"forbid": [("embed", "stage:1")]},
        "'stage:1' cannot be forbidden; expected a GPU type, a server, or SERVER/TYPE. A layer "
        "can be pinned to a stage",
    ),
    "two stages": (
        {"pin": [("LSTM*", "stage:0"), ("lstm2", "stage:1")]},
        "'lstm2' is pinned to stage 0 and to stage 1. A layer lies in one stage only",
    ),
    "two places without a common GPU": (
        {"pin": [("embed", "TitanV"), ("embed", "Server1")]},
        "no GPU is left for 'embed': it is pinned or forbidden everywhere. Demands on one layer "
        "all hold; to leave it several places, forbid the others",
    ),
    "one layer together": (
        {"together": [("embed", "emb*")]},
        "'embed, emb*' names one layer only; expected two or more that belong together",
    ),
}


@pytest.mark.parametrize(("names", "message"), ERRORS.values(), ids=ERRORS)
def test_a_name_that_means_nothing_is_refused(names, message):
    assert error_text(lambda: resolve(**names)) == message


def test_a_name_that_means_two_things_is_refused():
    cluster = cluster_of([{"Server1": 1}, {"TitanV": 1}])
    message = "'Server1' means more than one thing here. Write SERVER/TYPE"
    assert error_text(lambda: resolve(pin=[("*", "Server1")], cluster=cluster)) == message
    found = resolve(pin=[("embed", "Server0/Server1")], cluster=cluster)
    assert found.forbidden == (("embed", (1,)),)


@pytest.mark.parametrize("pattern", ["[", "[z-a]", "*" * 500 + "q", "(?P<x>", "\x00", "\\"])
def test_a_pattern_made_to_hurt_is_no_more_than_unknown(pattern):
    graph = chain([1.0] * 50)
    message = error_text(lambda: resolve(pin=[(pattern, "stage:0")], graph=graph))
    assert message.startswith("no layer is called or described as ")
