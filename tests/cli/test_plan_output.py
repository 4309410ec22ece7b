"""What ``stagewright plan`` tells people."""

from __future__ import annotations

import re

import pytest
from bad_cases import CLUSTER, lay_out
from command_line import HETE_FILES, SAMPLE, TITANV, command, quiet_place, slow_link  # noqa: F401

from builders import certificate, chain, instance_of, one_server, write_profile
from stagewright.cli.render import show_plan
from stagewright.formulation.problem import Problem
from stagewright.formulation.run import Planned
from stagewright.model.costs import Topology
from stagewright.model.evaluate import evaluate
from stagewright.model.plan import Plan, Stage
from stagewright.model.rules import Recompute, Rules


def test_people_read_a_table_and_sentences():
    answer = command("plan", SAMPLE)
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0] == (
        "minkvgg: 52 layers on 4 GPUs, Server0: TitanV×1, TitanXP×3; 100 MB/s inside a server"
    )
    header = next(line for line in lines if line.startswith("stage "))
    assert re.split(r"\s{2,}", header.strip()) == [
        *("stage", "layers", "GPUs", "compute", "all-reduce", "receive", "send", "memory"),
        "of the period",
    ]
    rows = [line.split() for line in lines if re.match(r" +\d+  \d+: node\d+ … node\d+ ", line)]
    assert [row[0] for row in rows] == ["0", "1"]
    assert [row[5] for row in rows] == ["TitanV×1", "TitanXP×1"]
    assert "Period 139.1 ms per minibatch, 7.19 minibatches/s." in answer.out
    assert "Speed: 1.40 × the best single GPU, 7.61 × data parallelism." in answer.out


def test_people_read_that_the_plan_is_proven():
    assert (
        "Proven optimal under cost model 'topology': no plan has a shorter period (cpsat, "
        in command("plan", SAMPLE, "-b", "1e9").out
    )


def test_people_read_what_is_proven_if_it_is_not_the_best():
    """The fast planners' plan is within half of the best, and nobody looks for a better one."""
    out = " ".join(command("plan", SAMPLE, "--no-transfers", "--gap", "0.5").out.split())
    found = re.search(
        r"Proven to be within (\S+) % of the best plan under cost model 'topology': none is "
        r"faster than \S+ ms \(cpsat, ",
        out,
    )
    assert found
    assert 0 < float(found[1]) <= 50


def test_people_read_that_a_planner_proves_nothing():
    out = " ".join(command("plan", SAMPLE, "--planner", "linear-dp").out.split())
    assert "Not proven: 'linear-dp' gives no bound (" in out
    assert "--planner cpsat says how far it is from the best." in out
    assert "Proven" not in out


@pytest.mark.parametrize(
    ("arguments", "note"),
    [
        ([], "no bandwidth given (-b): assuming 1e+08 bytes/s, the published tools' default."),
        (["-b", "1e9"], None),
    ],
)
def test_the_assumed_bandwidth_is_noted(arguments, note):
    notes = [
        line.removeprefix("Note: ")
        for line in command("plan", SAMPLE, *arguments).out.splitlines()
        if line.startswith("Note: ")
    ]
    assert notes == ([] if note is None else [note])


def test_one_bandwidth_for_two_servers_is_noted(tmp_path):
    path = tmp_path / "two.txt"
    path.write_text(f"Server0\n    V 1 {TITANV}\nServer1\n    V 1 {TITANV}\n", encoding="utf-8")
    out = command("plan", path, "-b", "1e9").out
    assert "Note: one bandwidth given (-b): using 1e+09 bytes/s between servers too." in out


def test_the_assumed_memory_is_noted():
    out = command("plan", SAMPLE, "--use-memory-constraint").out
    assert "assuming 1.6e+10 bytes, the published tools' default." in out


def test_idle_gpus_are_explained():
    out = command(*slow_link()).out
    assert (
        "1 of 2 GPUs stay idle: using them would not make it faster (--use-all forces them)." in out
    )


def test_no_gpu_is_idle_if_all_are_demanded():
    answer = command(*slow_link(), "--use-all")
    assert answer.code == 0
    assert "stay idle" not in answer.out


def test_idle_gpus_are_excused_only_by_a_proof():
    """One GPU is not the best here; the command must not say that the others would not help."""
    answer = command("plan", SAMPLE, "--planner", "single-gpu")
    assert "3 of 4 GPUs stay idle" in answer.out
    assert "would not make it faster" not in answer.out


def test_a_plan_that_exceeds_known_memory_is_warned_about():
    out = " ".join(command("plan", SAMPLE, "-s", "0.8e9").out.split())
    assert re.search(r"Warning: stage 0 needs 1\.0 GB on TitanV \(0\.8 GB\): ", out)
    assert "add --use-memory-constraint" in out


def test_constraints_in_force_are_named():
    lines = command("plan", SAMPLE, "--max-gpus", "4", "--forbid", "node2=TitanV").out.splitlines()
    assert "Constraints: --max-gpus 4; --pin node2=TitanXP." in lines
    assert "Constraints" not in command("plan", SAMPLE).out


def test_idle_gpus_are_excused_by_the_limit():
    out = command("plan", SAMPLE, "--planner", "single-gpu", "--max-gpus", "1").out
    assert "3 of 4 GPUs stay idle; the constraints limit how many are used." in out


def test_the_price_is_named_where_every_gpu_has_one():
    lay_out({"cluster.yaml": CLUSTER.replace("titanv.txt}", "titanv.txt, price_per_hour: 1.25}")})
    for planner, price in (("single-gpu", "1.25"), ("data-parallel", "5.00")):
        out = command("plan", "cluster.yaml", "--planner", planner).out
        assert f"Price of the GPUs in use: {price} per hour." in out
    assert "Price" not in command("plan", "servers.txt").out


def test_stages_that_recompute_are_marked(capsys):
    """A plan by hand; its rule is not the point."""
    instance = instance_of(chain([1, 2]), one_server(2), Rules(recompute=Recompute.AUTO))
    plan = Plan(
        (Stage(("node1",), (1,), recompute=True), Stage(("node2",), (1,))), planner="by-hand"
    )
    problem = Problem(instance, Topology())
    evaluation = evaluate(instance, plan, problem.cost_model)
    assert evaluation.valid
    show_plan(Planned(problem, plan, evaluation, certificate(evaluation.period_s)), [])
    lines = capsys.readouterr().out.splitlines()
    assert "Constraints: --recompute auto." in lines
    assert [line.split()[-1] for line in lines[2:5]] == ["recomputes", "yes", "no"]


def test_other_planners_stand_beside_the_plan():
    lines = command("plan", SAMPLE).out.splitlines()
    start = lines.index("Beside it, under the same evaluator:")
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines[start + 2 :] if line.strip()]
    assert rows == [
        ["this plan", "139.1 ms", "1.00"],
        ["single-gpu", "195.1 ms", "1.40"],
        ["data-parallel", "1,059 ms", "7.61"],
        ["sparsepipe-dp", "151.5 ms", "151.5 ms", "1.09"],
    ]


def test_written_files_are_named():
    out = command("plan", SAMPLE, "-o", "out").out
    assert out.splitlines()[-1] == "Written: out/plan.json, out/gpus=4.txt, out/gpus=4.svg"
    assert "Written" not in command("plan", SAMPLE).out


@pytest.mark.slow
def test_lines_in_a_file_are_not_wider_than_promised():
    answer = command("plan", HETE_FILES / "two_servers.yaml", "--gap", "0.2")
    assert answer.code == 0
    assert max(len(line.rstrip()) for line in answer.out.splitlines()) <= 110


def test_times_have_four_digits_however_small(tmp_path):
    path = write_profile(tmp_path, chain([0.0012345, 0.0023456]))
    out = command("plan", "--profile", path, "-n", "1", "-b", "1e9").out
    assert "Period 0.00358" in out
