"""Running plans in turns, each with its own torchrun, and reading how long minibatches took."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stagewright.emit.package import emit_package, staged_from_plan
from stagewright.formulation.run import Planned
from stagewright.model.errors import NetworkError
from stagewright.model.files import write_files
from stagewright.model.plan import Plan
from stagewright.scenarios.reality import gate, pinned
from stagewright.scenarios.reality.feeds import MINIBATCHES
from stagewright.scenarios.reality.measured import FEEDS
from stagewright.scenarios.reality.others import Watch

TIMES = "times.jsonl"
TIMEOUT_S = 300.0

COUNTED = 3 * MINIBATCHES
"""Minibatches of a turn that count: one takes up to 15 % more or less than the next."""

UNDER_WAY = 4
"""Minibatches that may wait at each cut, so that stages seldom wait for each other: the period of
the cost model is the longest of the stages' mean times, not the mean of the longest."""


@dataclass(frozen=True)
class Work:
    """What a plan does in a turn, and which part of it counts.

    The cost model is that of a pipeline that never drains, whose replicas add their gradients up
    after each of them has had a minibatch. So a plan without replicas runs one long step, of which
    the middle counts; a replicated stage runs steps of one minibatch for each replica, which count
    whole, up to the change of the weights. All minibatches count equally often.

    Attributes
    ----------
    steps, microbatches
        Steps in a turn, and minibatches in each.
    skipped, counted
        Minibatches at the start of a turn that do not count, and those that do.
    """

    steps: int
    microbatches: int
    skipped: int
    counted: int

    @classmethod
    def of(cls, plan: Plan) -> Work:
        """Return what fits a plan."""
        replicas = max(stage.replica_count for stage in plan.stages)
        if replicas > 1:
            return cls(1 + COUNTED // replicas, replicas, replicas, COUNTED)
        cuts = len(plan.stages) - 1
        # The first stage is ahead by so many when the pipeline is full, and takes about as many
        # more until it is held up by a later one that is little slower.
        skipped = 2 * (len(plan.stages) + UNDER_WAY * cuts)
        return cls(1, skipped + COUNTED + 1, skipped, COUNTED)

    def period_s(self, steps: Sequence[Mapping[str, Any]]) -> float:
        """Return seconds per minibatch of a turn, from its lines of ``train.py --times``."""
        if self.steps > 1:
            return float(sum(x["gradients_s"] for x in steps[1:])) / self.counted
        starts = steps[0]["forward_starts_s"]
        return float(starts[self.skipped + self.counted] - starts[self.skipped]) / self.counted


@dataclass(frozen=True, order=True)
class Turn:
    """Share of its cores that other programs had, and seconds per minibatch."""

    others: float
    period_s: float

    @classmethod
    def mean_of(cls, turns: Sequence[Turn]) -> Turn:
        """Return several as one."""
        return cls(
            statistics.fmean(x.others for x in turns), statistics.fmean(x.period_s for x in turns)
        )


@dataclass(frozen=True)
class Runner:
    """The processes of one plan.

    Attributes
    ----------
    folder
        Where its package, its times and its turns are.
    cores
        Those that it runs on.
    """

    folder: Path
    plan: Plan
    cores: tuple[int, ...]
    process: subprocess.Popen[bytes]

    def run(self) -> Turn:
        """Run the next turn.

        Raises
        ------
        NetworkError
            If the processes end, or take too long.
        """
        work = Work.of(self.plan)
        number = len(self._lines()) // work.steps
        watch = Watch.start(self.cores)
        gate.open_turn(self.folder, number)
        deadline = time.monotonic() + TIMEOUT_S
        while len(lines := self._lines()) < (number + 1) * work.steps:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise NetworkError(
                    f"the training of {self.folder.name} ended in turn {number}",
                    hint=f"{self.folder / 'output.txt'} has what it said",
                )
            time.sleep(gate.POLL_S)
        return Turn(watch.others(), work.period_s(lines[number * work.steps :]))

    def _lines(self) -> list[dict[str, Any]]:
        path = self.folder / TIMES
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return [json.loads(x) for x in text.splitlines(keepends=True) if x.endswith("\n")]


@contextmanager
def running(
    planned: Planned,
    network: str,
    cores: Sequence[tuple[str, int]],
    folder: Path,
    turns: int,
) -> Iterator[Runner]:
    """Write a plan and its package, start it, and end it after this.

    Parameters
    ----------
    planned
        The plan.
    network
        Name of a module of ``feeds``.
    cores
        Type and core of each GPU.
    folder
        Where to write.
    turns
        How many it may run.
    """
    (document,) = write_files(folder, {"plan.json": planned.document().dumps()})
    staged = staged_from_plan(document)
    emit_package(staged, folder / "package", name="Network", arch="network", target="torch")
    work = Work.of(planned.plan)
    placed = _cores_by_rank(planned, cores)
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        *(f"--nproc-per-node={len(placed)}", "-m", pinned.__name__, ",".join(map(str, placed))),
        *(str(folder / "package" / "train.py"), "--data", f"{FEEDS}{network}", "--cpu"),
        *("--schedule", "own", "--under-way", str(UNDER_WAY), "--times", str(folder / TIMES)),
        *("--steps", str(work.steps * turns), "--microbatches", str(work.microbatches)),
    ]
    environment = {**os.environ, **gate.environment(folder, work.steps), "OMP_NUM_THREADS": "1"}
    with ExitStack() as stack:
        output = stack.enter_context((folder / "output.txt").open("wb"))
        process = subprocess.Popen(  # noqa: S603 - what the plan became
            command, stdout=output, stderr=output, env=environment
        )
        stack.callback(_end, process)
        yield Runner(folder, planned.plan, tuple(placed), process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End torchrun, which ends its ranks."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    process.wait()


def _cores_by_rank(planned: Planned, cores: Sequence[tuple[str, int]]) -> list[int]:
    """Return the core of each rank: the next one of its type."""
    left = {gpu: iter([core for of, core in cores if of == gpu]) for gpu, _ in cores}
    found: dict[int, int] = {}
    for stage in planned.document().stages:
        gpus = [x.gpu for x in stage.replicas for _ in range(x.count)]
        found |= {rank: next(left[gpu]) for rank, gpu in zip(stage.ranks, gpus, strict=True)}
    return [found[rank] for rank in sorted(found)]
