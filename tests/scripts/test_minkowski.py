"""The script that builds MinkowskiEngine: everything but the minutes of compiling."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def scripts(monkeypatch):
    """The script and its source module, imported."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return tuple(importlib.import_module(x) for x in ("minkowski", "minkowski_source"))


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def unpacked_source(folder: Path, corrections) -> None:
    """Write a source that holds every text to correct."""
    for names, text, _ in corrections:
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a") as file:
                file.write(text)


def test_wheels_for_different_targets_have_different_folders(scripts, monkeypatch):
    target = scripts[0].Target
    keys = {
        target("2.13.0+cpu", None).key,
        target("2.13.1+cpu", None).key,
        target("2.13.0+cu130", None).key,
        target("2.13.0+cu130", "13.0").key,
    }
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "9.0")
    keys.add(target("2.13.0+cu130", "13.0").key)
    assert len(keys) == 5
    assert all("/" not in key and sys.implementation.cache_tag in key for key in keys)


def test_other_corrections_mean_another_wheel(scripts, monkeypatch):
    minkowski, _ = scripts
    before = minkowski.Target("2.13.0", None).key
    monkeypatch.setattr(minkowski, "CORRECTIONS", minkowski.CORRECTIONS[1:])
    assert minkowski.Target("2.13.0", None).key != before


def test_corrections_are_applied(scripts, tmp_path):
    _, source = scripts
    unpacked_source(tmp_path, source.CORRECTIONS)
    source.correct(tmp_path, source.CORRECTIONS)
    common = (tmp_path / "MinkowskiEngine" / "MinkowskiCommon.py").read_text()
    assert common == "from collections.abc import Sequence\n"
    assert "uninstall" not in (tmp_path / "setup.py").read_text()


def test_cuda_build_corrects_more(scripts):
    minkowski, source = scripts
    cpu, cuda = (minkowski.Target("2.13.0", x).corrections for x in (None, "13.0"))
    assert cuda[: len(cpu)] == cpu == source.CORRECTIONS
    assert {name.split("/")[0] for names, _, _ in cuda[len(cpu) :] for name in names} == {"src"}


def test_source_without_the_text_to_correct_is_refused(scripts, tmp_path):
    _, source = scripts
    unpacked_source(tmp_path, source.CORRECTIONS)
    (tmp_path / "setup.py").write_text("")
    with pytest.raises(source.CannotBuild, match=r"setup\.py does not hold the text to correct"):
        source.correct(tmp_path, source.CORRECTIONS)


def test_missing_compiler_names_its_package(scripts, monkeypatch, tmp_path):
    minkowski, source = scripts
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(source.CannotBuild, match=r"no C\+\+ compiler.*apt-get install g\+\+") as e:
        minkowski.check_needs(minkowski.Target("2.13.0", None))
    assert e.value.status == 2


def test_missing_blas_names_its_package(scripts, monkeypatch, tmp_path):
    minkowski, source = scripts
    executable(tmp_path / "bin" / "c++", "echo 'cblas.h: No such file or directory'; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("CXX", "c++")
    include = tmp_path / "include"
    include.mkdir()
    (include / "Python.h").touch()
    monkeypatch.setattr(minkowski.sysconfig, "get_paths", lambda: {"include": str(include)})
    with pytest.raises(source.CannotBuild, match="apt-get install libopenblas-dev") as e:
        minkowski.check_needs(minkowski.Target("2.13.0", None))
    assert e.value.status == 2


def test_nvcc_of_another_major_version_is_refused(scripts, monkeypatch, tmp_path):
    minkowski, source = scripts
    executable(tmp_path / "bin" / "nvcc", "echo 'Cuda compilation tools, release 11.8, V11.8.89'")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    with pytest.raises(source.CannotBuild, match=r"built for CUDA 13\.0, and .* is of CUDA 11\. "):
        minkowski.check_nvcc("13.0")
    minkowski.check_nvcc("11.7")


def test_failed_build_leaves_no_wheel_and_keeps_the_log(scripts, monkeypatch, tmp_path):
    minkowski, source = scripts
    folder = tmp_path / "key"
    folder.mkdir()
    (folder / "old.whl").touch()

    def fetch(work):
        setup = work / "setup.py"
        setup.write_text("raise SystemExit('utils.hpp:1: error: it does not compile')")
        return work

    monkeypatch.setattr(minkowski, "fetch", fetch)
    monkeypatch.setattr(minkowski, "correct", lambda *_: None)
    monkeypatch.setattr(minkowski, "build_environment", lambda _: dict(os.environ))
    with pytest.raises(source.CannotBuild, match=r"failed: utils\.hpp:1: error: it does not"):
        minkowski.build(minkowski.Target("2.13.0", None), folder)
    assert [x.name for x in folder.iterdir()] == ["old.whl"]
    assert sorted(x.name for x in tmp_path.iterdir()) == ["key", "key.log"]


def test_a_second_build_waits_for_the_first(scripts, monkeypatch, tmp_path):
    minkowski, _ = scripts
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code = (
        "import minkowski\n"
        "with minkowski.locked_folder(minkowski.Target('2.13.0', None)): print('inside')"
    )
    with minkowski.locked_folder(minkowski.Target("2.13.0", None)) as folder:
        second = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert second.stderr is not None
        assert second.stderr.readline() == (
            "minkowski: another build of the same wheel is running; waiting for it\n"
        )
        (folder / "made.whl").touch()
        assert second.poll() is None
    assert second.communicate(timeout=30)[0] == "inside\n"


def test_without_a_cache_there_is_a_passing_folder(scripts, monkeypatch, tmp_path, capsys):
    minkowski, _ = scripts
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with minkowski.locked_folder(minkowski.Target("2.13.0", None)) as folder:
        assert folder.is_dir()
    assert not folder.exists()
    assert "the wheel will not be kept" in capsys.readouterr().err
