"""The table of GPUs: names, ceilings, the documentation of every figure, and files of one's own."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from stagewright.model.errors import InputError
from stagewright.profile.device_file import read_devices
from stagewright.profile.devices import ALIASES, DEVICES, Kind, Precision, known_device

DOCS = Path(__file__).parents[2] / "docs" / "profile-predict.md"
GOOD = "{fp32_flop_per_s: 9.0e+12, memory_bytes_per_s: 4.5e+11, memory_bytes: 8.0e+9}"


def test_the_documentation_tables_every_figure():
    text = DOCS.read_text(encoding="utf-8")
    for x in DEVICES:
        special = (x.flop_per_s(p) for p in (Precision.TF32, Precision.FP16, Precision.BF16))
        peaks = [x.fp32_flop_per_s, *(0 if y == x.fp32_flop_per_s else y for y in special)]
        links = (x.memory_bytes_per_s, x.memory_bytes, x.nvlink_bytes_per_s, x.pcie_bytes_per_s)
        cells = [
            *(f"{y / 1e12:g}" if y else "-" for y in peaks),
            *(f"{y / 1e9:g}" if y else "-" for y in links),
            f"{x.multiprocessors} × {x.load_store_units}",
            f"{x.clock_hz / 1e6:g}",
        ]
        assert f"| {x.name} | {' | '.join(cells)} |" in text


@pytest.mark.parametrize("device", DEVICES, ids=lambda x: x.name)
def test_peaks_are_two_operations_a_unit_and_cycle(device):
    units_a_cycle = device.fp32_flop_per_s / (2 * device.clock_hz * device.multiprocessors)
    assert min(abs(units_a_cycle / units - 1) for units in (64, 128)) < 0.01


@pytest.mark.parametrize("device", DEVICES, ids=lambda x: x.name)
def test_no_ceiling_is_below_a_slower_one(device):
    assert device.on_chip_bytes_per_s > 5 * device.memory_bytes_per_s
    assert device.flop_per_s(Precision.FP16) >= device.fp32_flop_per_s
    assert device.nvlink_bytes_per_s < device.memory_bytes_per_s


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("titanv", "TitanV"),
        ("TITAN V", "TitanV"),
        ("NVIDIA TITAN Xp", "TitanXP"),
        ("RTX", "RTX2080Ti"),
        ("NVIDIA GeForce RTX 2080 Ti", "RTX2080Ti"),
        ("Tesla V100-SXM2-32GB", "V100"),
        ("Tesla T4", "T4"),
        ("NVIDIA A100-SXM4-40GB", "A100"),
        ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA H100 80GB HBM3", "H100"),
    ],
)
def test_names_as_people_and_drivers_spell_them(spelled, name):
    assert known_device(spelled).name == name


def test_aliases_name_devices_of_the_table():
    assert set(ALIASES.values()) <= {x.name for x in DEVICES}


def test_an_unknown_gpu_is_refused_with_the_list():
    with pytest.raises(InputError) as caught:
        known_device("Voodoo2")
    text = str(caught.value)
    assert text.startswith("'Voodoo2' is not a known GPU; known are TitanXP, TitanV, V100,")
    assert text.endswith("Describe it in a file and name that with --gpu-specs")


def test_gpus_of_ones_own_go_before_the_table(tmp_path):
    path = tmp_path / "gpus.yaml"
    path.write_text(f"gpus:\n  Mine: {GOOD}\n  V100: {GOOD}\n")
    own = read_devices(path)
    mine = known_device("mine", own)
    assert (mine.fp32_flop_per_s, mine.memory_bytes, mine.kind) == (9e12, 8e9, Kind.GPU)
    assert mine.on_chip_bytes_per_s == math.inf
    assert known_device("V100", own).fp32_flop_per_s == 9e12
    assert known_device("V100").fp32_flop_per_s == 15.7e12


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("gpus: {}", "gpus: "),
        ("cards: {}", "gpus: is missing"),
        ("gpus: {A: {memory_bytes: 1}}", "gpus.A.fp32_flop_per_s: is missing"),
        (f"gpus: {{A: {GOOD.replace('9.0e+12', '0')}}}", "greater than 0 (found 0)"),
        (f"gpus: {{A: {GOOD.replace('9.0e+12', '.inf')}}}", "gpus.A.fp32_flop_per_s: "),
        (f"gpus: {{A: {GOOD[:-1]}, colour: red}}}}", "gpus.A.colour: extra inputs"),
        (f"gpus: {{../A: {GOOD}}}", "gpus.../A"),
        ("gpus: [", "not valid YAML"),
    ],
)
def test_a_bad_file_of_gpus_is_one_clear_error(tmp_path, text, found):
    path = tmp_path / "gpus.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_devices(path)
    assert str(path) in str(caught.value)
    assert found in str(caught.value)
