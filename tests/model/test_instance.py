"""Instances: profiles that agree, sizes that are evened out, and arrays in file order."""

from __future__ import annotations

import dataclasses

import pytest

from builders import chain, cluster_of, diamond, error_text, graph_of, layer, one_server, scaled
from stagewright.model.instance import Instance, build_instance
from stagewright.model.rules import Rules

MIXED = one_server({"TitanV": 1, "TitanXP": 1})
SAME_NETWORK = "All profiles of one plan must come from the same network"


def with_input():
    """``x`` feeds data in, ``h`` is read by nobody; ``a`` and ``b`` are to be planned."""
    return graph_of(
        [
            layer("x", 99.0, 99.0, 99.0, 99.0, "Input0"),
            layer("b", 4.0, 2.0, (8.0, 1.0), 32.0),
            layer("a", 1.0, 2.0, 4.0, 16.0),
            layer("h", 99.0, 99.0, 99.0, 99.0, "__getitem__(1)"),
        ],
        "x->a a->b a->b a->h x->b",
    )


# --- arrays ---------------------------------------------------------------------------------


def test_arrays_hold_planned_nodes_only_in_file_order():
    instance = build_instance({"TitanV": with_input()}, one_server(1))
    assert instance.nodes == ("b", "a")
    assert instance.index == {"b": 0, "a": 1}
    assert instance.activation_bytes.tolist() == [9.0, 4.0]
    assert instance.parameter_bytes.tolist() == [32.0, 16.0]


def test_times_are_seconds_by_group():
    cluster = cluster_of([{"TitanXP": 1, "TitanV": 1}, {"TitanV": 2}])
    graph = with_input()
    instance = build_instance({"TitanV": graph, "TitanXP": scaled(graph, 2.0)}, cluster)
    assert instance.type_time_s["TitanV"].tolist() == [0.006, 0.003]
    assert instance.time_s.tolist() == [[0.012, 0.006], [0.006, 0.003], [0.006, 0.003]]


def test_edges_are_among_planned_nodes_and_each_once():
    instance = build_instance({"TitanV": with_input()}, one_server(1))
    assert instance.edges == ((1, 0),)
    assert instance.consumers == ((), (0,))
    assert instance.producers == ((1,), ())


def test_a_diamonds_neighbours():
    instance = build_instance({"TitanV": diamond()}, one_server(1))
    assert instance.consumers == ((1, 2), (3,), (3,), ())
    assert instance.producers == ((), (0,), (0,), (1, 2))


def test_other_rules_leave_the_rest_as_it_is():
    instance = build_instance({"TitanV": diamond()}, one_server(2), notes=("a note",))
    changed = instance.with_rules(Rules(use_all=True))
    assert changed.rules == Rules(use_all=True)
    assert dataclasses.replace(changed, rules=Rules()) == instance


# --- sizes that differ ----------------------------------------------------------------------


def test_where_sizes_differ_the_largest_is_used_and_said():
    profiles = {
        "TitanV": chain([1, 1, 1], [10, 20, 30], [1, 2, 1]),
        "TitanXP": chain([1, 1, 1], [10, 25, 30], [1, 2, 3]),
    }
    instance = build_instance(profiles, MIXED)
    assert instance.activation_bytes.tolist() == [10.0, 25.0, 30.0]
    assert instance.parameter_bytes.tolist() == [1.0, 2.0, 3.0]
    assert instance.notes == (
        "the profiles state different sizes for 2 of 3 nodes (node2, node3); the largest is used",
    )


def test_a_long_list_of_differing_nodes_is_cut_short():
    profiles = {"TitanV": chain([1] * 5, 1.0), "TitanXP": chain([1] * 5, 2.0)}
    (note,) = build_instance(profiles, MIXED).notes
    assert "5 of 5 nodes (node1, node2, node3, …)" in note


def test_the_largest_activation_keeps_its_parts():
    small = graph_of([layer("a", activation_bytes=(5.0, 5.0))])
    large = graph_of([layer("a", activation_bytes=(7.0, 4.0))])
    instance = build_instance({"TitanV": small, "TitanXP": large}, MIXED)
    assert instance.graph.by_id["a"].activation_parts_bytes == (7.0, 4.0)


def test_profiles_that_agree_leave_nothing_to_say():
    instance = build_instance({"TitanV": chain([1]), "TitanXP": chain([2])}, MIXED)
    assert instance.notes == ()


def test_remarks_of_the_reader_come_first():
    profiles = {"TitanV": chain([1], 1.0), "TitanXP": chain([1], 2.0)}
    notes = build_instance(profiles, MIXED, notes=("assumed",)).notes
    assert (notes[0], len(notes)) == ("assumed", 2)


def test_descriptions_may_differ_between_profiles():
    """The published profiles write ``bias=None`` on one type and ``has_bias=False`` on another."""
    profiles = {
        "TitanV": graph_of([layer("a", description="Conv(has_bias=False)")]),
        "TitanXP": graph_of([layer("a", description="Conv(bias=None)")]),
    }
    assert build_instance(profiles, MIXED).graph.by_id["a"].description == "Conv(has_bias=False)"


def test_stages_of_an_old_plan_do_not_matter():
    profiles = {
        "TitanV": graph_of([layer("a", stage=0)]),
        "TitanXP": graph_of([layer("a", stage=3)]),
    }
    assert build_instance(profiles, MIXED).graph.by_id["a"].stage is None


def test_nodes_may_come_in_another_order():
    first = graph_of([layer("a", 1.0), layer("b", 2.0)], "a->b")
    second = graph_of([layer("b", 20.0), layer("a", 10.0)], "a->b")
    instance = build_instance({"TitanV": first, "TitanXP": second}, MIXED)
    assert instance.type_time_s["TitanXP"].tolist() == [0.01, 0.02]


# --- what is refused ------------------------------------------------------------------------


def test_no_profiles_at_all():
    assert error_text(lambda: build_instance({}, MIXED)) == "no profiles given"
    assert error_text(lambda: Instance({}, MIXED)) == "no profiles given"


def test_a_type_without_a_profile_is_named():
    assert error_text(lambda: build_instance({"TitanV": chain([1])}, MIXED)) == (
        "there is no profile for GPU type 'TitanXP'. Every GPU type of the cluster needs a profile"
    )


@pytest.mark.parametrize(
    ("first", "second", "has", "lacks"),
    [([1, 2], [1], "TitanV", "TitanXP"), ([1], [1, 2], "TitanXP", "TitanV")],
)
def test_a_node_that_one_profile_lacks_is_named(first, second, has, lacks):
    profiles = {"TitanV": chain(first), "TitanXP": chain(second, name="txp")}
    assert error_text(lambda: build_instance(profiles, MIXED)) == (
        f"txp: the profiles disagree: 'node2' is a node of {has}'s but not of {lacks}'s. "
        f"{SAME_NETWORK}"
    )


@pytest.mark.parametrize(
    ("edges", "named"),
    [("a->b", "b -- c"), ("a->b b->c a->c", "a -- c"), ("a->b b->c b->c", "b -- c")],
    ids=["one fewer", "one more", "one repeated"],
)
def test_an_edge_that_differs_is_named(edges, named):
    layers = [layer("a"), layer("b"), layer("c")]
    profiles = {
        "TitanV": graph_of(layers, "a->b b->c"),
        "TitanXP": graph_of(layers, edges, "txp"),
    }
    assert error_text(lambda: build_instance(profiles, MIXED)) == (
        f"txp: the profiles disagree: edge '{named}' is not the same in TitanV's and TitanXP's. "
        f"{SAME_NETWORK}"
    )


def test_a_graph_of_inputs_only_cannot_be_planned():
    graph = graph_of([layer("x", description="Input0")], name="net")
    assert error_text(lambda: build_instance({"TitanV": graph}, one_server(1))) == (
        "net: the graph holds inputs only; there is nothing to plan"
    )
