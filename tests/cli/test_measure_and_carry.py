"""Measuring on this machine's CPU and carrying over, in one command."""

from __future__ import annotations

import json

import pytest
from command_line import command, quiet_place  # noqa: F401 - a fixture

from stagewright.model.profile import read_profile

pytest.importorskip("torch")

MODEL = """
import torch
from torch import nn

def net():
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))

def minibatch():
    return torch.ones(32, 64)
"""


def test_a_measured_network_is_predicted_in_the_same_run(tmp_path, monkeypatch):
    monkeypatch.setattr("stagewright.profile.cpu_rates.SIDE", 256)
    monkeypatch.setattr("stagewright.profile.cpu_rates.NUMBERS", 1 << 18)
    (tmp_path / "small.py").write_text(MODEL)
    answer = command(
        *(
            "profile",
            f"{tmp_path / 'small.py'}:net",
            "--input",
            f"{tmp_path / 'small.py'}:minibatch",
        ),
        *("-o", tmp_path / "net.txt", "--threads", "1", "--repeats", "1", "--warm-up", "0"),
        *("--as", "V100"),
    )
    assert answer.code == 0, answer.err
    assert "Note: predictions, not measurements: net.txt" in answer.err
    assert "Predicted for V100: " in answer.out
    measured, predicted = (read_profile(tmp_path / x) for x in ("net.txt", "net_V100.txt"))
    assert predicted.edges == measured.edges
    assert all(x.forward_ms > 0 for x in predicted.layers if x.id not in predicted.inputs)
    told = json.loads((tmp_path / "net_V100.prediction.json").read_text())
    assert (told["work"], told["source"]["on_chip_bytes_per_s"]) == ("counted", None)
    flops = {x["id"]: x["forward"]["flops"] for x in told["nodes"]}
    assert 2 * 32 * 64 * 64 in flops.values()
    document = json.loads((tmp_path / "net_V100.profile.json").read_text())
    assert document["predicted_for"] == "V100"
