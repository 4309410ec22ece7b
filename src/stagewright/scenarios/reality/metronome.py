"""A core of half the speed: ``python -m stagewright.scenarios.reality.metronome CORE PARENT``.

Lets the programs on a core run for half of every beat and stops them for the other half. A program
that competes for the core would not do: the scheduler owes whoever waited for a message more than
half of what follows, so that a stage which waits a lot would have a faster core than one which
computes all the time. A GPU of half the speed is as slow after a wait as before.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from stagewright.scenarios.reality.processes import TICK_S, family, processor_ticks

BEAT_S = 0.01
"""Seconds of running and standing together; a stage takes several times as long."""

LOOK_S = 0.2
"""Seconds between two looks for programs on the core that work."""

SHARE, LATELY_S = 0.15, 2.0
"""A program works if it has such a share of the core between two looks. One that has not for so
many seconds is let be: stopping and waking its threads would take time of those that do."""


@dataclass
class Beat:
    """When to stop and when to go on, so that what ran is half of what passed.

    A process that waits for its turn wakes late now and then. Whatever ran too long in one beat is
    taken off the next ones.

    Attributes
    ----------
    began_s
        Moment at which the first beat began.
    ran_s
        Seconds for which programs were let run since.
    """

    began_s: float
    ran_s: float = field(default=0.0)

    def run_for(self, now_s: float) -> float:
        """Return the seconds to run in the beat that begins now: none if too much has run.

        >>> Beat(0.0, ran_s=0.503).run_for(1.0)
        0.002
        """
        owed_s = (now_s + BEAT_S - self.began_s) / 2 - self.ran_s
        return round(min(max(owed_s, 0.0), BEAT_S), 9)


def main(core: int, parent: int) -> None:
    """Keep time for as long as the parent lives, and let everything go on at the end.

    This stays on the core itself: on another it would wait for what computes there, and stop the
    programs here for longer than half of the time.
    """
    os.sched_setaffinity(0, {core})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    beat = Beat(time.monotonic())
    work = Lately()
    before: list[int] = []
    beaten: list[int] = []
    looked_s = -LOOK_S
    try:
        while os.getppid() == parent:
            now_s = time.monotonic()
            if now_s - looked_s >= LOOK_S:
                programs = list(_programs(core, parent))
                before, beaten, looked_s = beaten, work.busy(programs, now_s), now_s
                _send(set(before).difference(beaten), signal.SIGCONT)
            run_s = beat.run_for(now_s)
            if run_s > 0:
                _send(beaten, signal.SIGCONT)
                time.sleep(run_s)
                _send(beaten, signal.SIGSTOP)
                beat.ran_s += time.monotonic() - now_s
            time.sleep(max(0.0, now_s + BEAT_S - time.monotonic()))
    finally:
        _send({*before, *beaten}, signal.SIGCONT)


@dataclass
class Lately:
    """Which programs have worked lately."""

    _ticks: dict[int, int] = field(default_factory=dict)
    _worked_s: dict[int, float] = field(default_factory=dict)

    def busy(self, programs: list[int], now_s: float) -> list[int]:
        """Return those that have worked within :data:`LATELY_S`, or are new."""
        enough = SHARE * LOOK_S / TICK_S
        for pid in programs:
            used = processor_ticks(pid)
            if used is not None:
                if used - self._ticks.get(pid, -math.inf) >= enough:
                    self._worked_s[pid] = now_s
                self._ticks[pid] = used
        return [pid for pid in programs if now_s - self._worked_s.get(pid, now_s) < LATELY_S]


def _programs(core: int, parent: int) -> Iterator[int]:
    """Yield the processes below ``parent`` that are kept on this core, and on no other.

    One that works only while nothing else wants the core takes nobody's time.
    """
    for pid in family(parent).keys() - {parent, os.getpid()}:
        with suppress(OSError):  # it has ended meanwhile
            here = os.sched_getaffinity(pid) == {core}
            if here and os.sched_getscheduler(pid) != os.SCHED_IDLE:
                yield pid


def _send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, number)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
