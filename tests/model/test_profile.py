"""Profile text: the traps of files in the wild, exact errors, lossless round trip."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import graph_of, layer
from stagewright.model.errors import InputError
from stagewright.model.graph import Layer, LayerGraph
from stagewright.model.profile import format_profile, parse_profile, read_profile

FIGURES = (
    "forward_compute_time=1.500, backward_compute_time=2.250, "
    "activation_size=64.0, parameter_size=128.000"
)
THREE_NODES = f"a -- A -- {FIGURES}\nb -- B -- {FIGURES}\nc -- C -- {FIGURES}\n"

AWKWARD_DESCRIPTIONS = [
    "Conv2d(3, 64, kernel_size=(3, 3), stride=(1, 1), bias=False)",
    "MinkowskiConvolution(in_channels=1, kernel_size=[3, 3, 3], bias=None, dimension=3)",
    "conv -- then relu -- fused",
    "Foo(forward_compute_time=9, activation_size=[1; 2])",
    f"copied -- {FIGURES}",
    f"copied -- {FIGURES} -- stage_id=7",
    "stage_id=7",
    "x -- stage_id=7",
    "",
    " padded ",
    "--",
    "tab\tinside",
    "__import__('os').system('true')",
    'quotes "and" \\backslashes\\',
    "Größe ×2 — 畳み込み",
]


def one(text: str) -> Layer:
    """The only node of a profile."""
    (only,) = parse_profile(text).layers
    return only


def described(description: str) -> str:
    return f"a -- {description} -- {FIGURES}"


# --- what is read ---------------------------------------------------------------------------


def test_a_node_line_gives_every_figure():
    assert one(f"node1 -- Linear(8, 8) -- {FIGURES}") == Layer(
        "node1", "Linear(8, 8)", 1.5, 2.25, (64.0,), 128.0, None
    )


@pytest.mark.parametrize("indent", ["\t", "    ", " ", "", "\t\t", " \t"])
def test_an_edge_may_be_indented_in_any_way(indent):
    text = f"{THREE_NODES}{indent}a -- b\n{indent}b -- c\n"
    assert parse_profile(text).edges == (("a", "b"), ("b", "c"))


@pytest.mark.parametrize("ending", ["", "\n", "\n\n", "  \n", "\n\t\n"])
def test_the_last_line_may_end_in_any_way(ending):
    assert parse_profile(f"{THREE_NODES}\ta -- b{ending}").edges == (("a", "b"),)


def test_blank_lines_are_skipped_between_nodes_and_edges():
    assert len(parse_profile(THREE_NODES.replace("\n", "\n\n")).layers) == 3


def test_a_node_line_may_be_indented():
    assert one(f"\t{described('X')}").id == "a"


def test_edges_may_stand_before_the_nodes_that_they_name():
    assert parse_profile(f"\ta -- b\n{THREE_NODES}").edges == (("a", "b"),)


def test_windows_line_ends_change_nothing(tmp_path):
    unix = f"{THREE_NODES}\ta -- b\n\tb -- c"
    path = tmp_path / "graph.txt"
    path.write_bytes(unix.replace("\n", "\r\n").encode())
    assert read_profile(path) == parse_profile(unix)
    assert parse_profile(unix.replace("\n", "\r\n")) == parse_profile(unix)


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    path = tmp_path / "graph.txt"
    path.write_bytes(b"\xef\xbb\xbf" + THREE_NODES.encode())
    assert read_profile(path).layers[0].id == "a"


def test_the_graph_is_named_after_its_file(tmp_path):
    path = tmp_path / "minkvgg_b64.txt"
    path.write_text(THREE_NODES)
    assert read_profile(path).name == "minkvgg_b64"


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("7", (7.0,)),
        ("[7]", (7.0,)),
        ("[1.5; 2.5]", (1.5, 2.5)),
        ("[1;2;3]", (1.0, 2.0, 3.0)),
        ("[ 1 ; 2 ]", (1.0, 2.0)),
        ("[0.0; 0.0]", (0.0, 0.0)),
        ("1.5e6", (1.5e6,)),
    ],
)
def test_an_activation_list_keeps_its_parts_and_means_their_sum(written, parts):
    found = one(described("LSTM").replace("activation_size=64.0", f"activation_size={written}"))
    assert found.activation_parts_bytes == parts
    assert found.activation_bytes == sum(parts)


@pytest.mark.parametrize("description", AWKWARD_DESCRIPTIONS)
def test_a_description_is_kept_as_it_is_written(description):
    found = one(described(description))
    assert found == Layer("a", description, 1.5, 2.25, (64.0,), 128.0, None)


@pytest.mark.parametrize("description", AWKWARD_DESCRIPTIONS)
def test_a_description_is_not_mistaken_for_the_stage_that_follows(description):
    found = one(f"{described(description)} -- stage_id=3")
    assert (found.description, found.stage) == (description, 3)


@pytest.mark.parametrize(
    ("written", "stage"),
    [("", None), (" -- stage_id=0", 0), (" -- stage_id=12", 12), (" -- stage_id=3 ", 3)],
)
def test_the_stage_is_read_where_it_is_written(written, stage):
    assert one(described("X") + written).stage == stage


def test_edges_into_a_node_are_its_operands_in_file_order():
    graph = parse_profile(f"{THREE_NODES}\tb -- c\n\ta -- b\n\ta -- c\n")
    assert graph.operands("c") == ["b", "a"]


def test_a_repeated_edge_is_a_repeated_operand():
    graph = parse_profile(f"{THREE_NODES}\ta -- c\n\tb -- c\n\ta -- c\n")
    assert graph.operands("c") == ["a", "b", "a"]


def test_nodes_keep_the_order_of_the_file():
    lines = THREE_NODES.splitlines()
    graph = parse_profile("\n".join(reversed(lines)))
    assert [x.id for x in graph.layers] == ["c", "b", "a"]


# --- what is written ------------------------------------------------------------------------


def test_text_is_written_as_the_published_tools_write_it():
    graph = graph_of(
        [
            layer("node1", 0.0, 0.0, 0.0, 0.0, "Input0"),
            layer("node2", 1.5, 2.25, (6291456.0, 131072.0), 128.0, "LSTM(8, 8)", stage=1),
        ],
        "node1->node2",
    )
    assert format_profile(graph) == (
        "node1 -- Input0 -- forward_compute_time=0.000, backward_compute_time=0.000, "
        "activation_size=0.0, parameter_size=0.000\n"
        "node2 -- LSTM(8, 8) -- forward_compute_time=1.500, backward_compute_time=2.250, "
        "activation_size=[6291456.0; 131072.0], parameter_size=128.000 -- stage_id=1\n"
        "\tnode1 -- node2\n"
    )


names = st.text(st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=6)
descriptions = st.one_of(
    st.sampled_from(AWKWARD_DESCRIPTIONS),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\n"), max_size=30),
)
sizes = st.floats(min_value=0, max_value=1e24)  # what the reader takes


@st.composite
def awkward_graphs(draw: st.DrawFn) -> LayerGraph:
    ids = draw(st.lists(names, min_size=1, max_size=6, unique=True))
    layers = [
        Layer(
            id=name,
            description=draw(descriptions),
            forward_ms=draw(sizes),
            backward_ms=draw(sizes),
            activation_parts_bytes=tuple(draw(st.lists(sizes, min_size=1, max_size=3))),
            parameter_bytes=draw(sizes),
            stage=draw(st.none() | st.integers(0, 999_999)),
        )
        for name in ids
    ]
    pairs = [(u, v) for j, v in enumerate(ids) for u in ids[:j]]
    edges = draw(st.lists(st.sampled_from(pairs), max_size=12)) if pairs else []
    return LayerGraph(tuple(layers), tuple(edges))


@settings(max_examples=200)
@given(awkward_graphs())
def test_what_is_written_reads_back_the_same(graph):
    assert parse_profile(format_profile(graph)) == graph


@given(awkward_graphs())
def test_writing_to_a_file_and_reading_it_changes_nothing(tmp_path_factory, graph):
    path = tmp_path_factory.mktemp("profile") / "graph.txt"
    path.write_text(format_profile(graph), encoding="utf-8", newline="")
    assert read_profile(path) == graph


@pytest.mark.parametrize(
    ("name", "description"),
    [("a", "two\nlines"), ("a", "carriage\r\nreturn"), ("two words", "X"), ("", "X")],
)
def test_what_profile_text_cannot_hold_is_refused_rather_than_written_as_something_else(
    name, description
):
    try:
        graph = graph_of([layer(name, description=description)])
        text = format_profile(graph)
    except InputError:
        return
    assert parse_profile(text) == graph


@pytest.mark.reference
def test_every_reference_profile_reads_and_round_trips(reference):
    paths: list[Path] = sorted((reference / "profiles").glob("*.txt"))
    assert paths
    for path in paths:
        graph = read_profile(path)
        assert parse_profile(format_profile(graph)) == graph, path.name


@pytest.mark.reference
def test_gnmt_keeps_outputs_lists_and_drops_the_unused(reference):
    graph = read_profile(reference / "profiles" / "gnmt.txt")
    assert graph.by_id["node7"].activation_parts_bytes == (6291456.0, 131072.0, 131072.0)
    assert all(graph.by_id[x].description.startswith("__getitem__") for x in graph.dropped)
    assert "node1" in graph.inputs
