"""Descriptions: what is read, and what is refused without being run."""

from __future__ import annotations

import dataclasses

import pytest
from emit_networks import Text, staged

from stagewright.emit.package import package_files
from stagewright.model.describe import Call, Enumerated, parse_description
from stagewright.model.errors import InputError


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("Add", Call("Add")),
        ("Add(inplace)", Call("Add", (), (("inplace", True),))),
        ("ReLU()", Call("ReLU")),
        ("nn.ReLU(inplace=True)", Call("ReLU", (), (("inplace", True),))),
        ("View(-1)", Call("View", (-1,))),
        ("__getitem__(0)", Call("__getitem__", (0,))),
        ("Conv2d(3, 8, padding=same)", Call("Conv2d", (3, 8), (("padding", "same"),))),
        ("AvgPool2d(kernel_size=(5, 5))", Call("AvgPool2d", (), (("kernel_size", (5, 5)),))),
        ("ME.cat", Call("Concat")),
        (
            "MinkowskiConvolution(in=1, out=2, kernel_size=[3, 3, 3])",
            None,
        ),
        (
            "MinkowskiGlobalMaxPooling(mode=PoolingMode.GLOBAL_MAX_POOLING_KERNEL)",
            Call(
                "MinkowskiGlobalMaxPooling",
                (),
                (("mode", Enumerated("PoolingMode", "GLOBAL_MAX_POOLING_KERNEL")),),
            ),
        ),
        (
            "Classifier(  (classifier): Linear(in_features=4, out_features=2, bias=True))",
            Call(
                "Classifier",
                children=(
                    (
                        "classifier",
                        Call(
                            "Linear",
                            (),
                            (("in_features", 4), ("out_features", 2), ("bias", True)),
                        ),
                    ),
                ),
            ),
        ),
    ],
)
def test_spellings(text, call):
    if call is None:
        found = dict(parse_description(text).kwargs)
        assert found == {"in_channels": 1, "out_channels": 2, "kernel_size": (3, 3, 3)}
    else:
        assert parse_description(text) == call


def test_modules_inside_modules():
    call = parse_description(
        "RecurrentAttention(  (rnn): LSTM(8, 8)  (attn): BahdanauAttention("
        "    (linear_q): Linear(in_features=8, out_features=8, bias=False)  ))"
    )
    assert [key for key, _ in call.children] == ["rnn", "attn"]
    assert call.child("attn").child("linear_q").kwargs[0] == ("in_features", 8)


HOSTILE = [
    '__import__("os").system("touch pwned")',
    '__import__("os")',
    "eval('1')",
    "exec('import os')",
    "nn.Module.__subclasses__()",
    "ReLU().__class__.__bases__[0]",
    "ReLU(__import__('os').system('touch pwned'))",
    "ReLU(inplace=open('pwned', 'w'))",
    "(lambda: 1)()",
    "[x for x in (1,)]",
    "Conv2d(3, 8, kernel_size=3)\nimport os",
    "Conv2d(3, 8, kernel_size=3); import os",
    "os.system('touch pwned')",
    "torch.load('weights')",
    "nn.Conv2d(*range(3))",
    "nn.Conv2d(**{'a': 1})",
    "Linear(10 ** 10 ** 10, 2)",
    "Linear(99999999999999999999, 2)",
    "Linear(1e999, 2)",
    "Linear(in_features=4, out_features=2, bias='x'*9)",
    "Conv2d(3, 8, kernel_size=3, padding_mode='\"); import os; (\"')",
    "Conv2d(3, 8, 3, surprise=1)",
    "Conv2d(3)",
    "Conv2d(3, 8, 3, stride=1, stride=2)",
    "MinkowskiReLU(mode=PoolingMode.__class__)",
    "f'{1}'",
    "../../etc/passwd",
    "A" * 1_000_000,
    "ReLU(" + "(" * 3000 + ")" * 3000 + ")",
    "Classifier(" + "(a): Classifier(" * 40 + ")" * 41,
    "Unheard(3)",
    "ReLU(\x00)",
    'ReLU("""',
]


def write_hostile(text: str) -> None:
    node = Text()
    node("ReLU()", node("Input0", stage=0), stage=0)
    harmless = node.graph("hostile.txt")
    layers = (harmless.layers[0], dataclasses.replace(harmless.layers[1], description=text))
    hostile = dataclasses.replace(harmless, layers=layers)
    package_files(staged(hostile), name="Net", arch="net")


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_descriptions_are_refused_with_node_and_file(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"hostile.txt: node 'node2': "):
        write_hostile(text)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_layer_says_how_to_register_it():
    node = Text()
    node("Swish(1)", node("Input0", stage=0), stage=0)
    with pytest.raises(InputError) as caught:
        package_files(staged(node.graph("net.txt")), name="Net", arch="net")
    assert str(caught.value) == (
        "net.txt: node 'node2': 'Swish' is not in the table of layers. Register it: "
        "stagewright.emit.register_layer('Swish', 'your_module.Swish', 'its argument names')"
    )
