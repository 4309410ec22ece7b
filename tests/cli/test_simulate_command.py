"""``stagewright simulate`` and ``plan --check-by-simulation``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import HETE_FILES, SAMPLE, command, quiet_place  # noqa: F401

from builders import chain, write_profile
from stagewright.model.document import read_plan
from stagewright.simulation import parse_schedule


@pytest.fixture
def plan() -> str:
    """Two stages of 4 ms; 1e6 bytes between them at 1e9 bytes/s, 1 ms each way."""
    path = write_profile(Path(), chain([4, 4], [1e6, 0]))
    asked = ["--profile", path, "-n", "2", "-b", "1e9", "--straight-pipeline", "--use-all"]
    assert command("plan", *asked, "-o", "out").code == 0
    return "out/plan.json"


def test_people_read_the_period_and_how_gpus_spend_their_time(plan):
    answer = command("simulate", plan)
    assert (answer.code, answer.err) == (0, "")
    text = " ".join(answer.out.split())
    # The start-up count hides no transfers: (4 + 4 + 1 + 1) / 2 ms.
    assert (
        "Period 5.000 ms per minibatch in steady state, 25.0 % more than the cost model's" in text
    )
    assert "1f1b with the start-up count in flight; one network card a server" in text
    header, first, second = answer.out.splitlines()[1:4]
    assert header.split()[:3] == ["GPU", "stage", "where"]
    assert [row.split()[:2] for row in (first, second)] == [["0", "0"], ["1", "1"]]
    assert "when full" in header
    # 4 ms of work in 5 ms.
    assert "20.0 %" in first


def test_slack_hides_transfers(plan):
    text = " ".join(command("simulate", plan, "--slack", "1").out.split())
    assert "Period 4.000 ms per minibatch in steady state, as the cost model says: 4.000 ms" in text


def test_programs_read_the_same_as_json_and_in_the_folder(plan):
    answer = command("simulate", plan, "-n", "40", "--json", "-o", "made")
    data = json.loads(answer.out)
    assert (answer.code, answer.err) == (0, "")
    assert data["schema"] == "stagewright.simulation/1"
    assert data["period_s"] == pytest.approx(0.005)
    assert (data["minibatches"], data["order"], data["links_shared"]) == (40, "1f1b", "cards")
    assert [(x["rank"], x["stage"]) for x in data["gpus"]] == [(0, 0), (1, 1)]
    assert json.loads(Path("made/simulation.json").read_text()) == data
    assert json.loads(Path("made/trace.json").read_text())["traceEvents"]
    assert parse_schedule(Path("made/schedule.txt").read_text()).minibatches == 40


def test_a_written_schedule_is_run_again(plan):
    first = json.loads(command("simulate", plan, "-n", "30", "--json", "-o", "made").out)
    answer = command("simulate", plan, "--schedule", "made/schedule.txt", "--json")
    again = json.loads(answer.out)
    assert (again["order"], again["makespan_s"]) == (None, first["makespan_s"])


@pytest.mark.parametrize("order", ["1f1b-flush", "gpipe"])
def test_groups_cost_a_bubble(plan, order):
    asked = ["simulate", plan, "--order", order, "--group", "8", "--json"]
    data = json.loads(command(*asked).out)
    assert data["group"] == 8
    assert data["period_s"] > 0.0045


def test_few_minibatches_have_no_steady_state(plan):
    answer = command("simulate", plan, "-n", "2")
    assert answer.code == 0
    assert "Too few minibatches for a steady state." in answer.out
    assert json.loads(command("simulate", plan, "-n", "2", "--json").out)["period_s"] is None


def test_markup_in_names_is_data():
    write_profile(Path(), chain([4, 4], [1e6, 0]))
    Path("servers.txt").write_text("Server[red]\n    [b]V 2 graph.txt\n")
    asked = [
        "servers.txt",
        "--planner",
        "linear-dp",
        "--straight-pipeline",
        "--use-all",
        "-b",
        "1e9",
    ]
    assert command("plan", *asked, "-o", "out").code == 0
    assert "[b]V 0 in Server[red]" in command("simulate", "out/plan.json", "-n", "4").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.json"], "nothing.json: no such file; expected a plan document"),
        (["{plan}", "--group", "4"], "--group goes with 1f1b-flush and gpipe, not with --order"),
        (["{plan}", "-o", " "], "-o names no folder"),
        (["{plan}", "--schedule", "x", "-n", "3"], "--schedule says it all; leave out -n, --group "
         "and --slack"),
        (["{plan}", "--schedule", "nothing"], "nothing: no such file; expected a schedule"),
        (["{plan}", "--schedule", "out/gpus=2.txt"], "out/gpus=2.txt:1: found"),
        (["{plan}", "-n", "9999999"], "9,999,999 minibatches on 2 GPUs are too many to simulate"),
    ],
)  # fmt: skip
def test_what_cannot_be_simulated_is_said_in_one_line(plan, arguments, message):
    answer = command("simulate", *(x.format(plan=plan) for x in arguments))
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.startswith(f"stagewright: error: {message}")
    assert len(answer.err.splitlines()) == 1


MAX_LOAD = (
    "stagewright: error: a plan under cost model 'max-load' cannot be simulated: it states loads "
    "of devices, not a pipeline with links. Plan with --cost-model topology to simulate\n"
)


def test_max_load_is_not_simulated():
    asked = ["plan", SAMPLE, "--cost-model", "max-load", "-b", "1e9"]
    answer = command(*asked, "--check-by-simulation")
    assert (answer.code, answer.out, answer.err) == (2, "", MAX_LOAD)
    assert command(*asked, "-o", "out").code == 0
    answer = command("simulate", "out/plan.json")
    assert (answer.code, answer.out, answer.err) == (2, "", MAX_LOAD)


def test_plan_reports_both_periods():
    asked = ["plan", SAMPLE, "-b", "1e8", "--planner", "exact-dp", "--check-by-simulation"]
    answer = command(*asked, "-o", "out")
    assert answer.code == 0
    told = answer.out[answer.out.index("Checked by simulation") :]
    assert "Formula and simulation agree where no links are shared." in told
    assert told.count("the same") >= 1
    document, *_ = read_plan("out/plan.json")
    assert document.simulation is not None
    assert document.simulation.agrees
    assert document.simulation.own_links_s == pytest.approx(document.period_s, rel=0.01)
    assert document.simulation.start_up_s > document.period_s * 1.1


def test_plan_says_what_shares_a_network_card():
    path = HETE_FILES / "two_servers.yaml"
    asked = ("--straight-pipeline", "--planner", "exact-dp", "--check-by-simulation")
    answer = command("plan", path, *asked, "--json")
    told = json.loads(answer.out)["simulation"]
    assert told["agrees"]
    assert told["shared_cards_s"] >= told["own_links_s"]
    assert [x["name"] for x in told["shared_cards"]] == [
        "network card of Server1",
        "network card of Server0",
    ]
    assert {"cut 1", "cut 4"} <= set(told["shared_cards"][0]["users"])


def test_without_the_option_nothing_is_simulated():
    data = json.loads(command("plan", SAMPLE, "--planner", "exact-dp", "--json").out)
    assert "simulation" not in data
