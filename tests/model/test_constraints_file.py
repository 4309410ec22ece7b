"""The constraints file: everything it can say, the example in the docs, and exact errors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from builders import error_text
from stagewright.model.cluster_file import read_cluster_yaml
from stagewright.model.constraints import Constraints, KeptPlan
from stagewright.model.constraints_file import MOST_CHARACTERS, read_constraints
from stagewright.model.load import load_instance
from stagewright.model.placement_names import PlacementNames
from stagewright.model.rules import MemoryModel, Optimizer, Recompute, Rules, Versions
from stagewright.model.toml_text import MOST_DOTS

ROOT = Path(__file__).parents[2]
FORMATS = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
SECTION = FORMATS.split("## Constraints file")[1].split("\n## ")[0]
DOCS = ". docs/formats.md describes the constraints file"


@pytest.fixture
def read(tmp_path):
    """Read a text as a constraints file."""

    def read_text(text, name="rules.toml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return read_constraints(path)

    return read_text


@pytest.fixture
def refusal(read, tmp_path):
    """Text of the error for a text, without the file's path."""

    def text_of(text, name="rules.toml"):
        return error_text(lambda: read(text, name)).removeprefix(str(tmp_path / name))

    return text_of


def example(language):
    """The first example in that language in the section of the docs."""
    return re.findall(rf"```{language}\n(.*?)```", SECTION, re.DOTALL)[0]


# --- what is read ---------------------------------------------------------------------------


def test_the_example_in_the_docs_states_everything(read, tmp_path):
    assert read(example("toml")) == Constraints(
        max_stages=6,
        max_replicas=3,
        max_gpus=6,
        max_price_per_hour=8.0,
        use_all=False,
        straight_pipeline=False,
        recompute=Recompute.AUTO,
        use_memory=True,
        versions=Versions.TWO_BW,
        optimizer=Optimizer.ADAM,
        names=PlacementNames(
            pin=(
                ("node5", "stage:0"),
                ("MinkowskiLinear*", "TitanXP"),
                ("node4[0-9]", "Server0"),
                ("node4[0-9]", "TitanXP"),
            ),
            forbid=(("node53", "Server0/TitanV"),),
            together=(("node22", "node23"), ("node3?",)),
        ),
        keep=KeptPlan(tmp_path / "old.json", 40),
    )


def test_the_example_in_the_docs_applies_to_the_cluster_in_the_docs(read, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT / "hete_files")
    (cluster,) = re.findall(r"```yaml\n(gpus:.*?)```", FORMATS, re.DOTALL)
    (tmp_path / "cluster.yaml").write_text(cluster, encoding="utf-8")
    (tmp_path / "old.json").write_text('{"stages": [{"nodes": ["node2"]}]}', encoding="utf-8")
    constraints = read(example("toml"))
    loaded = load_instance(read_cluster_yaml(tmp_path / "cluster.yaml"), constraints.rules())
    rules = constraints.applied_to(loaded).rules
    assert rules.placement.stage == (("node5", 0),)
    assert dict(rules.placement.forbidden) == {
        **dict.fromkeys(("node47", "node50", "node53"), (0,)),
        **{f"node{i}": (0, 2) for i in range(40, 50)},
    }
    assert rules.placement.kept.stages == (("node2",),)
    assert (rules.max_gpus, rules.recompute) == (6, Recompute.AUTO)


def test_the_example_in_yaml_says_the_same_in_part(read):
    found = read(example("yaml"), "rules.yaml")
    assert (found.max_gpus, found.use_memory, found.versions) == (6, True, Versions.TWO_BW)
    assert found.names == PlacementNames(
        pin=(("node5", "stage:0"),), together=(("node22", "node23"),)
    )


def test_an_empty_file_demands_nothing(read):
    assert read("") == Constraints()
    assert Constraints().rules() == Rules()


def test_what_is_stated_becomes_rules():
    stated = Constraints(max_gpus=3, use_memory=True, optimizer=Optimizer.ADAM, use_all=False)
    assert stated.rules() == Rules(
        use_memory=True, memory=MemoryModel(Versions.STASH, Optimizer.ADAM), max_gpus=3
    )


# --- what is refused ------------------------------------------------------------------------

ERRORS = {
    "unknown key": (
        "colour = 'red'",
        f": colour: extra inputs are not permitted (found 'red'){DOCS}",
    ),
    "unknown key below": (
        "[memory]\nsize = 3",
        f": memory.size: extra inputs are not permitted (found 3){DOCS}",
    ),
    "no GPUs": (
        "max_gpus = 0",
        f": max_gpus: input should be greater than or equal to 1 (found 0){DOCS}",
    ),
    "a count in words": (
        "max_gpus = 'four'",
        f": max_gpus: input should be a valid integer (found 'four'){DOCS}",
    ),
    "a count that is a truth": (
        "max_stages = true",
        f": max_stages: input should be a valid integer (found True){DOCS}",
    ),
    "a truth that is a count": (
        "use_all = 1",
        f": use_all: input should be a valid boolean (found 1){DOCS}",
    ),
    "a price that is none": (
        "max_price_per_hour = nan",
        f": max_price_per_hour: input should be a finite number (found nan){DOCS}",
    ),
    "an unknown word": (
        "recompute = 'often'",
        f": recompute: input should be 'never', 'always' or 'auto' (found 'often'){DOCS}",
    ),
    "a pin to a number": (
        "pin = {node1 = 0}",
        f": pin.node1.0: input should be a valid string (found 0){DOCS}",
    ),
    "a pin to nothing": (
        "pin = {node1 = []}",
        f": pin.node1: list should have at least 1 item after validation, not 0 (found []){DOCS}",
    ),
    "layers in one word": (
        "together = 'ab'",
        f": together: input should be a valid list (found 'ab'){DOCS}",
    ),
    "a plan without a limit": (
        "[keep]\nplan = 'old.json'",
        f": keep.most_moved: is missing{DOCS}",
    ),
    "a negative limit": (
        "[keep]\nplan = 'old.json'\nmost_moved = -1",
        f": keep.most_moved: input should be greater than or equal to 0 (found -1){DOCS}",
    ),
    "broken in line 2": ("max_gpus = 3\npin = }", ":2: not valid TOML: Invalid value"),
    "a key twice": (
        "max_gpus = 3\nmax_gpus = 4\n",
        ":2: not valid TOML: Cannot overwrite a value",
    ),
    "a number that never ends": ("max_gpus = " + "9" * 50_000, ": not valid TOML: a number is too"),
    "depth": ("x = " + "[" * 5000, ": not valid TOML: nested too deeply"),
    "a key of many parts": (
        "a" + ".a" * (MOST_DOTS + 1) + " = 1",
        f":1: more than {MOST_DOTS} dots in one line. Break the list into several lines",
    ),
    "too much": (
        "#" * (MOST_CHARACTERS + 1),
        ": the file has 262,145 characters; a constraints file has at most 262,144",
    ),
}


@pytest.mark.parametrize(("text", "message"), ERRORS.values(), ids=ERRORS)
def test_a_mistake_is_named_with_its_place(refusal, text, message):
    assert refusal(text).startswith(message)


YAML_ERRORS = {
    "nothing": ("", f": expected a mapping of keys to values (found None){DOCS}"),
    "a layer that is a number": (
        "pin: {3: TitanV}",
        f": pin.3.[key]: input should be a valid string (found 3){DOCS}",
    ),
    "an alias": ("pin: &a {x: *a}", ":1: not valid YAML: aliases (*name) are not supported"),
    "an object": (
        "pin: !!python/object/apply:os.system ['true']",
        ":1: not valid YAML: could not determine a constructor for the tag",
    ),
    "a key twice": ("max_gpus: 1\nmax_gpus: 2", ":2: not valid YAML: the key 'max_gpus' is given"),
}


@pytest.mark.parametrize(("text", "message"), YAML_ERRORS.values(), ids=YAML_ERRORS)
def test_a_mistake_in_yaml_is_named_with_its_place(refusal, text, message):
    assert refusal(text, "rules.yaml").startswith(message)


def test_another_suffix_is_refused(refusal):
    assert refusal("{}", "rules.json") == (
        ": found the suffix '.json', expected .toml, .yaml or .yml"
    )


def test_keys_of_many_parts_take_no_time(refusal):
    """The longest that the limits leave: tomllib's time grows with the square of the parts."""
    line = ".a" * MOST_DOTS + " = 1"
    lines = [f"k{i}{line}" for i in range(MOST_CHARACTERS // (len(line) + 5))]
    assert refusal("\n".join(lines)).startswith(": k0: extra inputs are not permitted")
