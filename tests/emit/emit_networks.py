"""Small networks as profile text, and cuts through them, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import networkx as nx

from stagewright.emit.package import StagedGraph, emit_package, staged_from_profile
from stagewright.model.graph import LayerGraph
from stagewright.model.profile import format_profile, parse_profile

FIGURES = (
    "forward_compute_time=1.000, backward_compute_time=2.000, "
    "activation_size=64.0, parameter_size=0.000"
)


class Text:
    """Profile text under construction; every call adds a node and returns its name."""

    def __init__(self) -> None:
        self.nodes: list[str] = []
        self.edges: list[str] = []

    def __call__(self, description: str, *operands: str, stage: int | None = None) -> str:
        name = f"node{len(self.nodes) + 1}"
        suffix = "" if stage is None else f" -- stage_id={stage}"
        self.nodes.append(f"{name} -- {description} -- {FIGURES}{suffix}")
        self.edges += [f"\t{operand} -- {name}" for operand in operands]
        return name

    def __str__(self) -> str:
        return "\n".join([*self.nodes, *self.edges]) + "\n"

    def graph(self, name: str = "graph") -> LayerGraph:
        return parse_profile(str(self), name=name)


def residual() -> LayerGraph:
    """A small image network with skips, a Concat, a dropout, and Size and View at its end."""
    node = Text()
    x = node("Input0")
    x = node("Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)", x)
    x = node("BatchNorm2d(8, eps=1e-05, momentum=0.1, affine=True)", x)
    first = node("ReLU(inplace)", x)
    x = node("Conv2d(8, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))", first)
    x = node("ReLU(inplace)", x)
    x = node("Add(inplace)", x, first)
    x = node("MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)", x)
    left = node("Conv2d(8, 4, kernel_size=(1, 1), stride=(1, 1))", x)
    right = node("Conv2d(8, 6, kernel_size=(1, 1), stride=(1, 1))", x)
    x = node("Concat(1)", left, right)
    x = node("Dropout(p=0.5, inplace=False)", x)
    size = node("Size(0)", x)
    x = node("View(-1)", size, x)
    node("Linear(in_features=2560, out_features=5, bias=True)", x)
    return node.graph("residual")


def sparse_unet() -> LayerGraph:
    """Two levels down, two up; the skip of the first level is read at the very end."""
    node = Text()

    def conv(x: str, into: int, out: int, stride: int = 1, kind: str = "Convolution") -> str:
        size = 3 if stride == 1 else 2
        x = node(
            f"Minkowski{kind}(in_channels={into}, out_channels={out}, "
            f"kernel_size=[{size}, {size}, {size}], stride=[{stride}, {stride}, {stride}], "
            "dilation=[1, 1, 1], bias=None, dimension=3)",
            x,
        )
        x = node(f"MinkowskiBatchNorm({out}, eps=1e-05, momentum=0.1)", x)
        return node("MinkowskiReLU()", x)

    skip = conv(node("Input0"), 3, 4)
    middle = conv(skip, 4, 6, 2)
    deep = conv(middle, 6, 8, 2)
    up = conv(deep, 8, 6, 2, "ConvolutionTranspose")
    up = conv(node("Add", up, middle), 6, 4, 2, "ConvolutionTranspose")
    x = node("ME.cat", up, skip)
    x = node("Dropout(p=0.5)", x)
    node("MinkowskiConvolution(in_channels=8, out_channels=5, kernel_size=1, bias=True)", x)
    return node.graph("sparse_unet")


def sequence() -> LayerGraph:
    """Encoder and decoder with attention; lengths are read in both."""
    node = Text()
    tokens, lengths, targets = node("Input0"), node("Input1"), node("Input2")
    x = node("Embedding(20, 8, padding_idx=0)", tokens)
    x = node(
        "EmuBidirLSTM(  (bidir): LSTM(8, 8, bidirectional=True)  (layer1): LSTM(8, 8)"
        "  (layer2): LSTM(8, 8))",
        x,
        lengths,
    )
    x = node("LSTM(16, 8)", x)
    memory, _ = node("__getitem__(0)", x), node("__getitem__(1)", x)
    y = node("Embedding(20, 8, padding_idx=0)", targets)
    hidden = node("hidden")
    state = node("__getitem__(0)", hidden)
    y = node(
        "RecurrentAttention(  (rnn): LSTM(8, 8)  (attn): BahdanauAttention("
        "    (linear_q): Linear(in_features=8, out_features=8, bias=False)"
        "    (linear_k): Linear(in_features=8, out_features=8, bias=False)"
        "    (dropout): Dropout(p=0)  )  (dropout): Dropout(p=0))",
        y,
        state,
        memory,
        lengths,
    )
    outputs, attended = node("__getitem__(0)", y), node("__getitem__(2)", y)
    y = node("Concat(2)", outputs, attended)
    y = node("LSTM(16, 8)", y, node("__getitem__(1)", hidden))
    y = node("__getitem__(0)", y)
    node(
        "Classifier(  (classifier): Linear(in_features=8, out_features=20, bias=True))",
        node("Transpose(0, 1)", y),
    )
    return node.graph("sequence")


def cut_evenly(graph: LayerGraph, stages: int) -> LayerGraph:
    """Put equally many nodes of a topological order into each stage; inputs into the first."""
    order = [x for x in topological(graph) if x not in graph.inputs]
    stage_of = {node: k * stages // len(order) for k, node in enumerate(order)}
    return graph.with_stages({**dict.fromkeys(graph.inputs, 0), **stage_of})


def topological(graph: LayerGraph) -> list[str]:
    place = {x.id: k for k, x in enumerate(graph.layers)}
    return list(nx.lexicographical_topological_sort(graph.digraph, key=place.__getitem__))


def staged(graph: LayerGraph) -> StagedGraph:
    stages = 1 + max(x.stage for x in graph.layers if x.stage is not None)
    return StagedGraph(graph, tuple((k,) for k in range(stages)), graph.name)


def write(graph: LayerGraph, folder: Path, target: str = "pipedream") -> Path:
    """Emit a graph with stages the way a user does, through a file."""
    text = folder.with_suffix(".txt")
    text.write_text(format_profile(graph), encoding="utf-8")
    emit_package(staged_from_profile(text), folder, name="Net", arch="net", target=target)
    return folder
