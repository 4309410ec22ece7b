"""What the README shows is what the code does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from stagewright.cli.app import run, stagewright

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_python_snippet_prints_what_the_readme_shows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    snippet, shown = re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", README, re.DOTALL)[0]
    exec(compile(snippet, "README.md", "exec"), {})  # noqa: S102 - our own file
    printed = capsys.readouterr().out
    assert printed.splitlines()[0] == shown.splitlines()[0]
    assert len(printed.splitlines()) == len(shown.splitlines())


def test_plan_shown_has_the_period_that_the_command_finds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    assert run(["plan", "hete_files/test_server.txt"]) == 0
    assert run(["plan", "hete_files/two_servers.yaml", "-o", str(tmp_path)]) == 0
    for line in capsys.readouterr().out.splitlines():
        if line.startswith("Period"):
            assert line.strip() in README


def test_every_option_that_the_docs_name_exists() -> None:
    known = {
        name
        for command in stagewright.commands.values()
        for parameter in command.params
        for name in parameter.opts
    } | {"--help", "--version"}
    for page in PAGES:
        for command in re.findall(
            r"stagewright ((?:plan|compare)[^`\n|]*)", page.read_text("utf-8")
        ):
            for word in shlex.split(command.replace("…", "")):
                if word.startswith("--"):
                    option = word.split("=")[0].replace("_", "-").rstrip(";,.:)")
                    assert option in known, f"{page.name} names {option}"


def test_links_in_the_docs_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
