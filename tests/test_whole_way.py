"""Profile → plan → emit → verify through the commands, as a user goes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from stagewright.cli.app import run

ROOT = Path(__file__).parents[1]
PROFILES = ROOT.parent / "shared" / "reference" / "profiles"
VERIFIED = ("example_tv", "alexnet", "resnet18", "squeezenet1_0", "gnmt", "minkvgg_b64_RTX")


def plan_and_emit(profile: Path, folder: Path) -> Path:
    """Cut a profile into 4 stages with ``linear-dp`` and write the package."""
    four = ["-n", "4", "-b", "1e10", "--straight-pipeline", "--use-all", "--planner", "linear-dp"]
    assert run(["plan", "--profile", str(profile), *four, "-o", str(folder / "out")]) == 0
    plan = folder / "out" / "plan.json"
    assert len(json.loads(plan.read_text())["stages"]) == 4
    package = folder / f"net_{profile.stem}"
    assert run(["emit", str(plan), "-n", "Net", "-a", "net", "-o", str(package)]) == 0
    return package


@pytest.mark.slow
def test_the_sample_cluster_the_whole_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("MinkowskiEngine")
    monkeypatch.chdir(ROOT)
    out, package = str(tmp_path / "out"), str(tmp_path / "minkvgg")
    assert run(["plan", "hete_files/test_server.txt", "-o", out]) == 0
    assert run(["emit", f"{out}/plan.json", "-n", "MinkVgg", "-a", "minkvgg", "-o", package]) == 0
    capsys.readouterr()
    assert run(["verify", package]) == 0
    assert "Equal: outputs, loss, gradients and statistics" in capsys.readouterr().out


@pytest.mark.reference
@pytest.mark.slow
def test_every_measured_profile_is_planned_written_and_compiles(
    reference: Path, tmp_path: Path
) -> None:
    profiles = sorted(PROFILES.glob("*.txt"))
    assert len(profiles) >= 19
    for profile in profiles:
        folder = tmp_path / profile.stem
        folder.mkdir()
        package = plan_and_emit(profile, folder)
        for code in package.glob("*.py"):
            compile(code.read_text(), str(code), "exec")
        assert {f"stage{k}.py" for k in range(4)} <= {path.name for path in package.iterdir()}


@pytest.mark.reference
@pytest.mark.slow
@pytest.mark.parametrize("name", VERIFIED)
def test_measured_profiles_cut_by_linear_dp_verify(
    reference: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("MinkowskiEngine" if name.startswith("mink") else "torch")
    package = plan_and_emit(PROFILES / f"{name}.txt", tmp_path)
    capsys.readouterr()
    assert run(["verify", str(package)]) == 0
    assert "Equal:" in capsys.readouterr().out
    sys.modules.pop(package.name, None)
