"""``stagewright profile`` on users' folders, and what it says when something is wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from command_line import command, process, quiet_place  # noqa: F401

pytest.importorskip("torch")

LAYERS = """
from torch import nn
from torch.nn import functional

class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x):
        return functional.relu(self.linear(x)) + x
"""

MODEL = """
import torch
from torch import nn

from .layers import Block

print("a word of the user's own code")

def build(width, blocks=2):
    return nn.Sequential(*(Block(width) for _ in range(blocks)))

def minibatch(number, width=8):
    return torch.full((4, width), float(number))
"""

BAD = """
import os
import signal
import torch
from torch import nn

def fails():
    raise ValueError("no such width")

def text():
    return "a network"

def good():
    return nn.Linear(4, 4)

def wrong_input():
    return torch.ones(2, 5)

def right_input():
    return torch.ones(2, 4)

def no_input():
    return "nothing"

class Dies(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        os.kill(os.getpid(), signal.SIGKILL)

class Numbers(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(x).argmax(dim=1)

class Chooses(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(x) if x.sum() > 0 else x
"""


@pytest.fixture
def folder(tmp_path):
    """A user's folder, whose name is no Python name and which is no package."""
    place = tmp_path / "my nets"
    place.mkdir()
    (place / "layers.py").write_text(LAYERS)
    (place / "model.py").write_text(MODEL)
    (place / "bad.py").write_text(BAD)
    return place


SHORT = ("--threads", "1", "--repeats", "1", "--warm-up", "0")


def test_a_folder_with_relative_imports_and_arguments(folder):
    answer = process(
        "profile", "model:build", "--arg", "width=8", "--input", "model:minibatch",
        "-o", "out/graph.txt", *SHORT, cwd=folder,
    )  # fmt: skip
    assert answer.code == 0, answer.err
    first, second, third = answer.out.splitlines()
    assert first.startswith("7 nodes, 8 edges (torch.fx), on ")
    assert "sum of the layers" in second
    assert third == "Written: out/graph.txt, out/graph.profile.json"
    assert "a word of the user's own code" in answer.err
    text = (folder / "out" / "graph.txt").read_text()
    assert "node2 -- Linear(in_features=8, out_features=8, bias=True) -- forward" in text
    document = json.loads((folder / "out" / "graph.profile.json").read_text())
    assert document["schema"] == "stagewright.profile/1"
    assert document["arguments"] == {"width": "8"}


def test_a_file_from_elsewhere_and_json(folder, tmp_path):
    path = folder / "model.py"
    answer = process(
        "profile", f"{path}:build", "--arg", "width=4", "--arg", "blocks=1",
        "--input", f"{path}:minibatch", "--input-arg", "width=4", "-o", "g.txt", "--json", *SHORT,
        cwd=tmp_path, timeout=240,
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert len(json.loads(answer.out)["nodes"]) == 4


ERRORS = [
    ("nowhere:build", "bad:right_input", 2, "there is no module 'nowhere' for the network"),
    ("bad:missing", "bad:right_input", 2, "'bad' has nothing that is called 'missing'"),
    ("bad", "bad:right_input", 2, "the network 'bad' is not MODULE:FACTORY"),
    ("model:build", "bad:right_input", 2, "missing a required argument: 'width'"),
    ("bad:fails", "bad:right_input", 1, "'bad:fails' raises ValueError: no such width"),
    ("bad:text", "bad:right_input", 1, "'bad:text' makes str, not a torch.nn.Module"),
    ("bad:good", "bad:no_input", 1, "'bad:no_input' makes str without a tensor"),
    ("bad:good", "bad:wrong_input", 1, "the network raises RuntimeError: mat1 and mat2"),
    ("bad:Numbers", "bad:right_input", 1, "the network takes no gradient"),
    ("bad:Chooses", "bad:right_input", 1, "depends on the numbers in its tensors, at "),
    ("bad:Dies", "bad:right_input", 1, "was ended by SIGKILL"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("model", "inputs", "code", "message"), ERRORS)
def test_errors_are_one_line_and_nothing_is_written(model, inputs, code, message, folder):
    answer = process(
        "profile", model, "--input", inputs, "-o", "g.txt", *SHORT, cwd=folder, timeout=240
    )
    lines = [x for x in answer.err.splitlines() if x.startswith("stagewright: error: ")]
    assert len(lines) == 1, answer.err
    assert message in lines[0]
    assert answer.code == code
    assert "Traceback" not in answer.err
    assert answer.out == ""
    assert not (folder / "g.txt").exists()


def test_a_device_that_is_not_there(folder):
    answer = process(
        "profile", "bad:good", "--input", "bad:right_input", "-o", "g.txt", "--device", "tpu",
        cwd=folder, timeout=240,
    )  # fmt: skip
    assert answer.code == 2
    assert "'tpu' is not a device; expected cpu, cuda or cuda:N" in answer.err


def test_an_argument_without_a_value_is_bad_usage():
    answer = command("profile", "m:f", "--input", "m:g", "-o", "g.txt", "--arg", "width")
    assert answer.code == 2
    assert "'width' is not NAME=VALUE, such as width=8" in answer.err
