"""Profile text that is wrong: each mistake with its exact place and text."""

from __future__ import annotations

import pytest
from test_profile import FIGURES, THREE_NODES, described

from builders import error_text
from stagewright.model.profile import parse_profile, read_profile

NODE_FORM = (
    "ID -- DESCRIPTION -- forward_compute_time=F, backward_compute_time=B, "
    "activation_size=A, parameter_size=P"
)

ERRORS = {
    "empty": ("", f"p.txt: no nodes found. A node line reads '{NODE_FORM}'"),
    "blank": (" \n\t\n", f"p.txt: no nodes found. A node line reads '{NODE_FORM}'"),
    "only edges": ("\ta -- b\n", f"p.txt: no nodes found. A node line reads '{NODE_FORM}'"),
    "prose": (
        f"{THREE_NODES}\nhello there",
        f"p.txt:5: found 'hello there', expected a node '{NODE_FORM}' or an edge 'SRC -- DST'",
    ),
    "control characters": (
        "hello\x1b[31m",
        f"p.txt:1: found 'hello\\x1b[31m', expected a node '{NODE_FORM}' or an edge 'SRC -- DST'",
    ),
    "name with a space": (
        f"a b -- X -- {FIGURES}",
        f"p.txt:1: found 'a b -- X -- forward_compute_time=1.500, backward_compute_ti…', "
        f"expected a node '{NODE_FORM}' or an edge 'SRC -- DST'",
    ),
    "node twice": (
        f"{THREE_NODES}b -- B again -- {FIGURES}",
        "p.txt:4: node 'b' is defined a second time. Give every node a name of its own",
    ),
    "missing figure": (
        "a -- X -- forward_compute_time=1, backward_compute_time=2, activation_size=3",
        "p.txt:1: node 'a' has no parameter_size",
    ),
    "unknown figure": (
        f"a -- X -- {FIGURES}, colour=red",
        "p.txt:1: node 'a' has an unknown figure 'colour', expected forward_compute_time, "
        "backward_compute_time, activation_size, parameter_size",
    ),
    "comma in an activation list": (
        described("X").replace("64.0", "[1, 2]"),
        "p.txt:1: node 'a' has an unknown figure '2]', expected forward_compute_time, "
        "backward_compute_time, activation_size, parameter_size",
    ),
    "no number": (
        described("X").replace("1.500", "fast"),
        "p.txt:1: node 'a': forward_compute_time is 'fast', expected a number of 0 or more",
    ),
    "negative": (
        described("X").replace("2.250", "-2.250"),
        "p.txt:1: node 'a': backward_compute_time is '-2.250', expected a number of 0 or more",
    ),
    "slightly negative": (
        described("X").replace("2.250", "-1e-9"),
        "p.txt:1: node 'a': backward_compute_time is '-1e-9', expected a number of 0 or more",
    ),
    "not a number": (
        described("X").replace("128.000", "nan"),
        "p.txt:1: node 'a': parameter_size is 'nan', expected a number of 0 or more",
    ),
    "infinite": (
        described("X").replace("64.0", "inf"),
        "p.txt:1: node 'a': activation_size is 'inf', expected a number of 0 or more",
    ),
    "too large to hold": (
        described("X").replace("64.0", "1e999"),
        "p.txt:1: node 'a': activation_size is '1e999', expected a number of 0 or more",
    ),
    "nothing after =": (
        described("X").replace("64.0", ""),
        "p.txt:1: node 'a': activation_size is '', expected a number of 0 or more",
    ),
    "empty list": (
        described("X").replace("64.0", "[]"),
        "p.txt:1: node 'a': activation_size is '', expected a number of 0 or more",
    ),
    "list that is not closed": (
        described("X").replace("64.0", "[1; 2"),
        "p.txt:1: node 'a': activation_size is '[1; 2', expected a number of 0 or more",
    ),
    "negative stage": (
        f"{described('X')} -- stage_id=-1",
        "p.txt:1: node 'a': stage_id is '-1', expected a whole number of 0 or more",
    ),
    "broken stage": (
        f"{described('X')} -- stage_id=1.5",
        "p.txt:1: node 'a': stage_id is '1.5', expected a whole number of 0 or more",
    ),
    "absurd stage": (
        f"{described('X')} -- stage_id=10000000",
        "p.txt:1: node 'a': stage_id is '10000000', expected a whole number of 0 or more",
    ),
    "edge to nowhere": (
        f"{THREE_NODES}\ta -- b\n\tb -- z\n",
        "p.txt:5: edge 'b -- z' names 'z', which is not a node of this file",
    ),
    "edge from nowhere": (
        f"\tz -- a\n{THREE_NODES}",
        "p.txt:1: edge 'z -- a' names 'z', which is not a node of this file",
    ),
    "cycle": (
        f"{THREE_NODES}\ta -- b\n\tb -- a\n",
        "p.txt: the graph has a cycle: a -> b -> a. A layer graph has to be acyclic; "
        "unroll recurrent layers",
    ),
    "edge to itself": (
        f"{THREE_NODES}\ta -- a\n",
        "p.txt: the graph has a cycle: a -> a. A layer graph has to be acyclic; "
        "unroll recurrent layers",
    ),
}


@pytest.mark.parametrize(("text", "message"), ERRORS.values(), ids=ERRORS)
def test_a_mistake_is_named_with_its_place(text, message):
    assert error_text(lambda: parse_profile(text, source="p.txt")) == message


def test_a_figure_given_twice_is_refused():
    text = f"a -- X -- forward_compute_time=9, {FIGURES}"
    assert "forward_compute_time" in error_text(lambda: parse_profile(text))


def test_sizes_whose_sum_is_too_large_to_hold_are_refused():
    text = described("X").replace("64.0", "[1.7e308; 1.7e308]")
    assert "activation_size" in error_text(lambda: parse_profile(text))


def test_line_numbers_count_windows_line_ends_once(tmp_path):
    path = tmp_path / "graph.txt"
    path.write_bytes(f"{THREE_NODES}hello".replace("\n", "\r\n").encode())
    assert error_text(lambda: read_profile(path)).startswith(f"{path}:4: found 'hello'")


def test_a_file_that_is_not_there_is_an_input_error(tmp_path):
    path = tmp_path / "none.txt"
    assert error_text(lambda: read_profile(path)) == f"{path}: no such file; expected a profile"


def test_the_file_is_named_where_the_whole_graph_is_wrong(tmp_path):
    path = tmp_path / "graph.txt"
    path.write_text(f"{THREE_NODES}\ta -- a\n")
    assert error_text(lambda: read_profile(path)).startswith(f"{path}: the graph has a cycle")
