"""Small cases whose every event is worked out by hand, in seconds."""

from __future__ import annotations

import pytest
from pipelines import pipeline, when

from builders import cluster_of, one_server
from stagewright.simulation import Conditions, Links, Order, Pace, simulate

FREE = Conditions(compression_ratio=None)
"""Transfers take no time."""


def test_one_gpu_takes_turns_with_itself():
    instance, plan = pipeline(one_server(1), [(1, 2)], [[1]])
    run = simulate(instance, plan, FREE, minibatches=3)
    assert when(run) == {
        "0F0": (0, 1),
        "0B0": (1, 3),
        "0F1": (3, 4),
        "0B1": (4, 6),
        "0F2": (6, 7),
        "0B2": (7, 9),
    }
    assert (run.makespan_s, run.fill_s, run.drain_s) == (9, 0, 0)
    assert run.period_s is None
    assert run.gpu_figures[0].bubble_share == 0


def test_two_stages_in_1f1b_order():
    """Stage 0 has two minibatches in flight, stage 1 has one."""
    instance, plan = pipeline(one_server(2), [(1, 2), (1, 2)], [[1], [1]])
    run = simulate(instance, plan, FREE, minibatches=4)
    assert when(run) == {
        "0F0": (0, 1),
        "0F1": (1, 2),
        "1F0": (1, 2),
        "1B0": (2, 4),
        "0B0": (4, 6),
        "1F1": (4, 5),
        "1B1": (5, 7),
        "0F2": (6, 7),
        "0B1": (7, 9),
        "1F2": (7, 8),
        "1B2": (8, 10),
        "0F3": (9, 10),
        "0B2": (10, 12),
        "1F3": (10, 11),
        "1B3": (11, 13),
        "0B3": (13, 15),
    }
    assert (run.makespan_s, run.fill_s, run.drain_s) == (15, 1, 2)
    assert [x.bubble_share for x in run.gpu_figures] == pytest.approx([3 / 15, 3 / 15])


def test_transfers_are_not_hidden_by_the_start_up_count():
    """Half a second each way: the two stages wait for one another, 7 s for 2 minibatches."""
    instance, plan = pipeline(one_server(2, 1e9), [(1, 2), (1, 2)], [[1], [1]], 5e8)
    run = simulate(instance, plan, Conditions(), minibatches=3)
    assert when(run) == {
        "0F0": (0, 1),
        "0A0": (1, 1.5),
        "0F1": (1, 2),
        "0A1": (2, 2.5),
        "1F0": (1.5, 2.5),
        "1B0": (2.5, 4.5),
        "1G0": (4.5, 5),
        "0B0": (5, 7),
        "1F1": (4.5, 5.5),
        "1B1": (5.5, 7.5),
        "1G1": (7.5, 8),
        "0F2": (7, 8),
        "0A2": (8, 8.5),
        "0B1": (8, 10),
        "1F2": (8.5, 9.5),
        "1B2": (9.5, 11.5),
        "1G2": (11.5, 12),
        "0B2": (12, 14),
    }
    assert simulate(instance, plan).period_s == pytest.approx(7 / 2)
    assert simulate(instance, plan, pace=Pace(slack=1)).period_s == pytest.approx(3)


def test_replicas_wait_for_the_slowest_and_average_their_gradients():
    """The second GPU takes twice as long; 5e8 bytes over 1e9 bytes/s, so 0.5 s a round."""
    cluster = one_server({"TitanV": 1, "TitanXP": 1}, 1e9)
    instance, plan = pipeline(cluster, [(1, 2)], [[1, 1]], 0, 5e8, slower={"TitanXP": 2})
    run = simulate(instance, plan, minibatches=4)
    assert when(run) == {
        "0F0": (0, 1),
        "0B0": (1, 3),
        "1F1": (0, 2),
        "1B1": (2, 6),
        "0R0": (6, 6.5),
        "1R0": (6, 6.5),
        "0F2": (6.5, 7.5),
        "0B2": (7.5, 9.5),
        "1F3": (6.5, 8.5),
        "1B3": (8.5, 12.5),
        "0R1": (12.5, 13),
        "1R1": (12.5, 13),
    }
    assert simulate(instance, plan).period_s == pytest.approx(6.5 / 2)


def test_gpipe_runs_forward_first_and_flushes():
    """Groups of two; no GPU begins the next group before its own last backward pass."""
    instance, plan = pipeline(one_server(2), [(1, 2), (1, 2)], [[1], [1]])
    run = simulate(instance, plan, FREE, Pace(Order.GPIPE, group=2), 4)
    first = {
        "0F0": (0, 1),
        "0F1": (1, 2),
        "1F0": (1, 2),
        "1F1": (2, 3),
        "1B0": (3, 5),
        "1B1": (5, 7),
        "0B0": (5, 7),
        "0B1": (7, 9),
    }
    second = {f"{x[:2]}{int(x[2]) + 2}": (a + 9, b + 9) for x, (a, b) in first.items()}
    assert when(run) == first | second
    assert run.makespan_s == 18
    assert simulate(instance, plan, FREE, Pace(Order.GPIPE, group=2)).period_s == pytest.approx(4.5)


def test_flushes_with_1f1b_hold_less_and_take_as_long():
    instance, plan = pipeline(one_server(2), [(1, 2), (1, 2)], [[1], [1]], 10)
    run = simulate(instance, plan, FREE, Pace(Order.FLUSH, group=4), 8)
    # One bubble of a forward and a backward pass for each group of 4: (4 + 1) × 3 s.
    assert run.makespan_s == 2 * 15
    gpipe = simulate(instance, plan, FREE, Pace(Order.GPIPE, group=4), 8)
    assert gpipe.makespan_s == 2 * 15
    assert [x.peak_bytes for x in run.gpu_figures] == [20, 10]
    assert [x.peak_bytes for x in gpipe.gpu_figures] == [40, 40]


def test_a_network_card_carries_one_message_at_a_time():
    """Stages 0 and 2 in one server, stage 1 in another; 1 s a message.

    At 2.5 s the second cut asks for cards that carry minibatch 1 over the first until 3 s.
    """
    cluster = cluster_of([{"TitanV": 2}, {"TitanV": 1}], 1e9, 1e9)
    instance, plan = pipeline(cluster, [(1, 1), (0.5, 1), (1, 1)], [[1, 0], [0, 1], [1, 0]], 1e9)
    shared = when(simulate(instance, plan, Conditions(links=Links.CARDS), minibatches=2))
    own = when(simulate(instance, plan, Conditions(links=Links.OWN), minibatches=2))
    expected = {"0F0": (0, 1), "0A0": (1, 2), "0F1": (1, 2), "2F0": (2, 2.5), "0A1": (2, 3)}
    assert expected.items() <= shared.items()
    assert expected.items() <= own.items()
    assert (own["2A0"], own["1F0"]) == ((2.5, 3.5), (3.5, 4.5))
    assert (shared["2A0"], shared["1F0"]) == ((3, 4), (4, 5))


def test_a_stage_that_recomputes_runs_forward_again():
    instance, plan = pipeline(one_server(1), [(1, 2)], [[1]], 8, recompute=True)
    run = simulate(instance, plan, FREE, minibatches=2)
    assert when(run) == {
        "0F0": (0, 1),
        "0C0": (1, 2),
        "0B0": (2, 4),
        "0F1": (4, 5),
        "0C1": (5, 6),
        "0B1": (6, 8),
    }
    assert run.gpu_figures[0].recompute_s == 2


def test_without_overlap_a_gpu_waits_for_its_input():
    """GPU 1 computes nothing during the half second of each activation and gradient."""
    instance, plan = pipeline(one_server(2, 1e9), [(1, 2), (1, 2)], [[1], [1]], 5e8)
    run = simulate(instance, plan, Conditions(overlap=False), minibatches=2)
    assert when(run) == {
        "0F0": (0, 1),
        "0F1": (1, 2),
        "0A0": (1, 1.5),
        "1F0": (1.5, 2.5),
        "1B0": (2.5, 4.5),
        "1G0": (4.5, 5),
        "0B0": (5, 7),
        "0A1": (5, 5.5),
        "1F1": (5.5, 6.5),
        "1B1": (6.5, 8.5),
        "1G1": (8.5, 9),
        "0B1": (9, 11),
    }
    assert run.gpu_figures[1].transfer_s == 2


def test_latency_is_that_of_the_round_trip():
    cluster = cluster_of([{"TitanV": 1}, {"TitanV": 1}], 1e9, 1e9, latency_s=0.5)
    instance, plan = pipeline(cluster, [(1, 1), (1, 1)], [[1, 0], [0, 1]], 1e9)
    times = when(simulate(instance, plan, Conditions(compression_ratio=2), minibatches=1))
    assert (times["0A0"], times["1G0"]) == ((1, 1.75), (3.75, 4.5))


def test_a_message_enters_its_second_link_when_that_is_free():
    """Two senders, one receiver: the second message leaves at once and is received after the first."""
    instance, plan = pipeline(one_server(3, 1e9), [(1, 1), (0, 0)], [[2], [1]], 1e9)
    times = when(simulate(instance, plan, minibatches=2))
    assert (times["0A0"], times["1A1"]) == ((1, 2), (1, 3))


def test_proportional_dispatch_gives_a_slow_gpu_less():
    cluster = one_server({"TitanV": 1, "TitanXP": 1})
    instance, plan = pipeline(cluster, [(1, 2)], [[1, 1]], slower={"TitanXP": 2})
    run = simulate(instance, plan, Conditions(dispatch="proportional"), minibatches=6)
    assert str(run.schedule) == (
        "0: 0F0 0B0 0R0 0F2 0F3 0B2 0B3 0R1 0F5 0B5 0R2\n1: 0F1 0B1 0R0 0R1 0F4 0B4 0R2\n"
    )
    assert run.makespan_s == 12
    assert simulate(instance, plan, Conditions(dispatch="proportional")).period_s == pytest.approx(2)
