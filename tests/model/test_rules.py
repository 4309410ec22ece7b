"""The memory that a stage needs under 1F1B."""

from __future__ import annotations

import pytest

from stagewright.model.rules import MemoryModel, Optimizer, Versions

# A stage of 10 bytes of activations and 100 bytes of parameters, 3 minibatches in flight:
# activations 3 * 10 = 30; weights: versions + 1 gradient + optimizer state, times 100.
ACTIVATION_BYTES, PARAMETER_BYTES, IN_FLIGHT = 10.0, 100.0, 3


@pytest.mark.parametrize(
    ("versions", "optimizer", "expected_bytes"),
    [
        ("stash", "sgd", 30 + (3 + 1 + 0) * 100),
        ("stash", "momentum", 30 + (3 + 1 + 1) * 100),
        ("stash", "adam", 30 + (3 + 1 + 2) * 100),
        ("2bw", "sgd", 30 + (2 + 1 + 0) * 100),
        ("2bw", "momentum", 30 + (2 + 1 + 1) * 100),
        ("2bw", "adam", 30 + (2 + 1 + 2) * 100),
        ("flush", "sgd", 30 + (1 + 1 + 0) * 100),
        ("flush", "momentum", 30 + (1 + 1 + 1) * 100),
        ("flush", "adam", 30 + (1 + 1 + 2) * 100),
    ],
)
def test_a_replica_holds_activations_versions_gradient_and_optimizer_state(
    versions, optimizer, expected_bytes
):
    memory = MemoryModel(Versions(versions), Optimizer(optimizer))
    assert memory.stage_bytes(ACTIVATION_BYTES, PARAMETER_BYTES, IN_FLIGHT) == expected_bytes


def test_only_stashing_keeps_a_version_per_minibatch_in_flight():
    copies = {v: [MemoryModel(v).weight_copies(f) for f in (1, 2, 5)] for v in Versions}
    assert copies == {
        Versions.STASH: [1 + 1, 2 + 1, 5 + 1],
        Versions.TWO_BW: [3, 3, 3],
        Versions.FLUSH: [2, 2, 2],
        Versions.ONCE: [1, 1, 1],
    }


@pytest.mark.parametrize(
    ("replicas", "from_here", "expected"),
    [(1, 1, 1), (1, 4, 4), (2, 3, 2), (2, 4, 2), (3, 4, 2), (3, 3, 1), (4, 5, 2), (3, 7, 3)],
)
def test_minibatches_in_flight_are_later_replicas_over_own_rounded_up(
    replicas, from_here, expected
):
    assert MemoryModel().in_flight(replicas, from_here) == expected


def test_the_default_is_weight_stashing_with_plain_sgd():
    assert MemoryModel() == MemoryModel(Versions.STASH, Optimizer.SGD)
