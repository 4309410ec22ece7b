"""`plan --server`: the answer of planning here, from a service."""

from __future__ import annotations

import json
import threading
import time

import pytest
from live_server import LiveServer, free_port
from service_requests import HARD

from stagewright.cli.app import run
from stagewright.formulation.problem import Problem, Settings
from stagewright.model.constraints import Constraints
from stagewright.model.costs import Topology
from stagewright.model.errors import StagewrightError
from stagewright.model.load import load_instance, read_cluster
from stagewright.service.client import Client

SERVERS = "hete_files/test_server.txt"


def planned(capsys, *options: str) -> dict:
    assert run(["plan", SERVERS, "--workers", "1", "--json", *options]) == 0
    document = json.loads(capsys.readouterr().out)
    document["certificate"]["wall_s"] = None
    return document


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--planner", "sparsepipe-dp"),
        ("--max-stages", "2", "--pin", "node5=TitanV", "--dispatch", "proportional"),
        ("--no-transfers", "--cost-model", "sparsepipe", "--tidy"),
    ],
)
def test_the_document_is_the_same(server: LiveServer, capsys, options):
    assert planned(capsys, *options, "--server", server.url) == planned(capsys, *options)


def test_files_and_text_are_the_same(server, capsys, tmp_path):
    out = {}
    for place, options in (("here", ()), ("there", ("--server", server.url))):
        folder = tmp_path / place
        assert run(["plan", SERVERS, "--workers", "1", "-o", str(folder), *options]) == 0
        text = capsys.readouterr().out.replace(str(folder), "DIR")
        out[place] = [line for line in text.splitlines() if "Proven optimal" not in line]
        out[place].append((folder / "gpus=4.txt").read_text())
    assert out["here"] == out["there"]


def test_no_plan_is_explained_as_here(server, capsys):
    told = []
    for options in ((), ("--server", server.url)):
        assert run(["plan", SERVERS, "--use-all", "--max-gpus", "1", *options]) == 3
        told.append(capsys.readouterr().err)
    assert told[0] == told[1]
    assert "No plan meets these demands together" in told[0]


def test_a_refusal_of_the_service_is_an_input_error(server, capsys):
    cluster = "hete_files/two_servers.yaml"
    assert run(["plan", cluster, "--planner", "pipedream-dp", "--server", server.url]) == 2
    assert "it plans for one GPU type" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--server", "ftp://x"), "'ftp://x' is no URL of a service"),
        (("--server", "127.0.0.1:8000"), "is no URL of a service"),
        (("--server-token", "x"), "--server-token goes with --server"),
    ],
)
def test_bad_options(options, text, capsys):
    assert run(["plan", SERVERS, *options]) == 2
    assert text in capsys.readouterr().err


def test_a_service_that_stays_away():
    client = Client(f"http://127.0.0.1:{free_port()}", gone_s=0.3)
    with pytest.raises(StagewrightError, match=r"cannot be reached: .*refused"):
        client.job("0" * 32)


def test_the_token_is_not_in_the_text_of_a_client():
    assert "secret" not in repr(Client("http://x", "secret"))


def test_stopping_cancels_there_and_keeps_the_best_plan(server, tmp_path):
    folder = tmp_path / "cluster"
    folder.mkdir()
    for name, text in HARD["problem"]["profiles"].items():
        (folder / name).write_text(text)
    (folder / "cluster.yaml").write_text(json.dumps(HARD["problem"]["cluster"]))
    instance = load_instance(read_cluster(folder / "cluster.yaml"))
    problem = Problem(Constraints().applied_to(instance), Topology(dispatch="proportional"))
    stop = threading.Event()
    seen = []

    def on_progress(progress):
        seen.append(progress.period_s)
        if progress.period_s is not None:
            stop.set()

    settings = Settings(time_limit_s=120, workers=1, stop=stop, on_progress=on_progress)
    found = Client(server.url).plan("cpsat", problem, settings)
    assert found.certificate.status == "feasible"
    assert found.evaluation.valid
    assert found.evaluation.period_s <= seen[-1]
    (job, *_) = server.call("GET", "/v1/jobs?most=1").data["jobs"]
    assert job["state"] == "cancelled"


def test_a_client_waits_for_a_server_that_restarts(tmp_path):
    away = LiveServer(tmp_path)
    jobs = []

    def call():
        jobs.append(Client(away.url, gone_s=120).fetch("GET", "/v1/jobs"))

    caller = threading.Thread(target=call)
    caller.start()
    time.sleep(0.3)
    away.start()
    caller.join(60)
    assert json.loads(jobs[0]) == {"jobs": []}
    away.end()
