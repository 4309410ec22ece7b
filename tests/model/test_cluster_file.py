"""``cluster.yaml``: everything it can say, what it inherits, and exact errors."""

from __future__ import annotations

import tracemalloc

import pytest

from builders import chain, error_text, write_profile
from stagewright.model.cluster import GpuGroup
from stagewright.model.cluster_file import read_cluster_yaml

FULL = """\
gpus:
  TitanV: {profile: tv.txt, memory_bytes: 12000000000}
  TitanXP: {profile: txp.txt}
servers:
  - name: left
    bandwidth_bytes_per_s: 1e10
    gpus:
      - {gpu: TitanV, count: 2}
      - {gpu: TitanXP, count: 1, memory_bytes: 8e9}
  - name: middle
    bandwidth_bytes_per_s: 2e10
    gpus: [{gpu: TitanV, count: 1, memory_bytes: 32e9}]
  - name: right
    bandwidth_bytes_per_s: 3e10
    gpus: [{gpu: TitanXP, count: 4}]
links:
  bandwidth_bytes_per_s: 1e9
  latency_s: 0.001
  pairs:
    - {servers: [right, left], bandwidth_bytes_per_s: 5e8, latency_s: 0.002}
"""
ONE = """\
servers:
  - name: s
    bandwidth_bytes_per_s: 1e9
    gpus: [{gpu: G, count: 1, profile: tv.txt}]
"""
DOCS = ". docs/formats.md describes cluster.yaml"


@pytest.fixture
def folder(tmp_path):
    write_profile(tmp_path, chain([1, 2]), "tv.txt")
    write_profile(tmp_path, chain([2, 4]), "txp.txt")
    return tmp_path


@pytest.fixture
def read(folder):
    """Read a text as a cluster.yaml."""

    def read_text(text):
        path = folder / "cluster.yaml"
        path.write_text(text, encoding="utf-8")
        return read_cluster_yaml(path)

    return read_text


@pytest.fixture
def refusal(read, folder):
    """Text of the error for a text, without the file's path."""
    return lambda text: error_text(lambda: read(text)).removeprefix(f"{folder / 'cluster.yaml'}")


# --- what is read ---------------------------------------------------------------------------


def test_memory_is_the_lines_own_or_else_its_types(read):
    assert read(FULL).cluster.groups == (
        GpuGroup(0, "TitanV", 2, 12e9),
        GpuGroup(0, "TitanXP", 1, 8e9),
        GpuGroup(1, "TitanV", 1, 32e9),
        GpuGroup(2, "TitanXP", 4, None),
    )


def test_prices_are_the_lines_own_or_else_their_types(read):
    text = FULL.replace("tv.txt,", "tv.txt, price_per_hour: 2.5,").replace(
        "memory_bytes: 32e9", "price_per_hour: 0"
    )
    prices = [group.price_per_hour for group in read(text).cluster.groups]
    assert prices == [2.5, None, 0.0, None]


def test_profiles_are_found_beside_the_file(read, folder):
    assert read(FULL).profiles == {"TitanV": folder / "tv.txt", "TitanXP": folder / "txp.txt"}


def test_a_pairs_link_overrides_the_common_one_in_both_directions(read):
    cluster = read(FULL).cluster
    assert cluster.bandwidth_bytes_per_s == (
        (1e10, 1e9, 5e8),
        (1e9, 2e10, 1e9),
        (5e8, 1e9, 3e10),
    )
    assert cluster.latency_s == ((0.0, 0.001, 0.002), (0.001, 0.0, 0.001), (0.002, 0.001, 0.0))


def test_one_server_needs_no_links(read):
    assert read(ONE).cluster.bandwidth_bytes_per_s == ((1e9,),)


def test_server_names_are_free(read):
    assert read(ONE.replace("name: s", "name: my rack 3")).cluster.servers == ("my rack 3",)


def test_nothing_is_assumed_so_nothing_is_said(read):
    assert read(FULL).notes == ()


# --- what is refused ------------------------------------------------------------------------

NO_LINKS = FULL.split("links:", maxsplit=1)[0]
PAIR = "{servers: [right, left], bandwidth_bytes_per_s: 5e8, latency_s: 0.002}"
ERRORS = {
    "unknown key": (
        ONE + "colour: red\n",
        f": colour: extra inputs are not permitted (found 'red'){DOCS}",
    ),
    "unknown key of a server": (
        ONE.replace("    gpus", "    speed: 3\n    gpus"),
        f": servers.0.speed: extra inputs are not permitted (found 3){DOCS}",
    ),
    "no servers key": ("gpus: {}\n", f": servers: is missing{DOCS}"),
    "no count": (
        ONE.replace("count: 1, ", ""),
        f": servers.0.gpus.0.count: is missing{DOCS}",
    ),
    "count of nothing": (
        ONE.replace("count: 1", "count: 0"),
        f": servers.0.gpus.0.count: input should be greater than or equal to 1 (found 0){DOCS}",
    ),
    "count is a fraction": (
        ONE.replace("count: 1", "count: 1.5"),
        ": servers.0.gpus.0.count: input should be a valid integer, got a number with a "
        f"fractional part (found 1.5){DOCS}",
    ),
    "absurd count": (
        ONE.replace("count: 1", "count: 10000000"),
        ": servers.0.gpus.0.count: input should be less than or equal to 1000000 "
        f"(found 10000000){DOCS}",
    ),
    "no bandwidth": (
        ONE.replace("1e9", "0"),
        f": servers.0.bandwidth_bytes_per_s: input should be greater than 0 (found 0){DOCS}",
    ),
    "bandwidth not a number": (
        ONE.replace("1e9", ".nan"),
        f": servers.0.bandwidth_bytes_per_s: input should be a finite number (found nan){DOCS}",
    ),
    "infinite bandwidth": (
        ONE.replace("1e9", ".inf"),
        f": servers.0.bandwidth_bytes_per_s: input should be a finite number (found inf){DOCS}",
    ),
    "negative latency": (
        FULL.replace("0.002", "-0.002"),
        ": links.pairs.0.latency_s: input should be greater than or equal to 0 "
        f"(found -0.002){DOCS}",
    ),
    "no memory": (
        FULL.replace("12000000000", "0"),
        f": gpus.TitanV.memory_bytes: input should be greater than 0 (found 0){DOCS}",
    ),
    "negative price": (
        FULL.replace("memory_bytes: 12000000000", "price_per_hour: -1"),
        ": gpus.TitanV.price_per_hour: input should be greater than or equal to 0 "
        f"(found -1){DOCS}",
    ),
    "price not a number": (
        ONE.replace("count: 1", "count: 1, price_per_hour: .nan"),
        f": servers.0.gpus.0.price_per_hour: input should be a finite number (found nan){DOCS}",
    ),
    "no profile": (
        ONE.replace(", profile: tv.txt", ""),
        ": 'G' in s has no profile. Write 'profile:' below it or in the 'gpus:' section under 'G'",
    ),
    "profile not there": (
        ONE.replace("tv.txt", "gone.txt"),
        ": the profile 'gone.txt' of 'G' does not exist",
    ),
    "two profiles": (
        FULL.replace("count: 1, memory_bytes: 32e9", "count: 1, profile: txp.txt"),
        ": 'TitanV' has two different profiles. One GPU type has one profile; give the second "
        "type another name",
    ),
    "type twice": (
        FULL.replace("gpu: TitanXP, count: 1", "gpu: TitanV, count: 1"),
        ": server 'left' lists 'TitanV' twice. Add up the counts in one line",
    ),
    "server twice": (FULL.replace("middle", "left"), ": server 'left' is named twice"),
    "no link": (
        NO_LINKS,
        ": no bandwidth between left and middle. Write links.bandwidth_bytes_per_s, or the pair "
        "under links.pairs",
    ),
    "pair of strangers": (
        FULL.replace("[right, left]", "[right, top]"),
        ": links.pairs names 'top', which is not a server",
    ),
    "pair of one": (
        FULL.replace("[right, left]", "[right, right]"),
        ": links.pairs repeats right and right",
    ),
    "pair twice": (
        FULL.replace(PAIR, f"{PAIR}\n    - {PAIR.replace('right, left', 'left, right')}"),
        ": links.pairs repeats left and right",
    ),
    "broken YAML": (
        "servers: [",
        ":1: not valid YAML: expected the node content, but found '<stream end>'",
    ),
    "broken in line 3": (
        "gpus: {}\nservers:\n  - {name: 'x\n",
        ":4: not valid YAML: found unexpected end of stream",
    ),
}


@pytest.mark.parametrize(("text", "message"), ERRORS.values(), ids=ERRORS)
def test_a_mistake_is_named_with_its_place(refusal, text, message):
    assert refusal(text) == message


@pytest.mark.parametrize("text", ["", "- 1\n", "just text\n", "42\n"])
def test_a_file_that_holds_no_mapping_is_refused_in_plain_words(refusal, text):
    message = refusal(text)
    assert message.startswith(": ")
    assert "_File" not in message, "names a class of ours"


@pytest.mark.parametrize(
    "value",
    [
        "!!bool maybe",
        '!!int ""',
        '!!float ""',
        "!!timestamp soon",
        "2020-13-45",
        "!!python/object/apply:os.system ['true']",
    ],
)
def test_a_value_that_yaml_cannot_build_is_an_input_error(refusal, value):
    assert "not valid YAML" in refusal(f"servers: {value}\n")


def test_deep_nesting_is_an_input_error(refusal):
    assert refusal("servers: " + "[" * 5000).startswith(":")


def test_a_structure_that_holds_itself_is_an_input_error(refusal):
    assert "aliases" in refusal("servers: &x [*x]\n")


def test_an_alias_bomb_is_refused_without_writing_it_out(refusal):
    """300 bytes that stand for a million words: showing what was found must not expand them."""
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for i in range(1, 7):
        bomb += f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n"
    tracemalloc.start()
    try:
        assert refusal(f"{bomb}servers: *a6\n").startswith(":")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2_000_000


@pytest.mark.parametrize("name", ["x" * 5000, "畳" * 150], ids=["characters", "bytes"])
def test_a_profile_path_longer_than_any_file_name_is_an_input_error(refusal, name):
    assert refusal(ONE.replace("tv.txt", name)).startswith(": ")


def test_a_key_given_twice_is_refused(refusal):
    assert refusal(ONE + ONE.replace("name: s", "name: t")).startswith(":")
