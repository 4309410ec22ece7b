"""``stagewright profile --from … --as …``: what is written, printed and refused."""

from __future__ import annotations

import json
import shutil

import pytest
from command_line import TITANV, command, quiet_place  # noqa: F401 - a fixture

from builders import chain
from stagewright.model.profile import format_profile, read_profile

FROM = ("profile", "--from")


@pytest.fixture
def profile(tmp_path):
    path = tmp_path / "net.txt"
    shutil.copy(TITANV, path)
    return path


def test_profiles_are_written_beside_the_measured_one(profile):
    answer = command(*FROM, profile, "--measured-on", "titanv", "--as", "V100,A100")
    assert answer.code == 0, answer.err
    folder = profile.parent
    assert sorted(x.name for x in folder.iterdir()) == [
        "net.txt",
        "net_A100.prediction.json",
        "net_A100.txt",
        "net_V100.prediction.json",
        "net_V100.txt",
    ]
    measured, predicted = read_profile(profile), read_profile(folder / "net_V100.txt")
    assert 0 < predicted.total_ms < measured.total_ms
    first, second = answer.out.splitlines()
    assert first == (
        f"Predicted for V100: {predicted.total_ms:.2f} ms for the {measured.total_ms:.2f} ms "
        f"measured, {folder / 'net_V100.txt'}"
    )
    assert second.startswith("Predicted for A100: ")


def test_it_says_that_it_is_a_prediction(profile):
    answer = command(*FROM, profile, "--measured-on", "TitanV", "--as", "V100")
    assert "Note: predictions, not measurements: net.txt, measured on TitanV" in answer.err
    assert "estimated from its descriptions" in answer.err
    told = json.loads((profile.parent / "net_V100.prediction.json").read_text())
    assert told["predicted"] is True


def test_json_goes_to_stdout_and_files_into_a_folder(profile, tmp_path):
    out = tmp_path / "out"
    answer = command(*FROM, profile, "--measured-on", "TitanV", "--as", "h100", "-o", out, "--json")
    (told,) = json.loads(answer.out)
    assert (told["gpu"], told["precision"]) == ("H100", "fp32")
    assert (out / "net_H100.txt").is_file()


def test_the_measured_gpu_gets_its_profile_back(profile):
    command(*FROM, profile, "--measured-on", "TitanV", "--as", "TitanV")
    assert (profile.parent / "net_TitanV.txt").read_text() == profile.read_text()


def test_a_gpu_of_ones_own(profile, tmp_path):
    (tmp_path / "gpus.yaml").write_text(
        "gpus:\n  Half: {fp32_flop_per_s: 7.45e+12, memory_bytes_per_s: 3.264e+11, "
        "memory_bytes: 1.2e+10, clock_hz: 7.275e+8, multiprocessors: 80, load_store_units: 32}\n"
    )
    answer = command(
        *(*FROM, profile, "--measured-on", "TitanV", "--as", "half"),
        *("--gpu-specs", tmp_path / "gpus.yaml"),
    )
    assert answer.code == 0, answer.err
    measured, predicted = read_profile(profile), read_profile(profile.parent / "net_Half.txt")
    assert predicted.total_ms == pytest.approx(2 * measured.total_ms, rel=1e-5)


def test_a_plan_takes_the_predicted_profile(profile):
    profile.write_text(format_profile(chain([2, 3, 1], 100, 10)))
    command(*FROM, profile, "--measured-on", "TitanV", "--as", "V100")
    servers = profile.parent / "servers.txt"
    servers.write_text("Server0\n    TitanV 1 net.txt\n    V100 1 net_V100.txt\n")
    answer = command("plan", servers, "-b", "1e10", "--planner", "exact-dp")
    assert answer.code == 0, answer.err


def test_the_table_of_gpus_is_printed():
    answer = command("profile", "--list-gpus")
    assert answer.code == 0
    assert answer.out.splitlines()[0].split()[:3] == ["GPU", "fp32", "TFLOP/s"]
    assert any(line.split()[0] == "TitanXP" for line in answer.out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "measuring needs MODULE:FACTORY, --input and -o"),
        (("--from", "{}"), "--from needs --as: the GPUs to carry the profile over to"),
        (("--from", "{}", "--as", "V100"), "the profile does not say where it was measured"),
        (("--from", "{}", "--as", "Foo", "--measured-on", "T4"), "'Foo' is not a known GPU"),
        (("--from", "{}", "--as", "T4", "--measured-on", "Foo"), "'Foo' is not a known GPU"),
        (("--from", "no.txt", "--as", "T4", "--measured-on", "T4"), "no such file"),
        (("m:f", "--from", "{}", "--as", "T4"), "leave MODULE:FACTORY out"),
        (("--from", "{}", "--as", "T4", "--gpu-specs", "no.yaml"), "expected a file of GPUs"),
        (("m:f", "--input", "m:g", "-o", "x.txt", "--as", "Foo"), "'Foo' is not a known GPU"),
    ],
)
def test_what_is_refused(profile, arguments, message):
    before = sorted(profile.parent.iterdir())
    answer = command("profile", *(str(x).format(profile) for x in arguments))
    assert answer.code == 2
    assert message in answer.err
    assert answer.err.count("\n") == 1
    assert sorted(profile.parent.iterdir()) == before
