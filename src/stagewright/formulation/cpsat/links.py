"""Which link a slot's all-reduce and a cut's transfer use, as literals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ortools.sat.python import cp_model

from stagewright.formulation.cpsat.variables import Variables
from stagewright.model.costs import PipeDream, SparsePipe

Literals = Sequence[cp_model.BoolVarT]


@dataclass(frozen=True)
class CutCase:
    """If ``literals`` hold, a cut takes ``latency_s + bytes * 2/(ρ β share)``.

    ``waits``: the later stage's input takes that long too (a cut that only the earlier
    stage's sending limits does not make the later one wait).
    """

    bandwidth: float
    latency_s: float
    share: int
    literals: Literals
    waits: bool = True


class Links:
    """Bandwidths of slots and cuts; creates the literals that they need."""

    def __init__(self, model: cp_model.CpModel, variables: Variables) -> None:
        self._model = model
        self._v = variables
        self._cluster = variables.cluster
        self._several = len(self._cluster.servers) > 1
        if self._several:
            self._slots_know_their_servers()

    def _slots_know_their_servers(self) -> None:
        """in_server[k,s] ⇔ some group of s is used; Σ_s in_server[k,s] = the number of servers."""
        v, model = self._v, self._model
        for k in v.slots:
            for s in range(len(self._cluster.servers)):
                mine = [g for g, group in enumerate(self._cluster.groups) if group.server == s]
                model.add_max_equality(v.in_server[k][s], [v.used[k][g] for g in mine])
            model.add_exactly_one(v.servers[k])
            model.add(sum(v.in_server[k]) == sum(q * x for q, x in enumerate(v.servers[k])))

    def reduce(self, k: int) -> list[tuple[float, Literals]]:
        """Bandwidths that the all-reduce of slot k may run at, with the literals that say so."""
        beta = self._cluster.bandwidth
        if not self._several:
            return [(float(beta[0, 0]), [])]
        alone = self._v.servers[k][1]
        inside = self._inside([self._v.in_server[k]], [alone])
        return [
            *inside,
            *self._pairs(self._v.in_server[k], self._v.in_server[k], f"reduce{k}", [~alone]),
        ]

    def _inside(
        self, in_server: Sequence[Sequence[cp_model.IntVar]], alone: Literals
    ) -> list[tuple[float, Literals]]:
        """Bandwidths inside the server that all the slots share."""
        diagonal = [float(self._cluster.bandwidth[s, s]) for s in range(len(self._cluster.servers))]
        if len(set(diagonal)) == 1 and len(in_server) == 1:
            return [(diagonal[0], alone)]
        return [
            (diagonal[s], [*alone, *(slot[s] for slot in in_server)]) for s in range(len(diagonal))
        ]

    def _pairs(
        self,
        here: Sequence[cp_model.IntVar],
        there: Sequence[cp_model.IntVar],
        name: str,
        apart: Literals,
    ) -> list[tuple[float, Literals]]:
        """Bandwidths of the links between servers in use; one literal for each distinct one."""
        links = self._between(self._cluster.bandwidth.tolist())
        if len(links) == 1 and apart:
            return [(next(iter(links)), apart)]
        return [
            (value, [self._any_pair(here, there, pairs, f"{name},{value:g}")])
            for value, pairs in links.items()
        ]

    def _between(self, matrix: list[list[float]]) -> dict[float, list[tuple[int, int]]]:
        """Pairs of servers by the value of their link."""
        found: dict[float, list[tuple[int, int]]] = {}
        for s, row in enumerate(matrix):
            for t, value in enumerate(row):
                if s != t:
                    found.setdefault(value, []).append((s, t))
        return found

    def _any_pair(
        self,
        here: Sequence[cp_model.IntVar],
        there: Sequence[cp_model.IntVar],
        pairs: list[tuple[int, int]],
        name: str,
    ) -> cp_model.IntVar:
        """A literal that holds if some pair (s, t) has s in ``here`` and t in ``there``."""
        literal = self._model.new_bool_var(f"link[{name}]")
        for s, t in pairs:
            self._model.add_bool_or(~here[s], ~there[t], literal)
        return literal

    def cut(self, k: int) -> Iterator[CutCase]:
        """Every case of the cut between slots k and k + 1."""
        kind = self._v.formulation.rates.name
        beta = float(self._cluster.bandwidth[0, 0])
        if kind == SparsePipe.name:
            yield CutCase(beta, 0.0, 1, [])
        elif kind == PipeDream.name:
            for m in range(1, self._v.most + 1):
                yield CutCase(beta, 0.0, m, [self._v.size[k + 1][m]])
                if k > 0:
                    yield CutCase(beta, 0.0, m, [self._v.size[k][m]], waits=False)
        else:
            yield from self._topology_cut(k)

    def _topology_cut(self, k: int) -> Iterator[CutCase]:
        v, latency = self._v, self._cluster.latency
        if not self._several:
            delay = float(latency[0, 0])
            for m in range(1, v.most + 1):
                for slot, other in ((k, k + 1), (k + 1, k)):
                    here = [v.size[slot][m], ~v.size[other][0]]
                    yield CutCase(float(self._cluster.bandwidth[0, 0]), delay, m, here)
            return
        alone = [v.servers[k][1], v.servers[k + 1][1]]
        for s, (beta, literals) in enumerate(
            self._inside([v.in_server[k], v.in_server[k + 1]], alone)
        ):
            largest = sum(g.count for g in self._cluster.groups if g.server == s)
            for m in range(1, min(v.most, largest) + 1):
                for slot in (k, k + 1):
                    here = [*literals, v.size[slot][m]]
                    yield CutCase(beta, float(latency[s, s]), m, here)
        yield from self._cut_between_servers(k)

    def _cut_between_servers(self, k: int) -> Iterator[CutCase]:
        v = self._v
        ends = v.in_server[k], v.in_server[k + 1]
        bandwidths = self._pairs(*ends, f"cut{k}", [])
        delays = {
            value: self._any_pair(*ends, pairs, f"delay{k},{value:g}")
            for value, pairs in self._between(self._cluster.latency.tolist()).items()
        }
        for beta, literals in bandwidths:
            for delay, late in delays.items():
                both = [*literals] if len(delays) == 1 else [*literals, late]
                for q in range(1, len(v.servers[k])):
                    for slot in (k, k + 1):
                        yield CutCase(beta, delay, q, [*both, v.servers[slot][q]])
