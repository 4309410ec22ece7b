"""Files made to hurt: they are refused soon, and names in them stay names."""

from __future__ import annotations

import resource

import pytest
from bad_cases import PROFILE, SERVERS, assert_refused, lay_out, node
from command_line import command, process, quiet_place  # noqa: F401


def _bomb(place):
    """Nine levels of nine aliases each: 400 million items when written out."""
    lines = [f"{place}: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"k{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    return "\n".join(lines) + "\n"


def _wide():
    """Two thousand times the same server of two thousand times the same group."""
    group = "{gpu: TitanV, count: 1}"
    gpus = ", ".join([f"&g {group}", *["*g"] * 1999])
    first = f"- &s {{name: Server0, bandwidth_bytes_per_s: 1, gpus: [{gpus}]}}\n"
    return f"servers:\n{first}" + "- *s\n" * 1999


HURTING = {
    "aliases": _bomb("gpus"),
    "aliases in servers": _bomb("servers"),
    "aliases under unknown keys": _bomb("k0"),
    "many aliases of one": _wide(),
    "a loop": "servers: &a [*a]\n",
    "a loop of keys": "&a {servers: *a}\n",
    "depth": "servers: " + "[" * 3000 + "\n",
    "depth of keys": "servers: " + "{a: " * 3000 + "\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("text", HURTING.values(), ids=HURTING)
def test_yaml_made_to_hurt_is_refused_soon(text):
    lay_out({"cluster.yaml": text})
    answer = process("plan", "cluster.yaml", timeout=20, preexec_fn=_little_memory)
    assert_refused(answer, ("cluster.yaml:",))


def _little_memory():
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))


def test_a_profile_of_one_endless_line_is_refused_soon():
    lay_out({"titanxp.txt": "a -- " * 200_000})
    answer = process("plan", "servers.txt", timeout=20)
    assert_refused(answer, ("titanxp.txt:1: ",))


HOSTILE = "\x1b]0;owned\x07\x1b[31m"


@pytest.mark.parametrize(
    ("old", "new"), [("Server0", "Server"), ("TitanV", ""), ("TitanXP", "")], ids=str
)
def test_names_from_files_cannot_steer_the_terminal(old, new):
    """In an error message or in the tables."""
    lay_out({"servers.txt": SERVERS.replace(old, f"{new}{HOSTILE}", 1)})
    answer = command("plan", "servers.txt")
    assert not {"\x1b", "\x07"} & set(answer.out + answer.err)


def test_layer_names_cannot_steer_the_terminal():
    text = node(f"a{HOSTILE}") + node(f"b{HOSTILE}")
    lay_out({"titanv.txt": text, "titanxp.txt": text})
    answer = command("plan", "servers.txt")
    assert answer.code in {0, 2}
    assert not {"\x1b", "\x07"} & set(answer.out + answer.err)


def test_names_from_files_are_no_markup():
    lay_out({"servers.txt": "Server[red]\n    Titan[bold] 1 titanv.txt\n"})
    answer = command("plan", "servers.txt")
    assert answer.code == 0
    assert "Server[red]: Titan[bold]×1" in answer.out


def test_a_file_name_that_is_no_text_leaves_no_traceback(tmp_path):
    (tmp_path / "\udcff.txt").write_text(PROFILE, encoding="utf-8")
    answer = process("plan", "--profile", b"\xff.txt", "-n", "2", "-b", "1e9", "-o", "out")
    assert "Traceback" not in answer.err
    assert answer.code in {0, 2}
    assert (tmp_path / "out").exists() == (answer.code == 0)
