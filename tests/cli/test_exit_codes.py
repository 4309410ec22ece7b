"""Exit codes beyond bad input: failure, no plan, a failed check, and Ctrl-C."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import SAMPLE, command, process, quiet_place  # noqa: F401

from builders import chain, graph_of, layer, write_profile
from stagewright.formulation.exact_dp import ExactDp
from stagewright.formulation.problem import Outcome
from stagewright.model.plan import Plan, Stage, Status


@pytest.mark.parametrize("planner", ["cpsat", "exact-dp"])
def test_proven_infeasible_is_three(planner):
    answer = command(
        "plan", SAMPLE, "--use-memory-constraint", "-s", "1000", "--planner", planner, "-o", "out"
    )
    assert answer.code == 3
    assert answer.out == ""
    line, *reasons = answer.err.splitlines()
    assert line.startswith("stagewright: error: no plan exists: ")
    assert reasons[0] == "No plan meets this demand:"
    assert not Path("out").exists()


def test_a_planner_that_finds_none_but_proves_nothing_is_four():
    answer = command(
        "plan", SAMPLE, "--use-memory-constraint", "-s", "1000", "--planner", "linear-dp"
    )
    assert (answer.code, answer.out) == (4, "")
    (line,) = answer.err.splitlines()
    assert line.startswith("stagewright: error: 'linear-dp' found no plan: ")


def bin_packing(bins: int = 30, seed: int = 1):
    """Unconnected layers whose weights fill ``bins`` GPUs to the last byte, three on each."""
    rng = random.Random(seed)  # noqa: S311 - the same every time
    full = 3_000_000
    sizes = []
    for _ in range(bins):
        a, b = rng.randint(700_000, 1_200_000), rng.randint(700_000, 1_200_000)
        sizes += [a, b, full - a - b]
    rng.shuffle(sizes)
    layers = [layer(f"n{i}", 1.0, parameter_bytes=x) for i, x in enumerate(sizes)]
    return graph_of(layers), bins, 2 * full  # weights and gradients


def test_a_limit_with_no_plan_is_four(tmp_path):
    graph, gpus, memory = bin_packing()
    answer = command(
        *("plan", "--profile", write_profile(tmp_path, graph), "-n", gpus, "-b", "1e9"),
        *("--use-memory-constraint", "-s", memory, "--versions", "flush", "--straight-pipeline"),
        *("--time-limit", "0.1", "--workers", "1", "-o", "out"),
    )
    assert (answer.code, answer.out) == (4, "")
    (line,) = answer.err.splitlines()
    assert line == (
        "stagewright: error: 'cpsat' found no plan: the limit was reached before any plan"
    )
    assert not Path("out").exists()


def test_a_plan_that_breaks_a_rule_its_planner_does_not_know_is_one():
    answer = command("plan", SAMPLE, "--straight-pipeline", "--planner", "data-parallel")
    assert (answer.code, answer.out) == (1, "")
    (line,) = answer.err.splitlines()
    assert "the plan of 'data-parallel' breaks a rule: stage 0 has 4 replicas" in line
    assert line.endswith("use --planner cpsat")


# --- compare --check ----------------------------------------------------------------------------


@pytest.fixture
def wrong_proof(monkeypatch):
    """Make exact-dp put everything on one GPU and call that the best; or as ``changes`` say."""

    def install(**changes) -> None:
        def solve(planner, problem, settings) -> Outcome:
            instance = problem.instance
            replicas = (1,) + (0,) * (len(instance.cluster.groups) - 1)
            nodes = (*sorted(instance.graph.inputs), *instance.nodes)
            plan = Plan((Stage(nodes, replicas),), planner.name)
            period = float(instance.time_s[0].sum())
            return dataclasses.replace(Outcome(Status.OPTIMAL, plan, period, period), **changes)

        monkeypatch.setattr(ExactDp, "solve", solve)

    return install


@pytest.mark.parametrize("as_json", [True, False])
def test_a_wrong_proof_fails_the_check(wrong_proof, as_json):
    wrong_proof()
    words = ["compare", SAMPLE, "--planners", "cpsat,exact-dp", *["--json"] * as_json]
    assert command(*words).code == 0
    answer = command(*words, "--check")
    assert answer.code == 1
    (line,) = answer.err.splitlines()
    assert line.startswith(
        "stagewright: check failed: exact-dp proves that no plan is faster than 0.195"
    )
    assert "cpsat has one of 0.139" in line
    if as_json:
        (told,) = json.loads(answer.out)["disagreements"]
        assert told in line


def test_a_wrong_proof_that_there_is_no_plan_fails_the_check(wrong_proof):
    wrong_proof(status=Status.INFEASIBLE, plan=None, reason="it says so")
    answer = command("compare", SAMPLE, "--planners", "exact-dp,cpsat", "--check")
    assert answer.code == 1
    assert answer.err == (
        "stagewright: check failed: exact-dp proves that there is no plan, cpsat has one\n"
    )


def test_a_plan_below_a_proven_bound_fails_the_check(wrong_proof):
    """Also if the planner that has it proves nothing itself."""
    wrong_proof()
    answer = command("compare", SAMPLE, "--planners", "exact-dp,linear-dp", "--check")
    assert answer.code == 1
    assert "exact-dp proves that no plan is faster than 0.195" in answer.err
    assert "linear-dp has one of 0.139" in answer.err


def test_an_objective_that_the_evaluator_does_not_find_is_an_error(wrong_proof):
    wrong_proof(objective_s=0.1)
    for words in (["plan", "--planner", "exact-dp"], ["compare", "--planners", "exact-dp"]):
        answer = command(*words, SAMPLE)
        assert (answer.code, answer.out) == (1, "")
        (line,) = answer.err.splitlines()
        assert "'exact-dp' computes a period of 0.1 s for its plan, the evaluator finds" in line


@pytest.mark.parametrize("planners", ["cpsat", "cpsat,linear-dp", "linear-dp", "cpsat,cpsat"])
def test_one_proof_is_no_check(planners):
    answer = command("compare", SAMPLE, "--planners", planners, "--check")
    assert answer.code == 1
    assert answer.err.startswith("stagewright: check failed: only ")
    assert answer.err.endswith("two are needed\n")


@pytest.mark.slow
def test_the_time_limit_holds_for_everything_that_a_planner_does(tmp_path):
    """Also for what it does before it searches."""
    path = write_profile(tmp_path, chain([1, 2, 3], 1e6, 1e6))
    began = time.monotonic()
    answer = process(
        *("plan", "--profile", str(path), "-n", "2000", "-b", "1e9", "--time-limit", "1"),
        timeout=30,
    )
    assert answer.code == 0
    assert time.monotonic() - began < 20


# --- stdout that cannot be written ------------------------------------------------------------


@pytest.mark.parametrize("as_json", [True, False])
def test_a_full_disk_behind_stdout_is_one_line(as_json):
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "stagewright", "plan", SAMPLE, *["--json"] * as_json],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("stagewright: error: ")
    assert "No space left" in line


def test_a_reader_that_goes_away_is_no_error_message():
    with subprocess.Popen(
        [sys.executable, "-m", "stagewright", "plan", SAMPLE, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        running.stdout.close()
        assert running.stderr.read() == ""
        running.wait(60)
    assert running.returncode == 1


def test_a_closed_stdout_leaves_no_traceback():
    answer = process("plan", SAMPLE, "--json", preexec_fn=lambda: os.close(1))
    assert "Traceback" not in answer.err
    assert len(answer.err.splitlines()) <= 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_output_that_cannot_hold_every_letter_is_no_reason_to_fail(monkeypatch, encoding):
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    answer = process("plan", SAMPLE)
    assert "Traceback" not in answer.err
    assert answer.code == 0
    assert "Period 139.1 ms per minibatch" in answer.out
