"""Schedules as text: round trips, bad text, and orders that cannot run."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipelines import pipeline, when

from builders import error_text, one_server
from stagewright.simulation import (
    Conditions,
    Order,
    Pace,
    Schedule,
    parse_schedule,
    simulate,
    simulate_schedule,
)
from stagewright.simulation.machine import build_machine
from stagewright.simulation.orders import make_schedule, windows
from stagewright.simulation.schedule import check_schedule
from strategies import planned

TWO = pipeline(one_server(2), [(1, 2), (1, 2)], [[1], [1]])
REPLICAS = pipeline(one_server(2), [(1, 2)], [[2]])

paces = st.builds(Pace, st.sampled_from(Order), st.integers(0, 3), st.sampled_from([None, 1, 3, 8]))


@settings(max_examples=60)
@given(planned(max_nodes=5, max_servers=2), paces, st.integers(1, 9), st.booleans())
def test_every_schedule_round_trips_and_is_whole(given_plan, pace, minibatches, proportional):
    instance, plan = given_plan
    machine = build_machine(instance, plan)
    conditions = Conditions(dispatch="proportional" if proportional else "equal")
    schedule = make_schedule(machine, minibatches, conditions, pace)
    assert parse_schedule(str(schedule)) == schedule
    assert schedule.minibatches == minibatches
    check_schedule(schedule, [gpu.stage for gpu in machine.gpus])


@settings(max_examples=30)
@given(planned(max_nodes=5, max_servers=2), paces, st.integers(1, 9), st.booleans())
def test_every_schedule_runs_to_its_end_and_the_same_from_text(given_plan, pace, n, overlap):
    instance, plan = given_plan
    conditions = Conditions(overlap=overlap)
    run = simulate(instance, plan, conditions, pace, n)
    again = simulate_schedule(instance, plan, parse_schedule(str(run.schedule)), conditions)
    assert when(again) == when(run)
    forward = sum(run.run.machine.forward_s[gpu.rank] for gpu in run.gpus[:1])
    assert run.makespan_s >= forward


def test_the_text_of_1f1b():
    instance, plan = TWO
    run = simulate(instance, plan, minibatches=3)
    assert str(run.schedule) == (
        "0: 0F0 0F1 0B0 0R0 0F2 0B1 0R1 0B2 0R2\n1: 1F0 1B0 1R0 1F1 1B1 1R1 1F2 1B2 1R2\n"
    )


def test_the_text_of_gpipe():
    instance, plan = TWO
    run = simulate(instance, plan, pace=Pace(Order.GPIPE, group=2), minibatches=3)
    assert str(run.schedule) == (
        "0: 0F0 0F1 0B0 0B1 0R0 0F2 0B2 0R1\n1: 1F0 1F1 1B0 1B1 1R0 1F2 1B2 1R1\n"
    )


@pytest.mark.parametrize(
    ("replicas", "expected"),
    [([1, 1, 1], (3, 2, 1)), ([2, 1, 1], (4, 2, 1)), ([1, 3, 1], (5, 6, 1)), ([4], (4,))],
)
def test_pipedreams_start_up_count(replicas, expected):
    """ceil(sum of the replicas from here on / own replicas), on each of the replicas."""
    instance, plan = pipeline(one_server(8), [(1, 1)] * len(replicas), [[m] for m in replicas])
    assert windows(build_machine(instance, plan)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0: 0F0 0X0", "s.txt:1: found '0X0', expected a step such as 2F0, 2B0 or 2R0"),
        (
            "1: 0F0",
            "s.txt:1: found '1: 0F0', expected the steps of GPU 0, such as '0: 0F0 0B0 0R0'",
        ),
        (
            "0: 0F0\n\nnonsense",
            "s.txt:3: found 'nonsense', expected the steps of GPU 1, such as '1: 0F0 0B0 0R0'",
        ),
        ("0:", "s.txt:1: GPU 0 does nothing; expected steps of one stage"),
        ("0: 0F0 1B0", "s.txt:1: GPU 0 works for 2 stages; expected steps of one stage"),
        ("0: 0F٣", "s.txt:1: found '0F٣', expected a step such as 2F0, 2B0 or 2R0"),
    ],
)
def test_bad_text(text, message):
    assert error_text(lambda: parse_schedule(text, "s.txt")) == message


@pytest.mark.parametrize(
    ("case", "text", "message"),
    [
        (TWO, "0: 0F0 0B0\n", "the schedule is for GPUs with stages 0, the plan has 0, 1"),
        (TWO, "0: 0R0\n1: 1R0\n", "the schedule passes no minibatch"),
        (TWO, "0: 0F0 0B0\n1: 1F0\n", "1B0 is missing"),
        (TWO, "0: 0F0 0B0 0F1 0B1\n1: 1F0 1B0\n", "1F1 is missing"),
        (TWO, "0: 0F0 0B0\n1: 1F0 1B0 1F1 1B1\n", "1F1 is one minibatch too many"),
        (
            TWO,
            "0: 0B0 0F0\n1: 1F0 1B0\n",
            "0B0 does not follow its forward pass once on its GPU's line",
        ),
        (TWO, "0: 0F0 0F0 0B0\n1: 1F0 1B0\n", "0F0 comes twice on its GPU's line"),
        (
            REPLICAS,
            "0: 0F0 0B0 0R0\n1: 0F1 0B1\n",
            "the replicas of stage 0 must make the same updates, 0R0, 0R1, …, in this order",
        ),
    ],
)
def test_schedules_that_do_not_fit(case, text, message):
    assert error_text(lambda: simulate_schedule(*case, parse_schedule(text))) == message


def test_a_schedule_that_comes_to_a_halt_names_the_step():
    """Stage 0 wants minibatch 0 back before it sends minibatch 1, stage 1 waits for both."""
    text = "0: 0F0 0B0 0F1 0B1\n1: 1F0 1F1 1B0 1B1\n"
    assert error_text(lambda: simulate_schedule(*TWO, parse_schedule(text))) == (
        "the schedule comes to a halt: GPU 0 waits at 0B0 for ever, its step 2 of 4. Every step "
        "must come after what it needs, on all GPUs together"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pace(slack=-1), "a slack of -1; expected 0 to 100"),
        (lambda: Pace(group=0), "a group of 0 minibatches; expected 1 or more"),
        (lambda: simulate(*TWO, minibatches=0), "0 minibatches; expected 1 or more"),
        (
            lambda: simulate(*TWO, minibatches=2_000_000),
            "2,000,000 minibatches on 2 GPUs are too many to simulate. Their product may be at "
            "most 3,000,000",
        ),
    ],
)
def test_numbers_out_of_range(make, message):
    assert error_text(make) == message


def test_a_schedule_of_ones_own_is_run():
    instance, plan = TWO
    own = Schedule((0, 1), ((("F", 0), ("B", 0)), (("F", 0), ("B", 0))))
    run = simulate_schedule(instance, plan, own)
    assert (run.makespan_s, run.pace) == (6, None)
