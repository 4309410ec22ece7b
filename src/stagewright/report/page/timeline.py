"""The first minibatches in time: what each GPU does and sends, from a simulation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stagewright.report.labels import clean, size
from stagewright.report.page.bars import share
from stagewright.report.page.facts import Facts, percent_words, time_words
from stagewright.report.page.theme import stage_class
from stagewright.simulation import (
    Event,
    Gpu,
    Simulation,
    Work,
    conditions_of,
)
from stagewright.simulation.check import check_period

MOST_GPUS = 24
MOST_MINIBATCHES = 24
AFTER_FILL = 6
"""Minibatches shown beyond those that fill the pipeline."""

LABEL_PER_CENT = 0.5, 1.25
"""Room that the number of a minibatch takes: so much, and so much a digit."""

TICKS = 6
NEGLIGIBLE = 5e-4
"""Relative difference of two periods that is not worth words."""


@dataclass(frozen=True)
class Block:
    """Something that a GPU does or sends, from ``start_s`` to ``end_s`` of the shown time."""

    work: Work
    minibatch: int
    start_s: float
    end_s: float


@dataclass(frozen=True)
class TimelineRow:
    """One GPU: its blocks, and what it holds: (time in s, bytes) from each time on."""

    gpu: Gpu
    blocks: tuple[Block, ...]
    held: tuple[tuple[float, float], ...]
    bubble: float | None


@dataclass(frozen=True)
class Timeline:
    """What is shown.

    Attributes
    ----------
    end_s
        The shown time begins at 0.
    minibatches
        How many have left the pipeline by then.
    left_out
        GPUs that are not shown.
    """

    rows: tuple[TimelineRow, ...]
    end_s: float
    minibatches: int
    left_out: int


@dataclass(frozen=True)
class DrawnBlock:
    """A block in per cent of the shown time; ``label`` stands in its middle."""

    css: str
    x: float
    width: float
    middle: float
    label: str
    transfer: bool


@dataclass(frozen=True)
class DrawnTimelineRow:
    """A row with its words, blocks and the outline of its memory (in a box of 1000 by 100)."""

    css: str
    stage: int
    name: str
    bubble: str
    peak: str
    blocks: tuple[DrawnBlock, ...]
    held: str


@dataclass(frozen=True)
class DrawnTimeline:
    """The timeline as the page shows it; ``ticks`` are (per cent, words)."""

    rows: tuple[DrawnTimelineRow, ...]
    ticks: tuple[tuple[float, str], ...]
    sentences: tuple[str, ...]
    minibatches: int


def make_timeline(simulation: Simulation) -> Timeline:
    """Choose what to show: the filling of the pipeline and a little of its steady state."""
    shown = _shown(simulation.gpus)
    ends = sorted(
        event.end_s
        for event in simulation.events(0, 4 * MOST_MINIBATCHES)
        if event.stage == 0 and event.work is Work.BACKWARD
    )
    first = next(
        i for i, (kind, _) in enumerate(simulation.schedule.steps[0]) if kind == "B"
    ) * sum(gpu.stage == 0 for gpu in simulation.gpus)
    count = min(first + AFTER_FILL, MOST_MINIBATCHES, len(ends))
    end_s = ends[count - 1]
    events: dict[int, list[Block]] = {gpu.rank: [] for gpu in shown}
    for event in simulation.events(0, 4 * MOST_MINIBATCHES):
        if event.rank in events and event.start_s < end_s:
            events[event.rank].append(_block(event, end_s))
    rows = tuple(
        TimelineRow(
            gpu=gpu,
            blocks=tuple(events[gpu.rank]),
            held=_held(simulation, gpu.rank, end_s),
            bubble=simulation.gpu_figures[gpu.rank].steady_bubble_share,
        )
        for gpu in shown
    )
    return Timeline(rows, end_s, count, len(simulation.gpus) - len(shown))


def _shown(gpus: Sequence[Gpu]) -> list[Gpu]:
    """All GPUs stage by stage, or as many replicas of each stage as there is room for."""
    ordered = sorted(gpus, key=lambda gpu: (gpu.stage, gpu.replica))
    stages = max(gpu.stage for gpu in gpus) + 1
    replicas = len(gpus)
    while replicas > 1 and sum(gpu.replica < replicas for gpu in gpus) > MOST_GPUS:
        replicas -= 1
    kept = [gpu for gpu in ordered if gpu.replica < replicas]
    return kept[: max(MOST_GPUS, stages if stages <= MOST_GPUS else MOST_GPUS)]


def _block(event: Event, end_s: float) -> Block:
    return Block(event.work, event.minibatch, event.start_s, min(event.end_s, end_s))


def _held(simulation: Simulation, rank: int, end_s: float) -> tuple[tuple[float, float], ...]:
    curve = simulation.memory(rank)
    pairs = zip(curve.time_s.tolist(), curve.held_bytes.tolist(), strict=True)
    return tuple((time, held) for time, held in pairs if time < end_s)


def timeline_of(facts: Facts) -> DrawnTimeline | str:
    """Return the timeline with its words, and bars in per cent; or why there is none."""
    simulation = facts.simulation
    if isinstance(simulation, str):
        return simulation
    timeline = make_timeline(simulation)
    return DrawnTimeline(
        rows=tuple(_drawn(row, timeline.end_s, facts) for row in timeline.rows),
        ticks=tuple((share(t, timeline.end_s), time_words(t)) for t in ticks(timeline.end_s)),
        sentences=tuple(_sentences(facts, simulation, timeline)),
        minibatches=timeline.minibatches,
    )


def ticks(end_s: float) -> list[float]:
    """Round times, about :data:`TICKS` of them.

    >>> ticks(0.52)
    [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    """
    if end_s <= 0:
        return [0.0]
    raw = end_s / TICKS
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(f * unit for f in (1, 2, 5, 10) if f * unit >= raw)
    return [round(i * step, 12) for i in range(int(end_s / step) + 1)]


def _drawn(row: TimelineRow, end_s: float, facts: Facts) -> DrawnTimelineRow:
    limit = facts.cluster.groups[row.gpu.group].memory_bytes
    peak = max(held for _, held in row.held)
    return DrawnTimelineRow(
        css=stage_class(row.gpu.stage),
        stage=row.gpu.stage,
        name=clean(row.gpu.name, 60),
        bubble="–" if row.bubble is None else percent_words(row.bubble),
        peak=size(peak) + ("" if limit is None else f" of {size(limit)}"),
        blocks=tuple(_drawn_block(block, end_s) for block in row.blocks),
        held=_outline(row.held, end_s, peak),
    )


def _drawn_block(block: Block, end_s: float) -> DrawnBlock:
    x, width = share(block.start_s, end_s), share(block.end_s - block.start_s, end_s)
    label = str(block.minibatch) if block.work in {Work.FORWARD, Work.BACKWARD} else ""
    room = LABEL_PER_CENT[0] + LABEL_PER_CENT[1] * len(label)
    return DrawnBlock(
        css=f"w-{block.work.value}",
        x=x,
        width=width,
        middle=round(x + width / 2, 3),
        label=label if width >= room else "",
        transfer=block.work.is_transfer,
    )


def _outline(held: Sequence[tuple[float, float]], end_s: float, peak: float) -> str:
    """Steps as the data of a closed path."""
    if peak <= 0:
        return ""
    data, x = ["M0 100"], 0.0
    for time, level in held:
        x = 10 * share(time, end_s)
        data.append(f"H{x:.1f}V{100 - 95 * level / peak:.1f}")
    return "".join([*data, "H1000V100Z"])


def _sentences(facts: Facts, simulation: Simulation, timeline: Timeline) -> list[str]:
    """What the simulation says in words."""
    told = []
    predicted, simulated = facts.evaluation.period_s, simulation.period_s
    if simulated is not None and predicted > 0:
        told.append(
            f"A simulation of {simulation.minibatches:,} minibatches, in 1F1B order, needs "
            f"{time_words(simulated)} per minibatch in steady state, "
            f"{_against(simulated / predicted - 1, predicted)}."
        )
        if abs(simulated / predicted - 1) >= NEGLIGIBLE:
            told += _reasons(facts, predicted)
    told.append(
        f"The pipeline fills in {time_words(simulation.fill_s)} and drains in "
        f"{time_words(simulation.drain_s)}."
    )
    if timeline.left_out:
        told.append(f"{timeline.left_out:,} more replicas look alike and are not shown.")
    return told


def _against(off: float, predicted_s: float) -> str:
    if abs(off) < NEGLIGIBLE:
        return "as the cost model predicts"
    more = "more" if off > 0 else "less"
    return f"{percent_words(abs(off))} {more} than the {time_words(predicted_s)} that are predicted"


def _reasons(facts: Facts, predicted_s: float) -> list[str]:
    """Say what makes up for the difference: more in flight, links that are not shared."""
    conditions = conditions_of(facts.cost_model)
    found = check_period(facts.instance, facts.plan, conditions, facts.cost_model.name, predicted_s)
    told = []
    if found.slack > 0:
        told.append(
            f"With more minibatches in flight (a slack of {found.slack}), which hide the transfers "
            f"and take more memory, it would be {time_words(found.cards_s)}."
        )
    if found.cards_s > found.own_s * (1 + NEGLIGIBLE):
        cards = ", ".join(clean(name, 60) for name, _ in found.shared_cards[:3])
        told.append(
            f"Transfers share links ({cards}): were none shared, it would be "
            f"{time_words(found.own_s)}."
        )
    return [*told, *(f"{text[:1].upper()}{text[1:]}." for text in found.simplifications)]
