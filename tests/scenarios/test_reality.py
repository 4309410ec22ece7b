"""The closed loop: its judgement on given numbers, its parts, and a tiny network all the way."""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import stagewright
from builders import chain
from stagewright.formulation.problem import Problem, Settings
from stagewright.model.cluster import Cluster, GpuGroup
from stagewright.model.costs import Topology
from stagewright.model.instance import build_instance
from stagewright.model.plan import Plan, Stage
from stagewright.model.profile_document import read_profile_document
from stagewright.profile.link_document import SizeTime
from stagewright.scenarios.reality import gate, loop
from stagewright.scenarios.reality.__main__ import main
from stagewright.scenarios.reality.cores import half_speed, kept_awake
from stagewright.scenarios.reality.cuts import candidates
from stagewright.scenarios.reality.feeds import MINIBATCHES, number_of
from stagewright.scenarios.reality.loop import QUIET, _least_disturbed
from stagewright.scenarios.reality.measured import Effort, Replicas, mean_of
from stagewright.scenarios.reality.metronome import BEAT_S, Beat
from stagewright.scenarios.reality.others import Watch
from stagewright.scenarios.reality.processes import family, processor_ticks
from stagewright.scenarios.reality.turns import COUNTED, UNDER_WAY, Turn, Work, _cores_by_rank
from stagewright.scenarios.reality.verdict import TIE, Kind, Row, judge, ratio

SAMPLE = Path(__file__).parents[2] / "hete_files" / "profiles" / "minkvgg.profile.json"
SOURCE = str(Path(stagewright.__file__).parents[1])
linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")


def row(kind: Kind, predicted: float, *rounds: float) -> Row:
    return Row(kind, f"{kind} {predicted}", predicted, rounds)


GOOD = (
    row(Kind.CHOSEN, 1.0, 1.1, 1.0, 9.0),
    row(Kind.WORSE, 1.3, 1.4, 1.2, 9.9),
    row(Kind.WORSE, 1.6, 1.7, 1.5, 14.0),
    row(Kind.SINGLE, 2.0, 2.1, 1.9, 19.0),
)


def test_what_happens_as_predicted_holds():
    verdict = judge(GOOD)
    assert verdict.fails == ()
    assert len(verdict.holds) == 6 + 2 + 1


def test_rows_state_the_median_and_the_error():
    found = row(Kind.CHOSEN, 1.0, 4.0, 0.8, 0.8)
    assert found.measured_s == 0.8
    assert found.error == pytest.approx(0.25)


def test_a_disturbed_round_disturbs_all_plans_and_no_ratio():
    assert ratio(GOOD[3], GOOD[0]) == pytest.approx(1.909, rel=1e-3)


@pytest.mark.parametrize(
    ("rows", "fails"),
    [
        (
            (row(Kind.CHOSEN, 1.0, 1.0), row(Kind.DATA_PARALLEL, 1.2, 0.9)),
            ["data-parallel 1.2 takes 0.90 times as long as chosen (cpsat) 1.0, predicted 1.20"],
        ),
        (
            (row(Kind.CHOSEN, 1.0, 1.0), row(Kind.SINGLE, 1.05, 1.0)),
            ["chosen (cpsat) 1.0 takes 1.00 times as long as single 1.05, less than 1"],
        ),
        (
            (row(Kind.CHOSEN, 1.0, 1.1), row(Kind.WORSE, 1.05, 1.0)),
            ["chosen (cpsat) 1.0 takes 1.10 times as long as worse cut 1.05, at most 1"],
        ),
        ((row(Kind.CHOSEN, 1.0, 1.1), row(Kind.DATA_PARALLEL, 0.95 * (1 + TIE), 1.0)), []),
        ((row(Kind.CHOSEN, 1.0, 1.0), row(Kind.WORSE, 1.3, 1.0)), ["worse cut 1.3 takes 1.00"]),
    ],
)
def test_what_does_not_hold_is_said(rows, fails):
    found = judge(rows).fails
    assert len(found) == len(fails)
    for text, start in zip(found, fails, strict=True):
        assert text.startswith(start)


def plan(*counts: tuple[int, ...]) -> Plan:
    return Plan(tuple(Stage((f"n{k}",), x) for k, x in enumerate(counts)), "test")


def test_the_middle_of_a_pipelines_step_counts():
    work = Work.of(plan((1, 0), (0, 1)))
    filling = 2 + UNDER_WAY
    assert (work.steps, work.microbatches) == (1, 2 * filling + COUNTED + 1)
    filled = [0.1 * k for k in range(2 * filling)]
    starts = [*filled, *(7.0 + 0.5 * k for k in range(COUNTED + 1))]
    steps = [{"step": 0, "gradients_s": 99.0, "forward_starts_s": starts}]
    assert work.period_s(steps) == pytest.approx(0.5)


def test_all_of_a_replicated_stages_steps_count_but_the_first():
    work = Work.of(plan((1, 1)))
    took_s = [50.0, *([2.0] * (COUNTED // 2 - 1)), 2.0 + COUNTED]
    steps = [{"gradients_s": x, "forward_starts_s": [0.0]} for x in took_s]
    assert (work.steps, work.microbatches) == (len(steps), 2)
    assert work.period_s(steps) == pytest.approx(1.0 + 1.0)


@pytest.mark.parametrize("counts", [((1, 0),), ((1, 1),), ((1, 0), (0, 1))])
def test_all_minibatches_count_equally_often(counts):
    work = Work.of(plan(*counts))
    seen = [number_of(s, k) for s in range(work.steps) for k in range(work.microbatches)]
    counted = seen[work.skipped : work.skipped + work.counted]
    assert sorted(counted) == sorted([*range(MINIBATCHES)] * (work.counted // MINIBATCHES))


REPLICAS = Replicas(all_reduce_bytes_per_s=1e9, waiting_s=0.0)


def problem(times: list[float], slower: float, parameters: float = 0.0) -> Problem:
    graphs = {
        gpu: chain([x * factor for x in times], 1e5, parameters)
        for gpu, factor in (("core0", 1.0), ("core1", slower))
    }
    groups = (GpuGroup(0, "core0", 1), GpuGroup(0, "core1", 1))
    cluster = Cluster(("Server0",), groups, ((1e9,),), ((1e-4,),))
    return Problem(build_instance(graphs, cluster), Topology(overlap=False))


def test_plans_to_run_are_the_chosen_one_those_by_hand_and_two_worse():
    found = candidates(problem([10.0] * 20, 2.0, 1e7), Settings(workers=1), REPLICAS)
    assert [x.kind for x in found] == [
        Kind.SINGLE,
        Kind.DATA_PARALLEL,
        Kind.CHOSEN,
        Kind.WORSE,
        Kind.WORSE,
    ]
    periods = sorted(x.predicted_s for x in found)
    assert all(slow > 1.19 * fast for fast, slow in itertools.pairwise(periods))
    assert found[2].stages == "14 core0 | 6 core1"
    assert found[0].stages == "20 core0"


def test_worse_cuts_are_as_much_worse_as_they_should_be_where_nothing_else_is():
    found = candidates(problem([10.0] * 60, 1.0, 1e7), Settings(workers=1), REPLICAS)
    best, *worse = (x.predicted_s for x in found if x.kind in {Kind.CHOSEN, Kind.WORSE})
    assert [x / best for x in worse] == [pytest.approx(1.3, abs=0.03), pytest.approx(1.6, abs=0.03)]


def test_a_chosen_plan_that_is_one_by_hand_comes_once():
    found = candidates(problem([10.0] * 8, 1.0), Settings(workers=1), REPLICAS)
    kinds = [x.kind for x in found]
    assert kinds == [Kind.SINGLE, Kind.CHOSEN, Kind.WORSE, Kind.WORSE]
    assert found[1].stages == "8 core0 + core1"


def test_replicas_are_predicted_with_their_all_reduce_and_their_waiting():
    given = problem([10.0] * 20, 1.0, 1e6)
    found = [
        {x.kind: x.predicted_s for x in candidates(given, Settings(workers=1), replicas)}
        for replicas in (REPLICAS, Replicas(all_reduce_bytes_per_s=1e8, waiting_s=0.03))
    ]
    parallel_s = [x[Kind.DATA_PARALLEL] for x in found]
    # Two replicas exchange 20 MB once in two minibatches: 0.2 s instead of 0.02 s.
    assert parallel_s[1] - parallel_s[0] == pytest.approx((0.2 - 0.02 + 0.03) / 2)
    assert found[0][Kind.SINGLE] == found[1][Kind.SINGLE]
    assert found[0][Kind.CHOSEN] == found[1][Kind.CHOSEN]


def profiled(minibatches_ms: list[float], parameter_bytes: float) -> SimpleNamespace:
    """As much of a profile as replicas are read from: one layer, all of its time forward."""
    forward = SimpleNamespace(minibatches_ms=minibatches_ms)
    backward = SimpleNamespace(minibatches_ms=[0.0] * len(minibatches_ms))
    node = SimpleNamespace(forward=forward, backward=backward, parameter_bytes=parameter_bytes)
    return SimpleNamespace(nodes=[node])


def test_replicas_wait_for_the_longer_of_their_minibatches():
    times = [SizeTime(bytes=x, seconds=s) for x, s in ((1e6, 0.01), (3e6, 0.05))]
    link = SimpleNamespace(all_reduce_times=times)
    # Steps have minibatches 0 and 1, then 2 and 3; the second core is slower on average.
    cores = [profiled([10.0, 0.0, 40.0, 0.0], 2e6), profiled([0.0, 30.0, 0.0, 30.0], 2e6)]
    found = Replicas.of(cores, link)
    assert found.all_reduce_bytes_per_s == pytest.approx(2e6 / 0.03)
    assert found.waiting_s == pytest.approx((30 + 40) / 2 * 1e-3 - 15e-3)


def alike(times: list[float]) -> Problem:
    """Two GPUs of one type."""
    cluster = Cluster(("Server0",), (GpuGroup(0, "core", 2),), ((1e9,),), ((1e-4,),))
    return Problem(
        build_instance({"core": chain(times, 1e5, 1e7)}, cluster), Topology(overlap=False)
    )


def test_gpus_of_one_type_are_cut_and_placed_like_any_others():
    found = candidates(alike([10.0] * 20), Settings(workers=1), REPLICAS)
    by_kind = {x.kind: x for x in found}
    assert [x.kind for x in found].count(Kind.WORSE) == 2
    assert by_kind[Kind.CHOSEN].stages == "10 core | 10 core"
    assert by_kind[Kind.DATA_PARALLEL].stages == "20 core + core"
    cores = [("core", 4), ("core", 7)]
    for kind, expected in ((Kind.SINGLE, [4]), (Kind.DATA_PARALLEL, [4, 7]), (Kind.WORSE, [4, 7])):
        assert _cores_by_rank(by_kind[kind].planned, cores) == expected


def test_a_type_of_gpu_takes_what_its_cores_take_on_average():
    first = read_profile_document(SAMPLE)
    slower = first.model_copy(
        update={
            "nodes": tuple(
                node.model_copy(
                    update={
                        "forward": node.forward.model_copy(
                            update={
                                "median_ms": 3 * node.forward.median_ms,
                                "minibatches_ms": tuple(3 * x for x in node.forward.minibatches_ms),
                            }
                        )
                    }
                )
                for node in first.nodes
            ),
            "step": first.step.model_copy(update={"total_ms": 5 * first.step.total_ms}),
        }
    )
    mean = mean_of([first, slower])
    for node, found in zip(first.nodes, mean.nodes, strict=True):
        assert found.forward.median_ms == pytest.approx(2 * node.forward.median_ms)
        assert found.forward.minibatches_ms == pytest.approx(
            [2 * x for x in node.forward.minibatches_ms]
        )
        assert found.backward.median_ms == pytest.approx(node.backward.median_ms)
        assert found.activation_bytes == node.activation_bytes
    assert mean.step.total_ms == pytest.approx(3 * first.step.total_ms)
    assert mean.graph().layers[0].id == first.nodes[0].id
    assert mean_of([first]).graph() == first.graph()


def test_ranks_run_on_the_cores_of_their_gpus():
    found = candidates(problem([10.0] * 20, 2.0, 1e7), Settings(workers=1), REPLICAS)
    cores = [("core0", 4), ("core1", 7)]
    by_kind = {x.kind: _cores_by_rank(x.planned, cores) for x in found}
    assert by_kind[Kind.SINGLE] == [4]
    assert by_kind[Kind.DATA_PARALLEL] == [4, 7]
    assert by_kind[Kind.CHOSEN] == [4, 7]


class Played:
    """A runner whose turns are known."""

    def __init__(self, *turns: Turn) -> None:
        self.left = list(turns)

    def run(self) -> Turn:
        return self.left.pop(0)


def test_the_least_disturbed_turn_counts_however_long_it_took():
    played = Played(Turn(0.5, 1.0), Turn(0.2, 9.0), Turn(0.3, 2.0), Turn(0.0, 1.0))
    assert _least_disturbed(played, 3) == Turn(0.2, 9.0)
    assert len(played.left) == 1


def test_a_quiet_turn_is_not_repeated():
    played = Played(Turn(0.5, 1.0), Turn(QUIET, 9.0), Turn(0.0, 2.0))
    assert _least_disturbed(played, 5) == Turn(QUIET, 9.0)


def test_every_plan_has_its_turn_before_any_has_the_next(tmp_path, monkeypatch):
    ran: list[str] = []

    class Logged:
        def __init__(self, name: str) -> None:
            self.name = name

        def run(self) -> Turn:
            ran.append(self.name)
            return Turn(0.0, float(len(ran)))

    @contextmanager
    def logged(planned, network, placed, folder, turns):
        assert turns == 1 + 2 * 3 * 5
        yield Logged(folder.name)

    monkeypatch.setattr(loop, "running", logged)
    plans = [SimpleNamespace(planned=None, kind=x, stages="", predicted_s=1.0) for x in Kind][:2]
    effort = Effort(rounds=2, turns=3, tries=5)
    rows = loop._in_turns(plans, "tiny", [("core", 0), ("core", 1)], tmp_path, effort)
    assert ran == ["plan0", "plan1"] * (1 + 2 * 3)
    # The first turn of each warms up: 3, 5, 7 and 9, 11, 13 are those of the first plan.
    assert [row.rounds_s for row in rows] == [(5.0, 11.0), (6.0, 12.0)]


def test_turns_of_a_round_count_alike():
    assert Turn.mean_of([Turn(0.0, 1.0), Turn(0.04, 4.0)]) == Turn(0.02, 2.5)


def test_a_turn_waits_until_it_is_opened(tmp_path, monkeypatch):
    gate.wait(7)
    for name, value in gate.environment(tmp_path, 3).items():
        monkeypatch.setenv(name, value)
    gate.open_turn(tmp_path, 0)
    gate.open_turn(tmp_path, 2)
    for step in (0, 2, 6, 8):
        gate.wait(step)
    monkeypatch.setattr(time, "sleep", lambda _: gate.open_turn(tmp_path, 1))
    gate.wait(3)
    assert (tmp_path / "turn1").exists()


@linux
def test_processes_of_our_own_are_not_others():
    core = min(os.sched_getaffinity(0))
    program = f"import os, time; os.sched_setaffinity(0, {{{core}}}); end = time.time() + 1.5\n"
    program += "while time.time() < end: pass"
    ours = subprocess.Popen([sys.executable, "-c", program])
    time.sleep(0.3)
    watch = Watch.start([core])
    time.sleep(0.8)
    now = Watch.start([core])
    ours.wait()
    assert now.busy_s - watch.busy_s >= 0.6
    assert now.own_s - watch.own_s > 0.1
    assert 0 <= watch.others() <= 1


@linux
def test_what_keeps_another_core_awake_hides_no_other_program():
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        pytest.skip("needs two cores")
    burn = f"import os, time; os.sched_setaffinity(0, {{{cores[0]}}}); end = time.time() + 3\n"
    burn += "while time.time() < end: pass"
    # Its parent ends at once, so it is nobody's here.
    start = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {burn!r}])"
    with kept_awake(cores):
        subprocess.run([sys.executable, "-c", start], check=True)
        time.sleep(0.5)
        watch = Watch.start(cores[:1])
        time.sleep(1.0)
        assert watch.others() > 0.5


@given(late=st.lists(st.floats(0, 0.1), min_size=50, max_size=50))
def test_half_of_the_time_runs_however_late_the_beats_are(late):
    beat = Beat(0.0)
    now_s = 0.0
    for delay in [*late, *[0.0] * 1000]:
        run_s = beat.run_for(now_s)
        assert 0 <= run_s <= BEAT_S
        if run_s:
            beat.ran_s += run_s + delay
        now_s += max(BEAT_S, run_s + delay)
    assert beat.ran_s == pytest.approx(now_s / 2, abs=BEAT_S)


WORKS_AND_WAITS = """\
import os, time
os.sched_setaffinity(0, {%d})
print("there", flush=True)
time.sleep(1)
while True:
    time.sleep(0.03)
    real, own = time.monotonic(), time.process_time()
    while time.process_time() < own + 0.03:
        pass
    print(time.monotonic() - real, flush=True)
"""


def state(process: subprocess.Popen[str]) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


@linux
def test_half_a_core_is_as_slow_after_a_wait_and_whole_again_afterwards():
    core = max(os.sched_getaffinity(0))
    program = [sys.executable, "-c", WORKS_AND_WAITS % core]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "there\n"
            with half_speed(core):
                took_s = [float(process.stdout.readline()) for _ in range(20)]
            assert statistics.median(took_s) > 1.7 * 0.03
            assert state(process) != "T"
            process.stdout.readline()
            assert process.stdout.readline(), "it goes on"
        finally:
            process.kill()


@linux
def test_a_core_is_kept_awake_by_what_takes_nobodys_time():
    core = max(os.sched_getaffinity(0))
    with kept_awake([core]), half_speed(core):
        time.sleep(1.0)
        (awake,) = (x for x in family(os.getpid()) if os.sched_getscheduler(x) == os.SCHED_IDLE)
        assert os.sched_getaffinity(awake) == {core}
        before, states = processor_ticks(awake), set()
        deadline = time.monotonic() + 30
        while processor_ticks(awake) == before and time.monotonic() < deadline:
            states |= {Path(f"/proc/{awake}/stat").read_text().rpartition(")")[2].split()[0]}
            time.sleep(0.02)
        assert processor_ticks(awake) > before
        assert states <= {"R"}, "half a core's does not stop"
    assert processor_ticks(awake) is None


@linux
def test_what_runs_elsewhere_is_left_alone():
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("needs two cores")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        try:
            os.sched_setaffinity(process.pid, {cores[0]})
            with half_speed(cores[1]):
                seen = {state(process) for _ in range(60) if time.sleep(0.02) is None}
            assert "T" not in seen
        finally:
            process.kill()


@linux
def test_a_folder_that_exists_is_left_alone(tmp_path):
    found = CliRunner().invoke(main, ["-o", str(tmp_path)])
    assert found.exit_code == 2
    assert "exists; name another folder with -o" in found.output


@pytest.mark.slow
@linux
def test_a_tiny_network_all_the_way(tmp_path):
    pytest.importorskip("torch")
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("two cores stand for two GPUs")
    options = "--network tiny --cluster mixed --rounds 1 --turns 1 --repeats 1 --tries 1 -o out"
    done = subprocess.run(
        [sys.executable, "-m", "stagewright.scenarios.reality", *options.split()],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=600,
        env={**os.environ, "PYTHONPATH": SOURCE},
    )
    assert done.returncode in {0, 1}, done.stderr
    assert "tiny, a core and half a core, 1 rounds" in done.stdout
    assert "chosen (cpsat)" in done.stdout
    assert " statements hold." in done.stdout
    folder = tmp_path / "out" / "tiny" / "core-half-core"
    assert (folder / "cluster.yaml").exists()
    assert (folder / "half-core.profile.json").exists()
    for package in folder.glob("plan*"):
        assert "Error" not in (package / "output.txt").read_text()
