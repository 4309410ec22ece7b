"""A core that trains: ``python -m stagewright.scenarios.reality.neighbour NETWORK CORE PARENT``.

Cores of one machine share caches and memory, and each is slower while the other computes. So a
network is profiled on a core while the other one trains it, as it will when a plan runs.
"""

from __future__ import annotations

import importlib
import itertools
import os
import sys

import torch

from stagewright.scenarios.reality import feeds


def main(network: str, core: int, parent: int) -> None:
    """Run forward and backward passes for as long as the parent lives."""
    os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    feed = importlib.import_module(f"{feeds.__name__}.{network}")
    model = feed.network()
    for number in itertools.count():
        output = model(*feed.minibatch(number % feeds.MINIBATCHES))
        values = getattr(output, "F", output)
        values.square().mean().backward()
        model.zero_grad()
        if number == 0:
            sys.stdout.write("\n")  # says that it has begun
            sys.stdout.flush()
        if os.getppid() != parent:
            return


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
