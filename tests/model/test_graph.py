"""Layer graphs: what is a graph, and which of its nodes a planner has to place."""

from __future__ import annotations

import pytest

from builders import chain, diamond, error_text, graph_of, layer
from stagewright.model.graph import LayerGraph, edges_among


def test_activation_bytes_are_the_sum_of_all_outputs():
    assert layer("a", activation_bytes=(1.0, 2.0, 4.0)).activation_bytes == 7.0


def test_total_time_is_forward_and_backward():
    assert layer("a", 1.5, 2.0).total_ms == 3.5


def test_operands_keep_file_order_and_repeats():
    graph = graph_of([layer("a"), layer("b"), layer("c")], "b->c a->c b->c")
    assert graph.operands("c") == ["b", "a", "b"]
    assert graph.operands("a") == []


def test_a_repeated_edge_is_one_edge_of_the_digraph():
    graph = graph_of([layer("a"), layer("b")], "a->b a->b")
    assert graph.edges == (("a", "b"), ("a", "b"))
    assert graph.digraph.number_of_edges() == 1


def test_the_name_is_no_part_of_what_a_graph_is():
    assert chain([1, 2], name="one") == chain([1, 2], name="two")


def test_figures_of_the_whole_network_leave_inputs_out():
    graph = graph_of(
        [
            layer("x", 50, 50, description="Input0"),
            layer("a", 1, 2, parameter_bytes=8),
            layer("b", 3),
        ],
        "x->a a->b",
    )
    assert graph.total_ms == 1 + 2 + 3
    assert graph.parameter_bytes == 8


# --- inputs and unused outputs --------------------------------------------------------------


@pytest.mark.parametrize("description", ["Input", "Input0", "Input1", "Input(3, 224)"])
def test_a_source_described_as_input_is_not_planned(description):
    graph = graph_of([layer("x", description=description), layer("a")], "x->a")
    assert graph.inputs == {"x"}
    assert graph.planned == ("a",)


def test_a_layer_described_as_input_that_reads_another_layer_is_planned():
    graph = graph_of([layer("a"), layer("b", description="InputNorm()")], "a->b")
    assert graph.inputs == frozenset()
    assert graph.planned == ("a", "b")


@pytest.mark.parametrize("description", ["AnInput", "input0", " Input0", "Linear(Input)"])
def test_only_descriptions_that_start_with_input_are_inputs(description):
    assert graph_of([layer("x", description=description)]).inputs == frozenset()


def test_an_output_that_nobody_reads_is_dropped():
    graph = graph_of(
        [
            layer("lstm"),
            layer("o", description="__getitem__(0)"),
            layer("h", description="__getitem__(1)"),
            layer("z"),
        ],
        "lstm->o lstm->h o->z",
    )
    assert graph.dropped == {"h"}
    assert graph.planned == ("lstm", "o", "z")


def test_an_unused_layer_of_another_kind_stays():
    graph = graph_of([layer("a"), layer("b", description="Linear(8, 8)")], "")
    assert graph.dropped == frozenset()


def test_planned_nodes_come_in_file_order():
    graph = graph_of([layer("b"), layer("x", description="Input0"), layer("a")], "x->a a->b")
    assert graph.planned == ("b", "a")


# --- what is refused ------------------------------------------------------------------------


def test_an_empty_graph_is_refused():
    assert error_text(lambda: LayerGraph((), (), "net")) == "net: the layer graph is empty"


def test_a_repeated_node_is_named():
    text = error_text(lambda: graph_of([layer("a"), layer("b"), layer("b")], name="net"))
    assert text == "net: node 'b' is defined twice"


@pytest.mark.parametrize(("edges", "missing"), [("a->z", "z"), ("z->a", "z")])
def test_an_edge_to_nowhere_is_named(edges, missing):
    source, target = edges.split("->")
    text = error_text(lambda: graph_of([layer("a")], edges, "net"))
    assert text == f"net: edge '{source} -- {target}' names '{missing}', which is not a node"


def test_a_cycle_is_spelled_out():
    text = error_text(
        lambda: graph_of([layer("a"), layer("b"), layer("c"), layer("d")], "a->b b->c c->d d->b")
    )
    assert "the graph has a cycle: b -> c -> d -> b." in text
    assert text.endswith("unroll recurrent layers")


def test_an_edge_from_a_node_to_itself_is_a_cycle():
    assert "cycle: a -> a" in error_text(lambda: graph_of([layer("a")], "a->a"))


# --- parts of a graph -----------------------------------------------------------------------


def test_marking_stages_keeps_the_named_nodes_and_the_edges_among_them():
    marked = diamond().with_stages({"node1": 0, "node2": 0, "node4": 2})
    assert [(x.id, x.stage) for x in marked.layers] == [("node1", 0), ("node2", 0), ("node4", 2)]
    assert marked.edges == (("node1", "node2"), ("node2", "node4"))


def test_edges_among_keep_order_and_repeats():
    edges = [("a", "b"), ("b", "c"), ("a", "b"), ("c", "d")]
    assert edges_among(edges, {"a", "b", "d"}) == (("a", "b"), ("a", "b"))
