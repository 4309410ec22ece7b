"""A hundred GPUs and a thousand minibatches: seconds."""

from __future__ import annotations

import time

import pytest
from pipelines import pipeline

from builders import cluster_of
from stagewright.simulation import simulate

SERVERS = 25
LIMIT_S = 5.0


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_a_hundred_gpus_and_a_thousand_minibatches(replicas):
    """CPU time of this process, so that what else runs does not count; figures included."""
    cluster = cluster_of([{"TitanV": 4}] * SERVERS, 1e9, 1e9)
    stages = 100 // replicas
    homes = [[0] * SERVERS for _ in range(stages)]
    for gpu in range(100):
        homes[gpu // replicas][gpu // 4] += 1
    instance, plan = pipeline(cluster, [(1, 2)] * stages, homes, 1e7, 1e7)
    began = time.process_time()
    run = simulate(instance, plan, minibatches=1000)
    figures = run.gpu_figures
    assert len(figures) == 100
    assert run.minibatches == 1000
    assert time.process_time() - began < LIMIT_S
