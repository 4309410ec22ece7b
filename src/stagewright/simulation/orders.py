"""The order in which minibatches pass through each stage: 1F1B, 1F1B with flushes, GPipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from stagewright.model.errors import InputError
from stagewright.simulation.conditions import Conditions
from stagewright.simulation.machine import Machine
from stagewright.simulation.schedule import BACKWARD, FORWARD, REDUCE, Schedule, Step

MOST_SLACK = 100

MOST_STEPS = 3_000_000
"""Largest number of minibatches times GPUs that is laid out."""


class Order(StrEnum):
    """How forward and backward passes take turns.

    ``1f1b``: PipeDream (Narayanan et al., SOSP 2019): once the start-up count is in flight, one
    backward for each forward, and the weights change after every round of a stage's replicas.
    ``1f1b-flush``: the same within groups of minibatches; the weights change once a group, when it
    has left the stage (PipeDream-Flush; Narayanan et al., ICML 2021).
    ``gpipe``: all forward passes of a group, then all its backward passes (Huang et al., 2019).
    """

    ONE_F_ONE_B = "1f1b"
    FLUSH = "1f1b-flush"
    GPIPE = "gpipe"

    @property
    def flushes(self) -> bool:
        """Whether the pipeline runs empty after each group."""
        return self is not Order.ONE_F_ONE_B


@dataclass(frozen=True, slots=True)
class Pace:
    """Which order, how much in flight, and how long a group is.

    Attributes
    ----------
    order
        See :class:`Order`.
    slack
        How much more than PipeDream's start-up count is in flight, see :func:`windows`; 0 is what
        the memory model counts.
    group
        Minibatches between two flushes; ``None`` for four times the GPUs in use, from which on
        GPipe's authors call the bubble negligible (section 2.3). Without meaning under ``1f1b``.
    """

    order: Order = Order.ONE_F_ONE_B
    slack: int = 0
    group: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.slack <= MOST_SLACK:
            raise InputError(f"a slack of {self.slack}; expected 0 to {MOST_SLACK}")
        if self.group is not None and self.group < 1:
            raise InputError(f"a group of {self.group} minibatches; expected 1 or more")

    def group_of(self, machine: Machine) -> int:
        """Minibatches between two flushes."""
        return 4 * len(machine.gpus) if self.group is None else self.group


def windows(machine: Machine, slack: int = 0) -> tuple[int, ...]:
    """Return how many minibatches are in flight from each stage on: whole rounds of its replicas.

    PipeDream starts ``ceil(sum_{j>=k} m_j / m_k)`` minibatches on each of the m_k replicas of stage
    k (section 3.2): enough to keep all busy if transfers and all-reduces took no time. With slack,
    as many as half the replicas on both sides of a cut, ``slack`` times, are added at every cut;
    for a straight pipeline of K stages that makes 1 + (1 + slack) (K - 1 - k).
    """
    counts = [len(stage.ranks) for stage in machine.stages]
    found = [counts[-1]]
    for k in range(len(counts) - 2, -1, -1):
        m = counts[k]
        wanted = sum(counts[k:])
        if slack > 0:
            wanted = max(wanted, found[0] + m + -(-slack * (m + counts[k + 1]) // 2))
        found.insert(0, -(-wanted // m) * m)
    return tuple(found)


def deal(machine: Machine, stage: int, minibatches: int, conditions: Conditions) -> list[int]:
    """Return the replica (0, 1, …) of a stage that takes each minibatch.

    In turns, or each to the replica that would be the first to finish it if all worked without
    pause.
    """
    ranks = machine.stages[stage].ranks
    if conditions.dispatch == "equal":
        return [i % len(ranks) for i in range(minibatches)]
    seconds = [machine.turn_s(rank) for rank in ranks]
    taken = [0] * len(ranks)
    dealt: list[int] = []
    for _ in range(minibatches):
        chosen = min(range(len(ranks)), key=lambda r: ((taken[r] + 1) * seconds[r], taken[r], r))
        taken[chosen] += 1
        dealt.append(chosen)
    return dealt


def make_schedule(
    machine: Machine, minibatches: int, conditions: Conditions, pace: Pace
) -> Schedule:
    """Lay out the steps of every GPU.

    Raises
    ------
    InputError
        If there are none, or too many to lay out.
    """
    if minibatches < 1:
        raise InputError(f"{minibatches} minibatches; expected 1 or more")
    if minibatches * len(machine.gpus) > MOST_STEPS:
        raise InputError(
            f"{minibatches:,} minibatches on {len(machine.gpus)} GPUs are too many to simulate",
            hint=f"Their product may be at most {MOST_STEPS:,}",
        )
    steps: list[tuple[Step, ...]] = [()] * len(machine.gpus)
    for k, window in enumerate(windows(machine, pace.slack)):
        ranks = machine.stages[k].ranks
        if pace.order.flushes:
            order = _with_flushes(pace, machine, minibatches, window, len(ranks))
        else:
            order = _one_f_one_b(minibatches, window, len(ranks))
        dealt = deal(machine, k, minibatches, conditions)
        mine: list[list[Step]] = [[] for _ in ranks]
        for step in order:
            if step[0] == REDUCE:
                for program in mine:
                    program.append(step)
            else:
                mine[dealt[step[1]]].append(step)
        for rank, program in zip(ranks, mine, strict=True):
            steps[rank] = tuple(program)
    return Schedule(tuple(gpu.stage for gpu in machine.gpus), tuple(steps))


def _one_f_one_b(minibatches: int, window: int, replicas: int) -> Iterator[Step]:
    """Yield the steps of a stage, all replicas together: a round back, an update, a round in."""
    yield from _passes(FORWARD, 0, min(window, minibatches))
    for update, first in enumerate(range(0, minibatches, replicas)):
        end = min(first + replicas, minibatches)
        yield from _passes(BACKWARD, first, end)
        yield REDUCE, update
        yield from _passes(FORWARD, *_within(minibatches, first + window, end + window))


def _with_flushes(
    pace: Pace, machine: Machine, minibatches: int, window: int, replicas: int
) -> Iterator[Step]:
    """Yield group after group; each has left the stage before the weights change."""
    group = pace.group_of(machine)
    held = group if pace.order is Order.GPIPE else window
    for update, start in enumerate(range(0, minibatches, group)):
        stop = min(start + group, minibatches)
        yield from _passes(FORWARD, start, min(start + held, stop))
        for first in range(start, stop, replicas):
            end = min(first + replicas, stop)
            yield from _passes(BACKWARD, first, end)
            yield from _passes(FORWARD, *_within(stop, first + held, end + held))
        yield REDUCE, update


def _within(limit: int, *ends: int) -> Sequence[int]:
    return [min(x, limit) for x in ends]


def _passes(kind: str, first: int, end: int) -> Iterator[Step]:
    return ((kind, i) for i in range(first, end))
