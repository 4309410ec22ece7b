"""The ceilings of this machine's CPU."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from stagewright.profile.cpu_rates import measure_cpu  # noqa: E402
from stagewright.profile.devices import Kind  # noqa: E402


def test_a_cpu_is_measured_and_its_threads_are_left_as_they_were(monkeypatch):
    monkeypatch.setattr("stagewright.profile.cpu_rates.SIDE", 256)
    monkeypatch.setattr("stagewright.profile.cpu_rates.NUMBERS", 1 << 18)
    before = torch.get_num_threads()
    cpu = measure_cpu("mine", 1)
    assert torch.get_num_threads() == before
    assert (cpu.name, cpu.kind) == ("mine", Kind.CPU)
    assert 1e8 < cpu.fp32_flop_per_s < 1e13
    assert 1e8 < cpu.memory_bytes_per_s < 1e13
    assert cpu.on_chip_bytes_per_s == math.inf
