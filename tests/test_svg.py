"""The picture of a plan: complete, harmless, legible, and nothing on top of anything else."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from builders import chain, cluster_of, diamond, graph_of, instance_of, layer, one_server, plan_of
from stagewright.model.costs import make_cost_model
from stagewright.model.evaluate import evaluate
from stagewright.model.graph import Layer, LayerGraph
from stagewright.model.instance import Instance
from stagewright.model.plan import Plan, Stage
from stagewright.report.columns import BOX_HEIGHT
from stagewright.report.labels import clean, fit, short_name, text_width
from stagewright.report.layout import Layout, Style, lay_out
from stagewright.report.marks import INK, MUTED, PALETTE, PAPER, contrast, grey, shade_of
from stagewright.report.svg import draw_plan

SVG = "{http://www.w3.org/2000/svg}"


def draw(instance: Instance, plan: Plan) -> str:
    return draw_plan(instance, plan, evaluate(instance, plan, make_cost_model("topology")))


def in_stages(graph: LayerGraph, stages: int, gpus: int = 0) -> tuple[Instance, Plan]:
    """The graph's nodes in ``stages`` runs of about equal length, in file order."""
    instance = instance_of(graph, one_server(gpus or stages))
    nodes = [x.id for x in graph.layers if x.id not in graph.dropped]
    bounds = [round(i * len(nodes) / stages) for i in range(stages + 1)]
    return instance, Plan(
        tuple(Stage(tuple(nodes[a:b]), (1,)) for a, b in pairwise(bounds)), "by-hand"
    )


def parse(svg: str) -> ET.Element:
    return ET.fromstring(svg.encode())  # noqa: S314 (our own output)


def layers_of(root: ET.Element) -> list[ET.Element]:
    return [x for x in root.iter(f"{SVG}g") if x.get("class") == "layer"]


def texts(element: ET.Element) -> list[str]:
    return ["".join(x.itertext()) for x in element.iter(f"{SVG}text")]


def headers(root: ET.Element) -> list[list[str]]:
    return [texts(x) for x in root.iter(f"{SVG}g") if x.get("class") == "stage"]


def tags(root: ET.Element) -> list[str]:
    return [t for x in root.iter(f"{SVG}g") if x.get("class") == "tag" for t in texts(x)]


def boxes(root: ET.Element) -> dict[str, tuple[float, float, float, float]]:
    """Rectangle of each layer's box: left, top, right, bottom."""
    found = {}
    for group in layers_of(root):
        move = re.fullmatch(r"translate\(([-\d.]+) ([-\d.]+)\)", group.get("transform", ""))
        assert move
        x, y = float(move[1]), float(move[2])
        (box,) = [r for r in group.iter(f"{SVG}rect") if r.get("class") == "box"]
        width, height = float(box.get("width", 0)), float(box.get("height", 0))
        found[group.get("data-node", "")] = (x, y, x + width, y + height)
    return found


def overlapping(rectangles: Sequence[tuple[float, float, float, float]]) -> int:
    """How many pairs of rectangles share more than a border."""
    found, ordered = 0, sorted(rectangles)
    for i, (_, top, right, bottom) in enumerate(ordered):
        for other in ordered[i + 1 :]:
            if other[0] >= right:
                break
            found += other[1] < bottom and other[3] > top
    return found


def random_graph(size: int, reach: int, most_inputs: int, seed: int = 0) -> LayerGraph:
    """Every node reads up to ``most_inputs`` of the ``reach`` nodes before it."""
    pick = random.Random(seed)  # noqa: S311
    names = [f"node{i}" for i in range(size)]
    edges = dict.fromkeys(
        (names[max(0, i - pick.randint(1, reach))], names[i])
        for i in range(1, size)
        for _ in range(pick.randint(0, most_inputs))
    )
    layers = [
        layer(x, pick.random(), pick.random(), 1e6 * pick.random(), description="Conv2d(3, 64)")
        for x in names
    ]
    return LayerGraph(tuple(layers), tuple(edges), "random")


def cells(count: int) -> LayerGraph:
    """Blocks of four branches of unlike length that are joined again, as in Inception."""
    layers, edges, last = [layer("input", description="Input0")], [], "input"
    for block in range(count):
        ends = []
        for branch, length in enumerate((1, 3, 5, 2)):
            before = last
            for i in range(length):
                name = f"b{block}.{branch}.{i}"
                layers.append(layer(name, 1 + i, 2, 4e6, description="Conv2d(64, 96)"))
                edges.append((before, name))
                before = name
            ends.append(before)
        last = f"b{block}.concat"
        layers.append(layer(last, 0, 0, 9e6, description="Concat(1)"))
        edges += [(end, last) for end in ends]
    return LayerGraph(tuple(layers), tuple(edges), "cells")


def test_a_stage_that_recomputes_says_so():
    instance = instance_of(chain([1, 2]), one_server(2))
    first, second = Stage(("node1",), (1,), recompute=True), Stage(("node2",), (1,))
    found = headers(parse(draw(instance, Plan((first, second), "by-hand"))))
    assert ["recomputes" in " ".join(header) for header in found] == [True, False]


def test_one_box_per_layer_and_one_header_per_stage() -> None:
    graph = chain([100, 52.8, 30, 20], 1e6, 8e8)
    cluster = one_server({"TitanV": 1, "TitanXP": 3}, 1e12)
    instance = instance_of(graph, cluster)
    root = parse(draw(instance, plan_of(("node1 node2", [1, 0]), ("node3 node4", [0, 2]))))
    assert [x.get("data-node") for x in layers_of(root)] == ["node1", "node2", "node3", "node4"]
    first, second = headers(root)
    assert first == ["Stage 0 · TitanV×1", "152.8 ms · 100 % of the period · 6.41 GB"]
    assert second[0] == "Stage 1 · TitanXP×2"
    assert second[2] == "receives 1 MB in 2 µs · 0 %"
    assert "period 152.8 ms · 6.545 minibatches/s · limited by stage 0" in texts(root)


def test_a_header_names_the_servers_when_there_are_several() -> None:
    cluster = cluster_of([{"TitanV": 1, "TitanXP": 2}, {"TitanXP": 2}])
    instance = instance_of(chain([1, 1, 1]), cluster)
    plan = plan_of(("node1", [1, 2, 0]), ("node2 node3", [0, 0, 1]))
    spread = plan_of(("node1 node2 node3", [1, 1, 2]))
    lines = [x[0] for x in headers(parse(draw(instance, plan)))]
    assert lines == [
        "Stage 0 · TitanV×1 + TitanXP×2 on Server0",
        "Stage 1 · TitanXP×1 on Server1",
    ]
    (line,) = [x[0] for x in headers(parse(draw(instance, spread)))]
    assert line == "Stage 0 · TitanV×1 + TitanXP×3 on 2 servers"


def test_a_box_says_what_which_and_how_long() -> None:
    node = layer(
        "node5", 6.0, 12.44, 1e8, 512.0, "MinkowskiConvolution(in_channels=64, out_channels=64)"
    )
    instance, plan = in_stages(graph_of([node]), 1)
    (box,) = layers_of(parse(draw(instance, plan)))
    assert texts(box) == ["MinkowskiConvolution 64→64", "node5", "18.4 ms"]
    title = box.findtext(f"{SVG}title") or ""
    for part in (
        node.description,
        "forward 6 ms, backward 12.44 ms on TitanV",
        "activation 100 MB",
    ):
        assert part in title


def test_cut_wires_are_dashed_and_carry_their_bytes_once_per_reading_stage() -> None:
    graph = graph_of(
        [layer(x, 1, 0, size) for x, size in (("a", 2e6), ("b", 3e6), ("c", 4e6), ("d", 5e6))],
        "a->b b->c a->c a->d c->d",
    )
    root = parse(draw(*in_stages(graph, 4)))
    assert sorted(tags(root)) == ["2 MB", "2 MB", "2 MB", "3 MB", "4 MB"]
    paths = [
        p for g in root.iter(f"{SVG}g") if g.get("class") == "wire" for p in g.iter(f"{SVG}path")
    ]
    assert all(p.get("stroke-dasharray") for p in paths if p.get("stroke"))
    root = parse(draw(*in_stages(graph, 1)))
    assert tags(root) == []
    assert not any(p.get("stroke-dasharray") for p in root.iter(f"{SVG}path"))


def test_inputs_and_unused_outputs_are_drawn_apart() -> None:
    graph = graph_of(
        [
            layer("in", 50, 0, 8.0, description="Input0"),
            layer("lstm", 3, 4, (5.0, 6.0), description="LSTM(8, 8)"),
            layer("unused", 0, 0, 6.0, description="__getitem__(1)"),
            layer("last", 1, 1, 7.0, description="Linear(8, 2)"),
        ],
        "in->lstm lstm->unused lstm->last in->last",
    )
    instance = instance_of(graph, one_server(2))
    root = parse(draw(instance, plan_of(("lstm", [1]), ("last", [1]))))
    times = {x.get("data-node"): texts(x)[-1] for x in layers_of(root)}
    assert times == {"in": "input", "lstm": "7 ms", "unused": "unused", "last": "2 ms"}
    assert sorted(tags(root)) == ["11 B", "input"]
    panel = next(x for x in root.iter(f"{SVG}rect") if x.get("class") == "panel")
    right = float(panel.get("x", 0)) + float(panel.get("width", 0))
    assert {x for x, box in boxes(root).items() if box[2] < right} == {"in", "lstm", "unused"}


HOSTILE = [
    '<script>alert("x")</script>',
    "\"' onload='alert(1)' x=\"",
    "]]><!--<![CDATA[&lt;&#0;&unknown;",
    "Conv2d(\x00\x01\x08\x0b\x1b[31m\x7f\x85, \ud800\udfff\ufffe\uffff)",
    "Linear(\u202e\u2066reversed\u200b, Z\u0351\u0352\u0353algo)",
    "W" * 1_000_000,
    "Linear(" + "9" * 1_000_000 + ", " + "(" * 1000 + ")",
    "",
    "(((",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_descriptions_are_inert(text: str) -> None:
    graph = graph_of([layer("a", description=text), layer("b", description=text)], "a->b")
    svg = draw(*in_stages(graph, 2))
    root = parse(svg)
    assert len(layers_of(root)) == 2
    assert len(svg) < 20_000
    assert {x.tag.removeprefix(SVG) for x in root.iter()} <= {
        "svg", "title", "desc", "defs", "clipPath", "rect", "g", "path", "text",
    }  # fmt: skip
    assert not any(
        name.startswith("on") or "href" in name for x in root.iter() for name in x.attrib
    )
    assert all(c.isprintable() or c == "\n" for c in svg)


@pytest.mark.parametrize("text", HOSTILE[:5], ids=range(5))
def test_hostile_names_are_inert(text: str) -> None:
    name = "_".join(text.split())  # a node's name is one word
    graph = LayerGraph((Layer(name, "Add", 1, 1, (1.0,), 1.0),), (), text)
    instance = instance_of(graph, cluster_of([{text: 1}]))
    plan = Plan((Stage((name,), (1,)),), text)
    root = parse(draw(instance, plan))
    assert len(layers_of(root)) == 1
    assert not list(root.iter(f"{SVG}script"))


def test_text_stays_inside_its_box() -> None:
    names = [
        "MinkowskiGenerativeConvolutionTranspose(in_channels=1024, out_channels=2048)",
        "W" * 99,
    ]
    graph = graph_of(
        [layer("node" * 30 + str(i), 12345.678, description=x) for i, x in enumerate(names)]
    )
    root = parse(draw(*in_stages(graph, 1)))
    for group in layers_of(root):
        left, _, right, _ = boxes(root)[group.get("data-node", "")]
        name, identifier, time = (
            (x.text or "", float(x.get("font-size", 0))) for x in group.iter(f"{SVG}text")
        )
        assert text_width(*name) <= right - left - 16
        assert text_width(*identifier) + text_width(*time) < right - left - 16
    assert "… 1024→2048" in texts(layers_of(root)[0])[0]


def test_same_arguments_same_document_in_any_process() -> None:
    program = (
        "from test_svg import cells, draw, in_stages\n"
        "import hashlib\n"
        "print(hashlib.sha256(draw(*in_stages(cells(6), 3)).encode()).hexdigest())\n"
    )
    answers = set()
    for seed in ("1", "2"):
        path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path}
        answers.add(
            subprocess.run(
                [sys.executable, "-c", program], env=environment, check=True, capture_output=True
            ).stdout
        )
    assert len(answers) == 1


SHAPES = {
    "one": (chain([1.0]), 1),
    "chain": (chain([1.0] * 53), 1),
    "chain in 4": (chain([1.0] * 53), 4),
    "chain in 16": (chain([1.0] * 53), 16),
    "diamond": (diamond(), 2),
    "cells": (cells(8), 1),
    "cells in 5": (cells(8), 5),
    "skips": (random_graph(60, 30, 2), 6),
    "dense": (random_graph(80, 60, 6), 3),
    "parts": (random_graph(70, 2, 1), 2),
    "alone": (graph_of([layer(f"node{i}") for i in range(200)]), 1),
    "star": (graph_of([layer("a"), *(layer(f"b{i}") for i in range(150))],
                      " ".join(f"a->b{i}" for i in range(150))), 3),
}  # fmt: skip


@pytest.mark.parametrize("case", SHAPES)
def test_boxes_keep_apart_and_inside_their_panels(case: str) -> None:
    graph, stages = SHAPES[case]
    instance, plan = in_stages(graph, stages)
    root = parse(draw(instance, plan))
    found = boxes(root)
    assert found.keys() == graph.by_id.keys()
    assert overlapping(list(found.values())) == 0
    panels = [
        tuple(float(x.get(name, 0)) for name in ("x", "y", "width", "height"))
        for x in root.iter(f"{SVG}rect")
        if x.get("class") == "panel"
    ]
    assert overlapping([(x, y, x + w, y + h) for x, y, w, h in panels]) == 0
    for node, (left, top, right, bottom) in found.items():
        x, y, width, height = panels[plan.stage_of[node]]
        assert x < left < right < x + width
        assert y + 39 < top < bottom < y + height
    page_width, page_height = float(root.get("width", 0)), float(root.get("height", 0))
    for x, y, width, height in panels:
        assert x >= 20
        assert y >= 70
        assert x + width <= page_width - 20
        assert y + height <= page_height - 28


def place(graph: LayerGraph, plan: Plan) -> Layout:
    return lay_out(
        list(graph.by_id),
        list(dict.fromkeys(graph.edges)),
        plan.stage_of,
        Style(150.0, 54.0, (248.0,) * len(plan.stages)),
    )


@pytest.mark.parametrize("case", SHAPES)
def test_wires_go_around_boxes_and_reach_every_reader(case: str) -> None:
    graph, stages = SHAPES[case]
    layout = place(graph, in_stages(graph, stages)[1])
    corners = sorted(layout.boxes.values())
    for producer, wire in layout.wires.items():
        readers = {v for u, v in graph.edges if u == producer}
        assert len(wire.arrows) == len(readers)
        ends = {round(x, 6) for stroke in (*wire.solid, *wire.cut) for x in stroke[-1]}
        for reader in readers:
            left, top = layout.boxes[reader]
            tip = [p for p, _ in wire.arrows if left < p[0] < left + 150 and p[1] == top]
            assert tip
            assert round(tip[0][0], 6) in ends
        if wire.loose:
            continue
        for stroke in (*wire.solid, *wire.cut):
            for (x0, y0), (x1, y1) in pairwise(stroke):
                low, high = min(x0, x1), max(x0, x1)
                for x, y in corners[bisect_left(corners, (low - 150, 0)) :]:
                    if x >= high:
                        break
                    behind = y + 0.1 < max(y0, y1) and min(y0, y1) < y + BOX_HEIGHT - 0.1
                    assert not (behind and x + 0.1 < high and low < x + 149.9), producer
    assert case == "dense" or not any(wire.loose for wire in layout.wires.values())


def test_edges_go_down_inside_a_column_of_one_stage() -> None:
    layout = place(diamond(), in_stages(diamond(), 1)[1])
    y = {node: corner[1] for node, corner in layout.boxes.items()}
    assert y["node1"] < y["node2"] == y["node3"] < y["node4"]


def test_a_chain_stands_in_a_straight_line() -> None:
    graph = chain([1.0] * 6)
    layout = place(graph, in_stages(graph, 2)[1])
    assert len({layout.boxes[x][0] for x in ("node1", "node2", "node3")}) == 1


@pytest.mark.parametrize("stages", [1, 2, 4, 12])
def test_a_long_chain_wraps_to_the_shape_of_a_page(stages: int) -> None:
    root = parse(draw(*in_stages(chain([1.0] * 53), stages)))
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    assert 0.8 < width / height < 2.4
    assert width < 1700


@pytest.mark.parametrize(("reach", "inputs"), [(3, 2), (1251, 3)], ids=["local", "tangled"])
def test_a_graph_of_1251_nodes_stays_of_bounded_size(reach: int, inputs: int) -> None:
    svg = draw(*in_stages(random_graph(1251, reach, inputs), 4))
    root = parse(svg)
    assert len(layers_of(root)) == 1251
    assert len(svg) < 2_000_000
    assert float(root.get("width", 0)) < 20_000
    assert float(root.get("height", 0)) < 20_000
    assert overlapping(list(boxes(root).values())) == 0


def test_a_wrong_plan_is_drawn_and_said_to_be_wrong() -> None:
    graph = chain([1.0] * 6, 1e6)
    instance = instance_of(graph, one_server(3))
    plan = plan_of(("node4 node2 ghost", [1]), ("node1 node2", [1]), ("", [0]), ("node5", [1]))
    root = parse(draw(instance, plan))
    assert boxes(root).keys() == graph.by_id.keys()
    assert [x[0] for x in headers(root)][2:] == [
        "Stage 2 · no GPU",
        "Stage 3 · TitanV×1",
        "In no stage",
    ]
    assert any(x.startswith("Not a valid plan: ") for x in texts(root))
    assert overlapping(list(boxes(root).values())) == 0


def test_screen_readers_get_the_whole_plan_in_words() -> None:
    root = parse(draw(*in_stages(chain([1.0, 2.0, 3.0], 1e6), 2)))
    assert root.get("role") == "img"
    names = root.get("aria-labelledby", "").split()
    title, description = (root[i].text or "" for i in (0, 1))
    assert [root[0].get("id"), root[1].get("id")] == names
    assert title.startswith("chain: period ")
    assert "Stage 0 · TitanV×1; " in description
    assert "Stage 1 · TitanV×1; " in description


def test_the_paper_is_white_and_everything_on_it_is_legible() -> None:
    root = parse(draw(*in_stages(chain([1.0, 2.0]), 2)))
    paper = next(x for x in root if x.tag == f"{SVG}rect")
    assert (paper.get("width"), paper.get("height"), paper.get("fill")) == ("100%", "100%", PAPER)
    for shade in [*map(shade_of, range(len(PALETTE))), grey()]:
        for ground in (shade.box, shade.panel, PAPER):
            assert contrast(INK, ground) >= 7
            assert contrast(MUTED, ground) >= 4.5
        assert contrast(shade.deep, PAPER) >= 4.5
    assert all(shade_of(k) != shade_of(k + 1) for k in range(20))


@pytest.mark.parametrize(
    ("description", "name"),
    [
        ("MinkowskiConvolution(in_channels=64, out_channels=8)", "MinkowskiConvolution 64→8"),
        ("MinkowskiLinear(in_features=512, out_features=40, bias=True)", "MinkowskiLinear 512→40"),
        ("Conv2d(3, 64, kernel_size=(3, 3))", "Conv2d 3→64"),
        ("Embedding(32320, 1024, padding_idx=0)", "Embedding 32320→1024"),
        ("BatchNorm2d(64, eps=1e-05)", "BatchNorm2d 64"),
        ("MaxPool2d(3, 2)", "MaxPool2d"),
        ("ReLU(inplace)", "ReLU"),
        ("__getitem__(1)", "__getitem__(1)"),
        ("EmuBidirLSTM(  (bidir): LSTM(1024, 1024))", "EmuBidirLSTM"),
        ("Classifier(  (classifier): Linear(in_features=8, out_features=9))", "Classifier"),
        ("hidden", "hidden"),
        ("Conv2d(3, ", "Conv2d"),
        ("", "(no name)"),
    ],
)  # fmt: skip
def test_short_names(description: str, name: str) -> None:
    assert short_name(description) == name


def test_clean_text_is_one_short_printable_line() -> None:
    assert clean("a \t\n b\x00\u202e\ufffec", 10) == "a bc"
    assert clean("x" * 50, 10) == "x" * 9 + "…"
    assert fit("abc", 10, 1) == "…"
