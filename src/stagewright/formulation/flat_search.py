"""Bound and plan on one flat cluster of like GPUs, before any solver: ideals, tables, boxes.

Every step moves one side of the bracket [refuted, best plan] around the least period:

- where the graph has few ideals, :class:`FewestGpus` over all of them closes the bracket;
- else tables of all ideals, on finer and finer grids, give a bound and plans
  (:mod:`table_search`), and stretches of the best plan are cut anew (:mod:`stretch_search`);
- where tables leave a wide gap, ideals are told apart by the heaviest blocks that they
  hold, and walks only go to ideals that hold more of them (:mod:`landmark_search`);
- narrow topological orders, and variations of the best, give further plans (:mod:`cut_orders`,
  :class:`FewestGpus` over prefixes);
- in turn with the orders, boxes of ideals are split until the walk over them breaks down, which
  refutes a period (:mod:`box_bound`); once the boxes that a walk passes hold one ideal each, the
  recursion over those ideals decides the period exactly. Where boxes refute nothing any more,
  stretches have their turns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from stagewright.formulation.box_bound import Walk
from stagewright.formulation.bracket import Bracket
from stagewright.formulation.cut_orders import narrow_order
from stagewright.formulation.cut_space import CutSpace, all_ideals, cuts_of, family, prefixes
from stagewright.formulation.fewest_gpus import NEXT, FewestGpus
from stagewright.formulation.flat_costs import FlatCosts
from stagewright.formulation.ideal_boxes import Box, BoxTree
from stagewright.formulation.landmark_search import LandmarkSearch
from stagewright.formulation.memory import keep_freed_memory
from stagewright.formulation.orders import topological_orders
from stagewright.formulation.rates import rates_of
from stagewright.formulation.reduced_graph import reduce_graph
from stagewright.formulation.stretch_search import WIDTHS, StretchSearch
from stagewright.formulation.table_search import TableSearch
from stagewright.model.errors import DoesNotApply
from stagewright.model.plan import Stage

Place = Callable[[int], float]

EXACT = 1 - 1e-12
FEW_IDEALS = 1500
MANY_IDEALS = 20_000
"""Past FEW_IDEALS a plan along some order is looked for first: all of them take seconds."""
MANY_BOXES, FEW_OPEN = 40_000, 300
"""Boxes are split while tables are made as long as walks pass few of them; mostly they soon pass
many, and tables are better."""
BETWEEN_ORDERS = 2000
"""Splits between one layer order and the next."""
ALONG_ORDERS = 2e-4
"""How close to the best along one order is close enough."""
MANY_MEMBERS = 6000
SHARES = (0.25, 0.1, 0.4)
CLOSE = 1e-3
CREEP = 1.15
"""Short periods are refuted soon: trials rise from the bound in steps of at most so much."""
ROUNDS, GAIN = 50, 3e-4
"""Times that stretches of all widths are cut anew in a row, as long as each gains so much."""
SLOW, SMALL = 0.25, 300_000
"""Once a finer table raises the bound by less than such a part of the gap, plans are looked for;
not after tables of so few rows (each counted once a GPU) that raise it: the next is soon made."""
WIDE, LARGE = 0.02, 90_000
"""Gap after the second table from which on ideals that do not nest are likely to be the reason, if
tables refute anything but the work; where the first has so many rows (each counted once a GPU)
walks over the second take long."""
TRIES = 40
"""Orders to vary between these."""
FEWEST_SPLITS = 50
PATIENCE = (3_000, 10_000, 40_000)
"""Splits to spend on one period before an easier one is tried; then more, and more."""
SHIFTS = (2.0, 5.0, 15.0, 40.0)
"""By how many places a varied order moves a layer, as standard deviations to choose from."""


@dataclass
class FlatSearch(Bracket):
    """Closes the bracket around the least period of a flat problem."""

    _boxes: list[Box] = field(default_factory=list)
    _open: int = 0
    """Boxes that a walk passed when they were last looked at."""
    _splits: int = 0

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.settings.seed)

    def run(self) -> None:
        """Narrow the bracket down until it is closed or time is over."""
        keep_freed_memory()
        ideals = self._ideals()
        if ideals is not None and len(ideals) <= FEW_IDEALS:
            self._exactly(ideals)
            return
        instance = self.problem.instance
        work_s = float(instance.time_s[0].sum()) / FlatCosts.of(self.problem).gpus * EXACT
        self.refute(work_s)
        tree = self._tree()
        self._boxes = [tree.whole()]
        given = self.stages
        near = StretchSearch(self, tree.graph)
        if ideals is None and "ideal-tables" not in self.settings.without:
            self._tables(tree, near)
            self._stretch(near)
        refutes = True
        for order in self._orders(tree):
            if self.done:
                return
            self._try(order)
            if ideals is None and refutes:
                bound_s = self.bound_s
                self._split_boxes(tree, PATIENCE[0], BETWEEN_ORDERS)
                refutes = self.bound_s > bound_s
            elif ideals is None:
                self._stretch(near, 1)
        if ideals is not None:
            self._exactly(ideals)
            return
        for patience in PATIENCE:
            self._stretch(near)
            self._split_boxes(tree, patience, MANY_BOXES)
        while not self.done and self.stages is not given:
            self._stretch(near)
            self._vary(tree)

    def _ideals(self) -> CutSpace | None:
        try:
            return all_ideals(self.problem.instance, MANY_IDEALS)
        except DoesNotApply:
            return None

    def _tree(self) -> BoxTree:
        instance = self.problem.instance
        rates = rates_of(self.problem.cost_model, instance.cluster)
        graph = reduce_graph(instance, rates, self.period_s)
        return BoxTree(graph, graph.time_s[0])

    def _exactly(self, ideals: CutSpace) -> None:
        search = FewestGpus(self.problem, ideals, self.settings)
        search.search(self.period_s, self.bound_s)
        self.take(search)
        self.refute(search.refuted_s)

    def _tables(self, tree: BoxTree, near: StretchSearch) -> None:
        """Narrow the bracket down with tables of all ideals."""
        promising, raised, wide, tried_landmarks = True, False, False, False
        bound_s = self.bound_s
        gpus = FlatCosts.of(self.problem).gpus
        for tables, rows in enumerate(TableSearch(self, tree.graph).rounds(), start=1):
            wide = self.bound_s < self.period_s * (1 - WIDE)
            raised = raised or self.bound_s > bound_s
            if wide and raised and not tried_landmarks and (tables == 2 or rows * gpus > LARGE):
                tried_landmarks = True
                self._landmarks(tree)
            slow = self.bound_s - bound_s < SLOW * (self.period_s - self.bound_s)
            if slow and tables > 1 and (rows * gpus > SMALL or self.bound_s == bound_s):
                self._stretch(near, 1)
            bound_s = self.bound_s
            # Boxes hardly refute anything where a table of all ideals refutes nothing, and a second
            # table soon refutes more than the first.
            if promising and raised and tables > 1 and not self.done:
                self._split_boxes(tree, PATIENCE[0], BETWEEN_ORDERS, FEW_OPEN)
                promising = self._open <= FEW_OPEN
        if wide and raised and not tried_landmarks:
            self._landmarks(tree)

    def _landmarks(self, tree: BoxTree) -> None:
        if "landmarks" not in self.settings.without and not self.done:
            LandmarkSearch(self, tree.graph).run()

    def _stretch(self, near: StretchSearch, rounds: int = ROUNDS) -> None:
        """Improve the plan until all widths of stretches together hardly gain anything."""
        if "stretches" in self.settings.without:
            return
        for _ in range(rounds):
            if self.done or sum(near.improve() for _ in WIDTHS) < GAIN:
                return

    def _through(self, tree: BoxTree, stages: Sequence[Stage]) -> tuple[int, ...]:
        """Return an order of the layers that passes the cuts of a plan."""
        place = (~cuts_of(self.problem.instance, stages)).sum(axis=0).tolist()
        return tuple(_layers(tree, tree.order_like(dict(enumerate(place))), place.__getitem__))

    def _try(self, order: Sequence[int]) -> None:
        """Look for a better plan along an order of the layers."""
        search = FewestGpus(self.problem, prefixes(self.problem.instance, order), self.settings)
        search.search(self.period_s, self.bound_s, ALONG_ORDERS)
        self.take(search)

    def _vary(self, tree: BoxTree) -> None:
        """Try orders near one that passes the cuts of the best plan."""
        for _ in range(TRIES):
            if self.done or self.stages is None:
                return
            self._try(self._varied(tree, self._through(tree, self.stages)))

    def _varied(self, tree: BoxTree, order: Sequence[int]) -> Sequence[int]:
        """Return a topological order near ``order``."""
        rng = self._random
        place = np.empty(len(order))
        place[list(order)] = np.arange(len(order))
        noisy = place + rng.normal(0, rng.choice(SHIFTS), len(order))
        return _layers(tree, tree.order_like(dict(enumerate(noisy.tolist()))), place.__getitem__)

    def _orders(self, tree: BoxTree) -> Iterator[Sequence[int]]:
        """Narrow orders on top of each plain topological order, and the plain ones."""
        plain = topological_orders(self.problem.instance)
        first, *others = SHARES
        for order in plain:
            yield self._narrow(tree, order, first)
        yield from plain
        for share in others:
            for order in plain:
                yield self._narrow(tree, order, share)

    def _narrow(self, tree: BoxTree, order: Sequence[int], share: float) -> Sequence[int]:
        """Order the layers like ``order``, with narrow cuts."""
        place = {v: i for i, v in enumerate(order)}
        return _layers(tree, narrow_order(tree, tree.order_like(place), share), place.__getitem__)

    def _split_boxes(
        self, tree: BoxTree, patience: int, most: int, most_open: int = MANY_BOXES
    ) -> None:
        """Refute longer and longer periods, easier ones first.

        Parameters
        ----------
        patience
            Splits to spend on one period before an easier one is tried.
        most
            Splits to spend in all.
        most_open
            Give up once walks pass more boxes than that.
        """
        costs = FlatCosts.of(self.problem)
        stuck_s = self.period_s
        enough = self._splits + most
        while not self.done and len(self._boxes) < MANY_BOXES and self._splits < enough:
            stuck_s = min(stuck_s, self.period_s)
            if stuck_s - self.bound_s < CLOSE * self.period_s / 5 and stuck_s < self.period_s:
                break
            near = self.period_s - self.bound_s < CLOSE * self.period_s
            middle = min((self.bound_s + stuck_s) / 2, self.bound_s * CREEP or self.period_s)
            trial = self.period_s * NEXT if near else middle
            left = min(patience, enough - self._splits)
            if not self._decide(tree, costs, trial, left, most_open):
                stuck_s = trial
            if self._open > most_open:
                break

    def _decide(
        self, tree: BoxTree, costs: FlatCosts, period_s: float, patience: int, most_open: int
    ) -> bool:
        """Refute a period or find a plan that keeps it; return whether that was done in time."""
        open_ = self._boxes
        closed: list[Box] = []
        totals = float(tree.time_s.sum()), float(tree.graph.parameter_bytes.sum())
        while not self.settings.expired and patience > 0 and len(closed) < MANY_BOXES:
            slack_s = Walk(tree.windows(open_), costs, period_s, *totals).slack_s()
            if slack_s is None:
                self.refute(period_s)
                break
            # What no walk passes now, none passes once other boxes are split.
            closed += [box for box, s in zip(open_, slack_s, strict=True) if s < 0]
            open_ = [box for box, s in zip(open_, slack_s, strict=True) if s >= 0]
            self._open = len(open_)
            if self._open > most_open:
                break
            wide = sorted((b for b in open_ if not b.single), key=lambda box: -box.width_s)
            if not wide:
                self._boxes = open_ + closed
                return self._decide_exactly(tree, open_, period_s)
            wide = wide[: max(FEWEST_SPLITS, len(open_) // 4)]
            open_ = _split(tree, open_, wide)
            patience -= len(wide)
            self._splits += len(wide)
        self._boxes = open_ + closed
        return self.bound_s >= period_s

    def _decide_exactly(self, tree: BoxTree, alive: list[Box], period_s: float) -> bool:
        """Decide a period over the only ideals that a plan which keeps it can be cut at."""
        if len(alive) > MANY_MEMBERS:
            return False
        # None at all: only plans of one stage are left.
        inside = np.array([box.inside for box in alive], dtype=bool)
        members = tree.graph.layers(inside.reshape(len(alive), len(tree.graph)))
        ideals = family(self.problem.instance, members)
        search = FewestGpus(self.problem, ideals, self.settings)
        keeps = search.keeps(period_s)
        if keeps is None:
            return False
        if not keeps:
            self.refute(period_s)
            return True
        before = self.period_s
        self.take(search)
        return self.period_s < before


def _layers(tree: BoxTree, blocks: Iterable[int], place: Place) -> list[int]:
    """Return the layers of blocks in their order, those of a block by their places."""
    return [v for b in blocks for v in sorted(tree.graph.blocks[b], key=place)]


def _split(tree: BoxTree, boxes: list[Box], wide: list[Box]) -> list[Box]:
    """Return the boxes with the halves of the wide ones in their places."""
    split = {id(box) for box in wide}
    halves = [half for box in wide for half in tree.split(box)]
    return [box for box in boxes if id(box) not in split] + halves
