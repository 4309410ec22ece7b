"""Wrong files and wrong options: exit code 2, one line that says what to do, nothing written."""

from __future__ import annotations

import shlex

import pytest
from bad_cases import BAD, assert_refused, lay_out
from command_line import command, process, quiet_place  # noqa: F401

from stagewright.model.document import read_plan
from stagewright.model.errors import InputError


def tree(folder):
    """Everything below a folder: the bytes of files, ``None`` for folders."""
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_writes_nothing(tmp_path, case):
    lay_out(case.files)
    before = tree(tmp_path)
    answer = command(*shlex.split(case.arguments))
    assert_refused(answer, case.expected)
    assert tree(tmp_path) == before


def test_a_message_of_bad_input_names_the_output_only_if_that_is_wrong(tmp_path):
    """The inputs are checked before the folder is made."""
    lay_out({"titanxp.txt": ""})
    assert_refused(command("plan", "servers.txt", "-o", "out"), ("titanxp.txt: no nodes found",))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name",
    [
        "a cycle",
        "a count in words",
        "bad YAML",
        "no such file",
        "an unknown option",
        "no command",
        "a file in the folder's place",
    ],
)
def test_a_process_of_its_own_says_the_same(tmp_path, name):
    case = BAD[name]
    lay_out(case.files)
    before = tree(tmp_path)
    assert_refused(process(*shlex.split(case.arguments)), case.expected)
    assert tree(tmp_path) == before


def test_a_good_table_is_planned():
    """Or else the table above would prove nothing."""
    lay_out({})
    for arguments in ("servers.txt -b 1e9", "cluster.yaml", "--profile titanv.txt -n 4 -b 1e9"):
        assert command("plan", *arguments.split(), "-o", "out").code == 0


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("STAGEWRIGHT_PLAN_GAP", "2", "'--gap'"),
        ("STAGEWRIGHT_PLAN_PLANNER", "magic", "'magic' is not one of"),
        ("STAGEWRIGHT_PLAN_TIME_LIMIT", "long", "'long'"),
        ("STAGEWRIGHT_PLAN_BANDWIDTH", "fast", "'fast' is not a number above 0"),
    ],
)
def test_a_wrong_value_from_the_environment_is_refused(monkeypatch, name, value, expected):
    lay_out({})
    monkeypatch.setenv(name, value)
    assert_refused(command("plan", "servers.txt"), (expected,))


# --- plan.json as the command writes it, then changed ------------------------------------------


def _put(key, value):
    def change(text):
        assert key in text
        return text.replace(key, value, 1)

    return change


CHANGED = {
    "another schema": (_put('"stagewright.plan/1"', '"stagewright.plan/9"'), "schema"),
    "a layer lost": (_put('"a",\n    "b"', '"b"'), "the plan is not valid: 'a' is in no stage"),
    "a layer twice": (
        _put('"a",\n    "b"', '"a",\n    "a",\n    "b"'),
        "the plan is not valid: 'a' is in 2 stages",
    ),
    "too many GPUs": (_put('"count": 3', '"count": 4'), "4 × TitanXP in Server0 in use, of 3"),
    "a negative period": (_put('"period_s": ', '"period_s": -'), "period_s: "),
    "a key too many": (_put('"overlap": true', '"overlap": true, "colour": 1'), "colour"),
    "a key too few": (_put('"planner"', '"painter"'), "planner: is missing"),
    "half the file": (lambda text: text[: len(text) // 2], "invalid JSON"),
    "nothing": (lambda _: "", "invalid JSON"),
}


@pytest.mark.parametrize(("change", "expected"), CHANGED.values(), ids=CHANGED)
def test_a_changed_plan_is_refused_with_its_file(tmp_path, change, expected):
    lay_out({})
    assert command("plan", "servers.txt", "-b", "1e9", "--use-all", "-o", "out").code == 0
    path = tmp_path / "out" / "plan.json"
    read_plan(path)
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_plan(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert expected in str(caught.value)
