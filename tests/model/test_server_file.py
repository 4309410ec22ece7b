"""Server files: what is read, what is assumed and said, and exact errors."""

from __future__ import annotations

import math

import pytest

from builders import chain, error_text, write_profile
from stagewright.model.cluster import GpuGroup
from stagewright.model.server_file import read_server_file

TWO_SERVERS = "Server0\n    TitanV 1 tv.txt\n    TitanXP 3 txp.txt\nServer1\n    TitanV 2 tv.txt\n"


@pytest.fixture
def folder(tmp_path):
    write_profile(tmp_path, chain([1, 2]), "tv.txt")
    write_profile(tmp_path, chain([2, 4]), "txp.txt")
    return tmp_path


@pytest.fixture
def read(folder):
    """Read a text as a server file."""

    def read_text(text, *args, **options):
        path = folder / "servers.txt"
        path.write_bytes(text.encode())
        return read_server_file(path, *args, **options)

    return read_text


@pytest.fixture
def refusal(read, folder):
    """Text of the error for a text, without the file's path."""
    return lambda text: error_text(lambda: read(text)).removeprefix(f"{folder / 'servers.txt'}")


# --- what is read ---------------------------------------------------------------------------


def test_servers_and_groups_come_in_file_order(read):
    cluster = read(TWO_SERVERS).cluster
    assert cluster.servers == ("Server0", "Server1")
    assert cluster.groups == (
        GpuGroup(0, "TitanV", 1),
        GpuGroup(0, "TitanXP", 3),
        GpuGroup(1, "TitanV", 2),
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("    ", "\t"),
        lambda text: text.replace("    ", " "),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.rstrip("\n"),
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text.replace("\n", "  \n"),
        lambda text: f"\ufeff{text}",
        lambda text: text.replace("TitanV 1 tv", "TitanV\t 1   tv"),
    ],
    ids=[
        "tabs",
        "one space",
        "CRLF",
        "no last newline",
        "blank lines",
        "trailing blanks",
        "BOM",
        "gaps",
    ],
)
def test_layout_makes_no_difference(read, change):
    assert read(change(TWO_SERVERS)) == read(TWO_SERVERS)


def test_a_profile_path_is_relative_to_the_server_file_first(
    read, folder, tmp_path_factory, monkeypatch
):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_profile(elsewhere, chain([9]), "tv.txt")
    monkeypatch.chdir(elsewhere)
    assert read("Server0\n TitanV 1 tv.txt").profiles == {"TitanV": folder / "tv.txt"}


def test_a_profile_path_may_be_relative_to_the_working_directory(
    read, tmp_path_factory, monkeypatch
):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_profile(elsewhere, chain([9]), "only_here.txt")
    monkeypatch.chdir(elsewhere)
    (profile,) = read("Server0\n TitanV 1 only_here.txt").profiles.values()
    assert profile.resolve() == (elsewhere / "only_here.txt").resolve()


def test_a_profile_path_may_be_absolute(read, folder):
    assert read(f"Server0\n TitanV 1 {folder / 'tv.txt'}").profiles == {"TitanV": folder / "tv.txt"}


def test_a_profile_path_may_hold_spaces(read, folder):
    path = write_profile(folder, chain([1]), "my profile.txt")
    assert read("Server0\n TitanV 1 my profile.txt").profiles == {"TitanV": path}


def test_one_type_may_name_two_files_that_hold_the_same(read, folder):
    first = folder / "tv.txt"
    (folder / "copy.txt").write_bytes(first.read_bytes())
    found = read("Server0\n TitanV 1 tv.txt\nServer1\n TitanV 1 copy.txt")
    assert found.profiles == {"TitanV": first}


def test_the_given_memory_is_every_gpus(read):
    groups = read(TWO_SERVERS, memory_bytes=16e9).cluster.groups
    assert [g.memory_bytes for g in groups] == [16e9] * 3


# --- bandwidths -----------------------------------------------------------------------------


def test_without_a_bandwidth_the_published_default_is_used_and_said(read):
    found = read(TWO_SERVERS)
    assert found.cluster.bandwidth_bytes_per_s == ((1e8, 1e8), (1e8, 1e8))
    assert found.notes == (
        "no bandwidth given (-b): assuming 1e+08 bytes/s, the published tools' default",
    )


def test_one_bandwidth_is_used_between_servers_too_and_that_is_said(read):
    found = read(TWO_SERVERS, [5e9])
    assert found.cluster.bandwidth_bytes_per_s == ((5e9, 5e9), (5e9, 5e9))
    assert found.notes == ("one bandwidth given (-b): using 5e+09 bytes/s between servers too",)


def test_one_bandwidth_on_one_server_leaves_nothing_to_say(read):
    assert read("Server0\n TitanV 1 tv.txt", [5e9]).notes == ()


def test_two_bandwidths_are_inside_and_between(read):
    found = read(TWO_SERVERS, [5e9, 1e9])
    assert found.cluster.bandwidth_bytes_per_s == ((5e9, 1e9), (1e9, 5e9))
    assert found.notes == ()


def test_three_bandwidths_are_refused(read):
    assert error_text(lambda: read(TWO_SERVERS, [1e9, 1e9, 1e9])) == (
        "3 bandwidths (-b); a server file takes one (inside a server) or two (inside, between). "
        "Use a cluster.yaml for a bandwidth per server or pair"
    )


@pytest.mark.parametrize("value", [0.0, -1e9, math.inf, math.nan])
def test_a_bandwidth_has_to_be_a_positive_number(read, value):
    text = error_text(lambda: read(TWO_SERVERS, [value]))
    assert "a bandwidth is not a positive number of bytes/s" in text


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_memory_has_to_be_a_positive_number(read, value):
    text = error_text(lambda: read(TWO_SERVERS, memory_bytes=value))
    assert "group 'TitanV': memory is not a positive number of bytes" in text


# --- what is refused ------------------------------------------------------------------------

ERRORS = {
    "empty": ("", ": no servers found. A line that starts with 'Server' opens one"),
    "no server yet": (
        "  TitanV 1 tv.txt",
        ":1: a GPU line stands before any server; expected a line that starts with 'Server'",
    ),
    "not a server": (
        "Server0\nTitanV 1 tv.txt",
        ":2: found 'TitanV 1 tv.txt', expected a server name that starts with 'Server' or an "
        "indented line 'GPU COUNT PROFILE'",
    ),
    "server with a blank": (
        "Server 0\n TitanV 1 tv.txt",
        ":1: found 'Server 0', expected a server name that starts with 'Server' or an "
        "indented line 'GPU COUNT PROFILE'",
    ),
    "server twice": (
        f"{TWO_SERVERS}Server0\n TitanV 1 tv.txt",
        ":6: server 'Server0' is named twice. Use unique names",
    ),
    "type twice": (
        "Server0\n TitanV 1 tv.txt\n TitanV 2 tv.txt",
        ":3: 'TitanV' is listed twice in Server0. Add up the counts in one line",
    ),
    "server without GPUs": (
        "Server0\nServer1\n TitanV 1 tv.txt",
        ": server 'Server0' has no GPUs. Below it, write indented lines 'GPU COUNT PROFILE'",
    ),
    "too few words": (
        "Server0\n TitanV 1",
        ":2: found 'TitanV 1', expected 'GPU COUNT PROFILE'",
    ),
    "no profile": (
        "Server0\n\n TitanV 1 gone.txt",
        ":3: the profile 'gone.txt' of 'TitanV' does not exist, neither beside this file nor in "
        "the working directory",
    ),
    "profile is a folder": (
        "Server0\n TitanV 1 .",
        ":2: the profile '.' of 'TitanV' does not exist, neither beside this file nor in "
        "the working directory",
    ),
}


@pytest.mark.parametrize(("text", "message"), ERRORS.values(), ids=ERRORS)
def test_a_mistake_is_named_with_its_place(refusal, text, message):
    assert refusal(text) == message


@pytest.mark.parametrize("count", ["0", "-1", "1.5", "two", "+1", "1e3"])
def test_a_count_is_a_whole_number_of_one_or_more(refusal, count):
    assert refusal(f"Server0\n TitanV {count} tv.txt") == (
        f":2: 'TitanV' has count '{count}', expected a whole number of 1 or more"
    )


@pytest.mark.parametrize("count", ["1000001", "99999999999999999999"])
def test_a_count_that_is_too_large_is_not_called_too_small(refusal, count):
    text = refusal(f"Server0\n TitanV {count} tv.txt")
    assert text.startswith(f":2: 'TitanV' has count '{count}'")
    assert not text.endswith("expected a whole number of 1 or more"), text


def test_one_type_cannot_have_two_profiles(refusal, folder):
    assert refusal("Server0\n TitanV 1 tv.txt\nServer1\n TitanV 1 txp.txt") == (
        f":4: 'TitanV' has two different profiles, {folder / 'tv.txt'} and {folder / 'txp.txt'}. "
        "One GPU type has one profile; give the second type another name"
    )


def test_control_characters_do_not_reach_the_terminal(refusal):
    assert "\x1b" not in refusal("\x1b[2J")
    assert "\\x1b[2J" in refusal("\x1b[2J")


def test_a_profile_path_longer_than_any_file_name_is_an_input_error(refusal):
    assert refusal(f"Server0\n TitanV 1 {'x' * 5000}").startswith(":2: ")


def test_a_server_file_that_is_not_there_is_an_input_error(tmp_path):
    path = tmp_path / "none.txt"
    assert error_text(lambda: read_server_file(path)) == (
        f"{path}: no such file; expected a server file"
    )


@pytest.mark.reference
def test_the_example_of_the_published_tools_reads(reference, tmp_path):
    profiles = reference / "profiles"
    path = tmp_path / "test_server.txt"
    path.write_text(
        "Server0\n"
        f"    TitanV 1 {profiles}/example_tv.txt\n"
        f"    TitanXP 3 {profiles}/example_txp.txt\n"
    )
    assert read_server_file(path).cluster.describe() == "Server0: TitanV×1, TitanXP×3"
