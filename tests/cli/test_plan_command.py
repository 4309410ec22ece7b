"""``stagewright plan``: what it prints, what it writes, and the ways to ask for it."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from command_line import HETE_FILES, SAMPLE, TITANV, command, quiet_place, slow_link  # noqa: F401

from stagewright.model.document import read_plan
from stagewright.model.evaluate import evaluate
from stagewright.model.profile import read_profile

LIKE_GPUS = ("-n", "4", "-n", "2", "-b", "1e10", "-b", "1e9")


def planned(answer):
    """The document that a run with ``--json`` printed."""
    assert (answer.code, answer.err) == (0, "")
    return json.loads(answer.out)


def timeless(document):
    """The document without the one figure that differs from run to run."""
    document["certificate"]["wall_s"] = None
    return document


# --- what programs read -------------------------------------------------------------------------

KEYS = {
    "": "schema name cost_model planner period_s throughput_per_s claimed_period_s certificate "
    "baselines stages instance",
    "certificate": "status objective_s bound_s gap wall_s solver",
    "baselines": "single_gpu_s data_parallel_s",
    "stages.0": "index nodes replicas compute_s sync_s input_transfer_s output_transfer_s time_s "
    "memory_bytes recompute ranks",
    "stages.0.replicas.0": "server gpu count",
    "instance": "graph cluster options tensors",
}


@pytest.fixture
def document():
    return planned(command("plan", SAMPLE, "-b", "1e9", "--json"))


@pytest.mark.parametrize("place", KEYS)
def test_the_json_has_exactly_the_documented_keys(document, place):
    part = document
    for step in place.split(".") if place else []:
        part = part[int(step) if step.isdigit() else step]
    assert list(part) == KEYS[place].split()


def test_the_json_figures_fit_each_other(document):
    assert document["schema"] == "stagewright.plan/1"
    assert (document["cost_model"], document["planner"]) == ("topology", "cpsat")
    period = document["period_s"]
    assert document["throughput_per_s"] == pytest.approx(1 / period)
    certificate = document["certificate"]
    assert certificate["status"] == "optimal"
    assert certificate["objective_s"] == period
    assert certificate["bound_s"] == pytest.approx(period, rel=1e-6)
    assert certificate["bound_s"] <= period
    stages = document["stages"]
    busy = ("time_s", "input_transfer_s", "output_transfer_s")
    assert period == max(stage[key] for stage in stages for key in busy)
    for stage in stages:
        assert stage["time_s"] == pytest.approx(stage["compute_s"] + stage["sync_s"])
        assert len(stage["ranks"]) == sum(x["count"] for x in stage["replicas"])
    ranks = sorted(rank for stage in stages for rank in stage["ranks"])
    assert ranks == list(range(len(ranks)))
    assert document["baselines"]["single_gpu_s"] > period


def test_a_published_planner_says_what_it_claims():
    document = planned(command("plan", SAMPLE, "--planner", "sparsepipe-dp", "--json"))
    assert document["claimed_period_s"] == pytest.approx(document["period_s"], rel=1e-6)
    assert document["certificate"]["status"] == "feasible"
    assert document["certificate"]["bound_s"] is document["certificate"]["gap"] is None


def test_a_baseline_that_breaks_a_rule_is_null():
    document = planned(command("plan", SAMPLE, "--straight-pipeline", "--json"))
    assert document["baselines"]["data_parallel_s"] is None
    assert document["baselines"]["single_gpu_s"] > 0


# --- what is written ----------------------------------------------------------------------------


def test_three_files_are_written_and_read_back(tmp_path):
    printed = planned(command("plan", SAMPLE, "-o", "a/b/out", "--json"))
    out = tmp_path / "a" / "b" / "out"
    assert sorted(x.name for x in out.iterdir()) == ["gpus=4.svg", "gpus=4.txt", "plan.json"]
    assert json.loads((out / "plan.json").read_text(encoding="utf-8")) == printed

    document, instance, plan, cost_model = read_plan(out / "plan.json")
    assert document.period_s == printed["period_s"]
    assert evaluate(instance, plan, cost_model).period_s == printed["period_s"]
    assert [list(stage.nodes) for stage in plan.stages] == [x["nodes"] for x in printed["stages"]]

    partitioned = read_profile(out / "gpus=4.txt")
    assert {x.id: x.stage for x in partitioned.layers} == plan.stage_of
    assert ET.parse(out / "gpus=4.svg").getroot().tag.endswith("svg")  # noqa: S314 - our own file


def test_writing_again_replaces_the_files_and_leaves_others():
    command("plan", SAMPLE, "-o", "out", "--planner", "single-gpu")
    Path("out/mine.txt").write_text("mine", encoding="utf-8")
    command("plan", SAMPLE, "-o", "out")
    assert json.loads(Path("out/plan.json").read_text(encoding="utf-8"))["planner"] == "cpsat"
    assert Path("out/mine.txt").read_text(encoding="utf-8") == "mine"
    assert len(list(Path("out").iterdir())) == 4


def test_nothing_is_written_unasked(tmp_path):
    command("plan", SAMPLE)
    assert list(tmp_path.iterdir()) == []


def test_the_number_in_the_names_is_the_clusters_gpus():
    assert command(*slow_link(), "-o", "out").code == 0
    assert Path("out/gpus=2.txt").is_file()


# --- ways to ask --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (
            "-f {sample} --network_bandwidths 1e9 --memory_size 2e10 --use_memory_constraint "
            "--straight_pipeline --activation_compression_ratio 4",
            "{sample} -b 1e9 -s 2e10 --use-memory-constraint --straight-pipeline "
            "--activation-compression-ratio 4",
        ),
        (
            "-f {sample} --activation_compression_ratio=2 --network_bandwidths=1e9",
            "--file {sample} --bandwidth 1e9 --activation-compression-ratio 2",
        ),
        (
            "--profile_filename {titanv} --all_num_machines 4 --network_bandwidths 1e9 "
            "--planner pipedream-dp --use_fewer_machines",
            "--profile {titanv} -n 4 -b 1e9 --planner pipedream-dp --use-fewer-machines",
        ),
        (
            "--profile {titanv} -n 4,2 -b 1e10,1e9 --planner linear-dp",
            "--profile {titanv} -n 4 -n 2 -b 1e10 -b 1e9 --planner linear-dp",
        ),
        (
            "-f {titanv} -n 4 -b 1e9 --planner linear-dp",
            "{titanv} -n 4 -b 1e9 --planner linear-dp",
        ),
        ("{sample} -b 1e9,1e8", "{sample} -b 1e9 -b 1e8"),
        ("{sample}", "{sample} -b 1e8"),
        ("{sample}", "{sample} --activation-compression-ratio 1"),
    ],
)
def test_two_spellings_of_the_same_question(theirs, ours):
    def ask(words):
        arguments = words.format(sample=SAMPLE, titanv=TITANV).split()
        return timeless(planned(command("plan", *arguments, "--workers", "1", "--json")))

    assert ask(theirs) == ask(ours)


def test_underscores_in_values_stay(tmp_path):
    assert command("plan", SAMPLE, "--output_directory", "my_out").code == 0
    assert command("plan", SAMPLE, "--output=my_other_out").code == 0
    assert [x.name for x in sorted(tmp_path.iterdir())] == ["my_other_out", "my_out"]


def test_options_can_be_set_by_the_environment(monkeypatch):
    monkeypatch.setenv("STAGEWRIGHT_PLAN_PLANNER", "linear-dp")
    assert planned(command("plan", SAMPLE, "--json"))["planner"] == "linear-dp"
    assert planned(command("plan", SAMPLE, "--json", "--planner", "cpsat"))["planner"] == "cpsat"


def test_levels_become_servers():
    answer = command("plan", "--profile", TITANV, *LIKE_GPUS, "--planner", "linear-dp", "--json")
    cluster = planned(answer)["instance"]["cluster"]
    assert cluster["servers"] == ["Server0", "Server1"]
    assert [group["count"] for group in cluster["groups"]] == [4, 4]
    assert cluster["bandwidth_bytes_per_s"] == [[1e10, 1e9], [1e9, 1e10]]


@pytest.mark.slow
def test_a_cluster_yaml_says_it_all():
    path = HETE_FILES / "two_servers.yaml"
    document = planned(command("plan", path, "--planner", "linear-dp", "--json", "-o", "out"))
    cluster = document["instance"]["cluster"]
    assert cluster["bandwidth_bytes_per_s"] == [[1.2e10, 1.1e9], [1.1e9, 1.2e10]]
    assert cluster["latency_s"] == [[0, 5e-5], [5e-5, 0]]
    assert [group["memory_bytes"] for group in cluster["groups"]] == [1.2e10, 1.2e10, 1.1e10]
    assert Path("out/gpus=8.txt").is_file()


def test_dispatch_and_overlap_reach_the_document():
    document = planned(
        command("plan", SAMPLE, "--dispatch", "proportional", "--no-overlap", "--json")
    )
    options = document["instance"]["options"]
    assert (options["dispatch"], options["overlap"]) == ("proportional", False)


# --- rules --------------------------------------------------------------------------------------


def used(document):
    """GPUs that the plan uses."""
    return sum(x["count"] for stage in document["stages"] for x in stage["replicas"])


def test_use_all_is_obeyed():
    free, full = (planned(command(*slow_link(), *extra, "--json")) for extra in ([], ["--use-all"]))
    assert (used(free), used(full)) == (1, 2)
    assert free["period_s"] < full["period_s"]


@pytest.mark.parametrize("planner", ["cpsat", "exact-dp", "linear-dp"])
def test_a_straight_pipeline_has_no_replicas(planner):
    document = planned(
        command("plan", SAMPLE, "-b", "1e9", "--straight-pipeline", "--planner", planner, "--json")
    )
    assert [sum(x["count"] for x in stage["replicas"]) for stage in document["stages"]] == [
        1
    ] * len(document["stages"])
    assert len(document["stages"]) > 1


@pytest.mark.parametrize("planner", ["cpsat", "exact-dp", "linear-dp"])
@pytest.mark.parametrize("most", [1, 2, 99_999_999_999])
def test_max_stages_is_obeyed(planner, most):
    """No demand is too large either: more stages than GPUs cannot be."""
    asked = ["plan", SAMPLE, "--no-transfers", "--planner", planner, "--json"]
    free = planned(command(*asked))
    document = planned(command(*asked, "--max-stages", most))
    assert len(free["stages"]) > 2
    assert len(document["stages"]) <= most
    assert document["period_s"] >= free["period_s"] * (1 - 1e-9)
    if most > 2:
        assert document["period_s"] == pytest.approx(free["period_s"], rel=1e-6)


def test_memory_is_obeyed_where_it_binds():
    asked = ["plan", SAMPLE, "--no-transfers", "-s", "0.6e9", "--json"]
    free = planned(command(*asked))
    bound = planned(command(*asked, "--use-memory-constraint"))
    assert max(stage["memory_bytes"] for stage in free["stages"]) > 0.6e9
    assert max(stage["memory_bytes"] for stage in bound["stages"]) <= 0.6e9
    assert bound["period_s"] > free["period_s"]


def test_the_same_seed_gives_the_same_plan():
    asked = ["plan", SAMPLE, "--no-transfers", "--workers", "1", "--seed", "7", "--json"]
    assert timeless(planned(command(*asked))) == timeless(planned(command(*asked)))
