"""``stagewright profile --network``: the fit, the measuring, and the cluster file it writes."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from command_line import Answer, command, quiet_place  # noqa: F401

import stagewright
from builders import chain, write_profile
from stagewright.model.errors import InputError, NetworkError
from stagewright.profile import link_launch
from stagewright.profile.link_document import LinkRequest, MeasuredLink, SizeTime
from stagewright.profile.link_fit import Timing, fit_link

SIZES = [4.0**k for k in range(6, 13)]
DISTURBED = [
    wrong
    for count in range(3)
    for wrong in itertools.combinations(range(1, len(SIZES)), count)
    if wrong != (len(SIZES) - 2, len(SIZES) - 1)
]
SOURCE = str(Path(stagewright.__file__).parents[1])

RANKS = "torch.distributed.run --standalone --nproc-per-node=2 -m stagewright profile --network"

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed"
)


def timings(latency_s: float, bandwidth: float) -> list[Timing]:
    return [Timing(size, latency_s + size / bandwidth) for size in SIZES]


@given(latency=st.floats(0, 1e-2), bandwidth=st.floats(1e6, 1e11))
def test_a_line_is_found_again(latency, bandwidth):
    found = fit_link(timings(latency, bandwidth))
    assert found.bandwidth_bytes_per_s == pytest.approx(bandwidth, rel=1e-3)
    assert found.latency_s == pytest.approx(latency, rel=1e-3, abs=1e-9)
    assert found.deviation < 1e-3


@given(
    latency=st.floats(1e-5, 1e-3),
    bandwidth=st.floats(1e8, 1e10),
    wrong=st.sampled_from(DISTURBED),
    factor=st.floats(2, 50),
)
def test_two_disturbed_sizes_of_seven_move_nothing(latency, bandwidth, wrong, factor):
    """But the smallest, from which the latency is known, or the two largest at once."""
    times = timings(latency, bandwidth)
    for k in wrong:
        times[k] = Timing(times[k].bytes, times[k].seconds * factor)
    found = fit_link(times)
    assert found.bandwidth_bytes_per_s == pytest.approx(bandwidth, rel=0.01)
    assert found.latency_s == pytest.approx(latency, rel=0.01, abs=1e-9)
    assert (found.deviation > 0.4) == bool(wrong)


def test_a_latency_is_never_negative():
    found = fit_link([Timing(1e3, 1e-6), Timing(1e4, 2e-5), Timing(1e5, 3e-4)])
    assert found.latency_s >= 0


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([], "a bandwidth needs messages of two sizes at least"),
        ([(8, 1.0), (8, 2.0)], "a bandwidth needs messages of two sizes at least"),
        ([(8, 1.0), (16, 1.0)], "large messages took no longer than small ones"),
        ([(8, 2.0), (16, 1.0)], "large messages took no longer than small ones"),
        ([(8, 0.0), (16, 1.0)], "a message of 8 bytes took 0.0 s"),
        ([(8, float("nan")), (16, 1.0)], "a message of 8 bytes took nan s"),
        ([(8, 1.0), (16, float("inf"))], "a message of 16 bytes took inf s"),
    ],
)
def test_times_that_make_no_sense_are_refused(times, message):
    with pytest.raises(NetworkError, match=message):
        fit_link([Timing(*x) for x in times])


def link(servers=(0, 0), bandwidth=2e9, latency=1e-4, **more) -> MeasuredLink:
    times = tuple(SizeTime(bytes=x, seconds=latency + x / bandwidth) for x in SIZES)
    return MeasuredLink.of(servers, "gloo", times, **more)


CLUSTER = """\
# by hand
servers:
  - name: Server0
    bandwidth_bytes_per_s: 1.0e+8
    gpus: [{gpu: A, count: 2, profile: PROFILE}]
"""


@pytest.fixture
def cluster() -> Path:
    """A cluster of one server in the working directory."""
    profile = write_profile(Path(), chain([1, 1], 1e6, 1e6))
    path = Path("cluster.yaml")
    path.write_text(CLUSTER.replace("PROFILE", str(profile)), encoding="utf-8")
    return path


@pytest.fixture
def measured(monkeypatch) -> list[MeasuredLink]:
    """Stands for what was measured; change it to measure something else."""
    links = [link(all_reduce=tuple(SizeTime(bytes=x, seconds=x / 1e9) for x in SIZES))]
    monkeypatch.setattr(link_launch, "measure_links", lambda _: tuple(links))
    return links


def test_the_file_that_is_written_is_planned_with(cluster, measured):
    answer = command("profile", "--network", "--cluster", cluster, "-o", "new/measured.yaml")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == (
        "Inside Server0 (gloo): 2 GB/s, 100 µs a message; the times of 7 sizes lie within 0 % of "
        "that. An all-reduce moves its bytes at 1 GB/s.\n"
        "Written: new/measured.yaml\n"
    )
    planned = command("plan", "new/measured.yaml", "--json")
    assert planned.code == 0, planned.err
    found = json.loads(planned.out)["instance"]["cluster"]
    assert found["bandwidth_bytes_per_s"] == [[pytest.approx(2e9)]]
    assert found["latency_s"] == [[pytest.approx(1e-4)]]
    assert cluster.read_text().startswith("# by hand"), "the first file is as it was"


def test_a_file_may_be_written_over_itself_and_again(cluster, measured):
    assert command("profile", "--network", "--cluster", cluster, "-o", cluster).code == 0
    once = cluster.read_text()
    assert command("profile", "--network", "--cluster", cluster, "-o", cluster).code == 0
    assert cluster.read_text() == once


def test_figures_alone_as_json(measured):
    answer = command("profile", "--network", "--json")
    assert answer.code == 0
    (found,) = json.loads(answer.out)["links"]
    assert found["servers"] == [0, 0]
    assert found["all_reduce_bytes_per_s"] == pytest.approx(1e9)
    assert len(found["times"]) == len(SIZES)


def test_links_between_servers_are_named(measured, cluster):
    text = cluster.read_text()
    second = text[text.index("  - name") :].replace("Server0", "Server1")
    cluster.write_text(text + second + "links: {bandwidth_bytes_per_s: 5.0e+7}\n")
    measured[:] = [link((0, 1), 1e9, 2e-5)]
    answer = command("profile", "--network", "--cluster", cluster, "-o", cluster)
    assert answer.code == 0, answer.err
    assert answer.out.startswith("Server0 to Server1 (gloo): 1 GB/s, 20 µs a message")
    found = json.loads(command("plan", cluster, "--json").out)["instance"]["cluster"]
    assert found["bandwidth_bytes_per_s"][0] == [1e8, pytest.approx(1e9)]
    assert found["latency_s"][1][0] == pytest.approx(2e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--network -o x.yaml", "name both, or neither to look at the figures"),
        ("--network --cluster cluster.yaml", "name both, or neither to look at the figures"),
        ("--network --cluster none.yaml -o x.yaml", "none.yaml: no such file; expected a cluster"),
        ("--network --cluster wrong.yaml -o x.yaml", "wrong.yaml: servers: is missing"),
        ("--network model:build", "leave MODULE:FACTORY and --from out"),
        ("--network --from x.txt", "leave MODULE:FACTORY and --from out"),
        ("--network --device cuda:1", "--network takes --device cpu or cuda, not 'cuda:1'"),
        ("--network --cores 0", "'0' does not name two or more different cores"),
        ("--network --cores 1,1", "'1,1' does not name two or more different cores"),
        ("--network --cores 0,x", "'0,x' is not a list of cores, such as 0,1"),
        ("--network --cores 0,-1", "'0,-1' is not a list of cores, such as 0,1"),
        ("--cluster cluster.yaml", "--cluster and --cores go with --network"),
        ("--cores 0,1", "--cluster and --cores go with --network"),
    ],
)
def test_bad_options_are_one_line_and_nothing_is_written(arguments, message, cluster, measured):
    Path("wrong.yaml").write_text("gpus: {}\n")
    before = sorted(Path().rglob("*"))
    answer = command("profile", *arguments.split())
    assert answer.code == 2
    assert message in answer.err
    assert len(answer.err.splitlines()) == 1
    assert sorted(Path().rglob("*")) == before


def test_another_number_of_servers_than_was_measured(cluster, measured):
    measured.append(link((0, 1)))
    answer = command("profile", "--network", "--cluster", cluster, "-o", "x.yaml")
    assert answer.code == 2
    assert "the cluster has 1 servers, measured were 2. Start a rank on each" in answer.err
    assert not Path("x.yaml").exists()


def test_an_unwritable_place_is_an_error(cluster, measured):
    Path("taken").mkdir()
    answer = command("profile", "--network", "--cluster", cluster, "-o", "taken")
    assert answer.code == 2
    assert "'taken' is a folder there; expected a file" in answer.err


def test_only_the_first_rank_reports(monkeypatch, measured):
    for name, value in zip(link_launch.TORCHRUN, ("1", "2", "1", "here"), strict=True):
        monkeypatch.setenv(name, value)
    assert command("profile", "--network") == Answer(0, "", "")
    monkeypatch.setenv("RANK", "0")
    assert command("profile", "--network").out.startswith("Inside server 0")


@needs_torch
def test_one_rank_of_torchrun_is_no_link(monkeypatch):
    for name, value in zip(link_launch.TORCHRUN, ("0", "1", "0", "here"), strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(NetworkError, match="torchrun started one rank"):
        link_launch.measure_links(LinkRequest())


def measured_again(request: LinkRequest, tries: int = 5) -> tuple[MeasuredLink, ...]:
    """Measure, and do as the message says where a busy machine leaves no bandwidth to tell."""
    for _ in range(tries - 1):
        with contextlib.suppress(NetworkError):
            return link_launch.measure_links(request)
    return link_launch.measure_links(request)


@needs_torch
def test_two_processes_measure_each_other():
    request = LinkRequest(repeats=15, warm_up=1, sizes_bytes=(4_096, 1 << 20, 1 << 24))
    (found,) = measured_again(request)
    assert (found.servers, found.backend) == ((0, 0), "gloo")
    assert 1e6 < found.bandwidth_bytes_per_s < 1e12
    assert found.all_reduce_bytes_per_s is not None
    assert [x.bytes for x in found.times] == list(request.sizes_bytes)


@needs_torch
@pytest.mark.parametrize("cores", [(0, 9_999), (9_999, 0)])
def test_a_core_that_is_not_there_is_named_and_no_rank_waits_for_the_other(cores):
    request = LinkRequest(repeats=1, cores=cores, sizes_bytes=(8, 16))
    began = time.monotonic()
    with pytest.raises(InputError, match="core 9999"):
        link_launch.measure_links(request)
    assert time.monotonic() - began < 50, "torch.distributed gives up after 60 s"


@needs_torch
def test_without_gpus_nccl_is_refused():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    answer = command("profile", "--network", "--device", "cuda")
    assert answer.code == 2
    assert "nccl needs a GPU for each rank; torch sees 0 here" in answer.err


@pytest.mark.slow
@needs_torch
def test_ranks_of_torchrun_measure_each_other(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", *RANKS.split(), "--repeats", "2", "--json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=120,
        env={**os.environ, "PYTHONPATH": SOURCE},
    )
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["links"]
    assert found["servers"] == [0, 0]
    assert found["bandwidth_bytes_per_s"] > 1e6
