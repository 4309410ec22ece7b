"""Help, versions and completion; and that asking for them is quick."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from command_line import command, process, quiet_place  # noqa: F401

from stagewright.cli.app import stagewright
from stagewright.formulation.registry import PLANNER_NAMES
from stagewright.model.document import SCHEMA


def walk(found: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command below ``found``, with its path."""
    yield path, found
    if isinstance(found, click.Group):
        for name, below in found.commands.items():
            yield from walk(below, *path, name)


COMMANDS = dict(walk(stagewright))
ROOT = stagewright.make_context("stagewright", [], resilient_parsing=True)
NAMES = [" ".join(path) for path in COMMANDS]


def options_of(found: click.Command) -> list[click.Option]:
    """Every option of a command, ``--help`` included."""
    context = ROOT if found is stagewright else click.Context(found, parent=ROOT)
    return [x for x in found.get_params(context) if isinstance(x, click.Option)]


def test_the_commands_are_all_there():
    assert {("plan",), ("compare",), ("versions",), ("completion",)} <= COMMANDS.keys()


@pytest.mark.parametrize("path", COMMANDS, ids=NAMES)
def test_every_command_says_what_it_does(path):
    found = COMMANDS[path]
    assert found.help
    first = found.get_short_help_str(limit=100)
    assert first.endswith(".")
    assert not first.endswith("...")


@pytest.mark.parametrize("path", COMMANDS, ids=NAMES)
def test_every_option_has_help(path):
    for option in options_of(COMMANDS[path]):
        assert option.help, f"{path}: {option.opts} has no help"
        assert option.help.strip()[-1] in ".]", f"{path}: {option.opts}: {option.help}"


@pytest.mark.parametrize("path", COMMANDS, ids=NAMES)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_printed_and_names_every_option(path, option):
    answer = command(*path, option)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(" ".join(["Usage: stagewright", *path]))
    for parameter in options_of(COMMANDS[path]):
        for name in parameter.opts:
            assert name in answer.out


def test_help_of_the_group_lists_the_commands_and_the_exit_codes():
    text = " ".join(command("--help").out.split())
    for (*_, name), found in list(COMMANDS.items())[1:]:
        assert f"{name} {found.get_short_help_str(limit=100)}" in text
    assert (
        "Exit codes: 0 done, 1 failure or failed check, 2 bad usage or input, 3 proven "
        "infeasible, 4 limit reached with no plan, 130 interrupted."
    ) in text


@pytest.mark.parametrize("name", ["plan", "compare"])
def test_the_examples_in_the_help_parse(name):
    """Each line of the help that begins with the program's name."""
    found = COMMANDS[name,]
    lines = [line.strip() for line in found.help.splitlines()]
    examples = [line.split()[2:] for line in lines if line.startswith(f"stagewright {name} ")]
    assert examples
    for words in examples:
        found.make_context(name, words, parent=ROOT)


def test_help_takes_no_time():
    """CPU time of the process and its children; the best of three."""
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "stagewright", "--help"], stdout=subprocess.DEVNULL, check=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < 0.5


HEAVY = ("ortools", "numpy", "rich", "pydantic", "networkx", "yaml", "torch")
LOADED = """\
import sys
from stagewright.cli.app import run
assert run(sys.argv[1:]) == {code}
print([name for name in {heavy} if name in sys.modules], file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["plan", "--help"], 0),
        (["compare", "--help"], 0),
        (["completion", "bash"], 0),
        (["plan", "--nonsense"], 2),
    ],
    ids=["group", "plan", "compare", "completion", "wrong option"],
)
def test_help_imports_nothing_heavy(arguments, code):
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(code=code, heavy=HEAVY), *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines()[-1] == "[]"


def test_versions_are_printed():
    answer = command("versions")
    assert (answer.code, answer.err) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in answer.out.splitlines())
    assert lines["python"] == ".".join(map(str, sys.version_info[:3]))
    assert lines["ortools"][0].isdigit()
    assert f"plan schema      {SCHEMA}\n" in answer.out
    assert lines["planners"] == ", ".join(PLANNER_NAMES)


def test_versions_as_json():
    answer = command("versions", "--json")
    assert (answer.code, answer.err) == (0, "")
    data = json.loads(answer.out)
    assert data.keys() == {
        "packages",
        "python",
        "platform",
        "plan_schema",
        "cost_models",
        "planners",
    }
    assert data["cost_models"] == {"topology": 1, "pipedream": 1, "sparsepipe": 1, "max-load": 1}
    assert data["planners"] == list(PLANNER_NAMES)
    assert {"stagewright", "ortools", "numpy", "torch"} <= data["packages"].keys()


def test_the_version_is_printed():
    """Also from a source tree that is not installed."""
    answer = process("--version")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("stagewright ")
    assert len(answer.out.splitlines()) == 1


@pytest.mark.parametrize(
    ("shell", "mark"),
    [("bash", "complete -o nosort"), ("zsh", "#compdef stagewright"), ("fish", "complete --no-f")],
)
def test_completion_scripts_are_printed(shell, mark):
    answer = command("completion", shell)
    assert (answer.code, answer.err) == (0, "")
    assert mark in answer.out
    assert "_STAGEWRIGHT_COMPLETE" in answer.out


def test_the_printed_script_completes(monkeypatch):
    """What the shell asks for when a user presses Tab after ``stagewright pl``."""
    monkeypatch.setenv("_STAGEWRIGHT_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "stagewright pl")
    monkeypatch.setenv("COMP_CWORD", "1")
    answer = process()
    assert answer.out == "plain,plan\n"
    assert answer.err == ""
