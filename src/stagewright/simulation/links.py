"""Which links a transfer occupies, and for how long."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from stagewright.model.cluster import Cluster
from stagewright.simulation.conditions import Conditions, Links
from stagewright.simulation.machine import Machine
from stagewright.simulation.timeline import Gpu


@dataclass(frozen=True, slots=True)
class Route:
    """How one message goes: out through a link, in through another (perhaps the same).

    Attributes
    ----------
    leaves, enters
        Numbers of the two links; each carries one message at a time, in either direction.
    seconds
        How long it occupies each of them.
    """

    leaves: int
    enters: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Collective:
    """An all-reduce: every link of it is taken for the whole time."""

    links: tuple[int, ...]
    seconds: float


class Wiring:
    """All links of a machine under given conditions, numbered as they are first used."""

    def __init__(self, machine: Machine, cluster: Cluster, conditions: Conditions) -> None:
        self._machine = machine
        self._cluster = cluster
        self._conditions = conditions
        self._number: dict[Hashable, int] = {}
        self.names: list[str] = []
        self.users: list[list[str]] = []
        ratio = conditions.compression_ratio
        self._sent_bytes = [
            None if ratio is None else stage.output_bytes / ratio for stage in machine.stages
        ]

    def route(self, cut: int, sender: Gpu, receiver: Gpu) -> Route | None:
        """How a message crosses the cut after stage ``cut``; ``None`` if it takes no time.

        A minibatch crosses twice, forward as activation and back as gradient of the same size. The
        latency is that of the round trip: each way has half of it.
        """
        sent = self._sent_bytes[cut]
        if sent is None:
            return None
        s, t = sender.server, receiver.server
        seconds = sent / self._cluster.bandwidth_bytes_per_s[s][t]
        seconds += self._cluster.latency_s[s][t] / 2
        if seconds == 0:
            return None
        user = f"cut {cut}"
        near = s == t
        return Route(self._end(user, sender, near), self._end(user, receiver, near), seconds)

    def collective(self, stage: int) -> Collective:
        """Ring all-reduce of the gradients of a stage's replicas, in order of rank.

        2 (m-1) steps, in each of which every replica passes P/m bytes on to the next (Patarasuk
        and Yuan, 2009); the slowest link sets the pace, and each step is half a round trip.
        """
        work = self._machine.stages[stage]
        ring = [self._machine.gpus[rank] for rank in work.ranks]
        if len(ring) == 1 or work.parameter_bytes == 0:
            return Collective((), 0.0)
        pairs = [(a, ring[(i + 1) % len(ring)]) for i, a in enumerate(ring)]
        part = work.parameter_bytes / len(ring)
        step_s = max(
            part / self._cluster.bandwidth_bytes_per_s[a.server][b.server]
            + self._cluster.latency_s[a.server][b.server] / 2
            for a, b in pairs
        )
        user = f"all-reduce of stage {stage}"
        ends = [self._end(user, gpu, a.server == b.server) for a, b in pairs for gpu in (a, b)]
        return Collective(tuple(sorted(set(ends))), 2 * (len(ring) - 1) * step_s)

    def _end(self, user: str, gpu: Gpu, near: bool) -> int:
        """Return the link at one GPU's end of a transfer, inside its server or out of it."""
        server = self._cluster.servers[gpu.server]
        links, place, name = self._conditions.links, "", ""
        kind: Hashable
        if self._conditions.one_link_per_cut:
            kind, name, shared = ("bus", gpu.server), f"bus of {server}", links is Links.PORTS
        elif near:
            kind, name, shared = ("port", gpu.rank), f"port of {gpu.name}", links is Links.PORTS
        else:
            kind, name = ("card", gpu.server), f"network card of {server}"
            shared = links is not Links.OWN
        place = "" if shared else user
        number = self._number.setdefault((kind, place), len(self.names))
        if number == len(self.names):
            self.names.append(name if shared else f"{name} for {user}")
            self.users.append([])
        if user not in self.users[number]:
            self.users[number].append(user)
        return number
