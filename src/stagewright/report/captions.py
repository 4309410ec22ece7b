"""What a picture of a plan says: headers, names, figures and their longer explanations."""

from __future__ import annotations

import math
from collections import Counter
from functools import cached_property

from stagewright.model.evaluate import Evaluation
from stagewright.model.instance import Instance
from stagewright.model.plan import Plan, Stage
from stagewright.report.labels import clean, figure, milliseconds, short_name, size

DESCRIPTION_LIMIT = 200
NAME_LIMIT = 80


class Captions:
    """The words and figures of one plan's picture, cleaned but not yet escaped.

    Attributes
    ----------
    panel_of
        Panel of each node of the graph: its stage's; the one after the last stage for layers
        that the plan forgets.
    panels
        How many panels there are.
    """

    def __init__(self, instance: Instance, plan: Plan, evaluation: Evaluation) -> None:
        self.instance, self.plan, self.evaluation = instance, plan, evaluation
        self.graph = instance.graph
        self.gpu = instance.cluster.groups[0].gpu
        self._timed = instance.profiles[self.gpu]
        self.panel_of = self._panels()
        self.panels = max(len(plan.stages), *(p + 1 for p in self.panel_of.values()))

    def _panels(self) -> dict[str, int]:
        stage_of: dict[str, int] = {}
        for k, stage in enumerate(self.plan.stages):
            for node in stage.nodes:
                stage_of.setdefault(node, k)
        panel_of: dict[str, int] = {}
        for layer in self.graph.layers:
            panel_of[layer.id] = stage_of.get(layer.id, len(self.plan.stages))
        for node in self.graph.inputs - stage_of.keys():
            panel_of[node] = 0
        for node in self.graph.dropped - stage_of.keys():
            sources = [panel_of[u] for u in self.graph.digraph.predecessors(node)]
            panel_of[node] = max(sources, default=0)
        return panel_of

    @property
    def name(self) -> str:
        """Name of the graph."""
        return clean(self.graph.name, NAME_LIMIT) or "layer graph"

    @property
    def summary(self) -> list[str]:
        """Parts of the line below the title: how fast the plan is."""
        return [
            f"period {milliseconds(1000 * self.evaluation.period_s)}",
            f"{figure(self.evaluation.throughput_per_s, 4)} minibatches/s",
            f"limited by {self._limit()}",
        ]

    @property
    def origin(self) -> list[str]:
        """Parts of the line below that: what the plan uses, and who made it."""
        stages, gpus = len(self.plan.stages), self.instance.cluster.gpu_count
        return [
            f"{stages} stage{'s' if stages != 1 else ''}",
            f"{self.plan.gpu_count} of {gpus} GPU{'s' if gpus != 1 else ''}",
            f"planner {clean(self.plan.planner, 40)}",
        ]

    def _limit(self) -> str:
        for k, figures in enumerate(self.evaluation.stages):
            if figures.busiest_s == self.evaluation.period_s:
                if figures.time_s >= figures.busiest_s:
                    return f"stage {k}"
                if figures.output_transfer_s >= figures.busiest_s:
                    return f"the cut after stage {k}"
                return f"the cut before stage {k}"
        return "nothing"

    @property
    def warning(self) -> str:
        """What is wrong with the plan, or nothing."""
        violations = self.evaluation.violations
        if not violations:
            return ""
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        return f"Not a valid plan: {clean(violations[0].message, 160)}{more}"

    def header(self, panel: int) -> list[list[str]]:
        """Lines of a panel's header, each in parts, most important first."""
        if panel >= len(self.plan.stages):
            return [["In no stage"], ["layers that the plan leaves out"]]
        figures = self.evaluation.stages[panel]
        stage = self.plan.stages[panel]
        again = ["recomputes"] if stage.recompute else []
        lines = [
            [f"Stage {panel}", self._replicas(stage), *again],
            [
                milliseconds(1000 * figures.time_s),
                *(f"{x} of the period" for x in self._share_of_period(figures.time_s)),
                size(figures.memory_bytes),
            ],
        ]
        if panel > 0:
            transfer = figures.input_transfer_s
            lines.append(
                [
                    f"receives {size(figures.input_bytes)} in {milliseconds(1000 * transfer)}",
                    *self._share_of_period(transfer),
                ]
            )
        return lines

    def _share_of_period(self, time_s: float) -> list[str]:
        """How much of the period that is, if the period is a number to speak of."""
        period_s = self.evaluation.period_s
        if period_s <= 0 or not math.isfinite(period_s):
            return []
        return [f"{100 * time_s / period_s:.0f} %"]

    def _replicas(self, stage: Stage) -> str:
        counts: Counter[str] = Counter()
        servers: dict[int, None] = {}
        for group, n in zip(self.instance.cluster.groups, stage.replicas, strict=True):
            if n > 0:
                counts[group.gpu] += n
                servers[group.server] = None
        text = " + ".join(f"{clean(gpu, 40)}×{n}" for gpu, n in counts.items()) or "no GPU"
        if len(self.instance.cluster.servers) == 1 or not servers:
            return text
        if len(servers) > 1:
            return f"{text} on {len(servers)} servers"
        return f"{text} on {clean(self.instance.cluster.servers[next(iter(servers))], 40)}"

    def is_free(self, node: str) -> bool:
        """Whether the node takes no part in the plan's cost."""
        return node in self.graph.inputs or node in self.graph.dropped

    def layer_ms(self, node: str) -> float:
        """Forward and backward time that the node is charged, on the first group's GPU type."""
        return 0.0 if self.is_free(node) else self._timed.by_id[node].total_ms

    def layer_time(self, node: str) -> str:
        """What a box says about its time."""
        if node in self.graph.inputs:
            return "input"
        return "unused" if node in self.graph.dropped else milliseconds(self.layer_ms(node), 3)

    @cached_property
    def longest_ms(self) -> float:
        """Time of the slowest layer."""
        return max(self.layer_ms(layer.id) for layer in self.graph.layers)

    @cached_property
    def _all_ms(self) -> float:
        return sum(self.layer_ms(layer.id) for layer in self.graph.layers)

    def layer_name(self, node: str) -> str:
        """Short name of the node's layer."""
        return short_name(self.graph.by_id[node].description)

    def explain_layer(self, node: str) -> str:
        """All that is known about a node, for its tooltip."""
        layer, timed = self.graph.by_id[node], self._timed.by_id[node]
        panel = self.panel_of[node]
        where = f"stage {panel}" if panel < len(self.plan.stages) else "in no stage"
        if node in self.graph.dropped:
            where = "unused output, left out of the plan"
        elif node in self.graph.inputs:
            where += ", input: free"
        times = (
            f"forward {milliseconds(timed.forward_ms)}, backward {milliseconds(timed.backward_ms)} "
            f"on {clean(self.gpu, 40)}"
        )
        if not self.is_free(node):
            times += f", {self._share(node)} of the network"
        sizes = (
            f"activation {size(layer.activation_bytes)}, parameters {size(layer.parameter_bytes)}"
        )
        title = f"{clean(node, NAME_LIMIT)}: {clean(layer.description, DESCRIPTION_LIMIT)}"
        return "\n".join([title, f"{where}; {times}", sizes])

    def _share(self, node: str) -> str:
        return f"{figure(100 * self.layer_ms(node) / self._all_ms, 3)} %" if self._all_ms else "–"

    def wire_bytes(self, producer: str) -> str:
        """What is written on a wire that crosses a cut."""
        if producer in self.graph.inputs:
            return "input"
        return size(self.graph.by_id[producer].activation_bytes)

    def explain_wire(self, producer: str, readers: list[str]) -> str:
        """Who reads a node's activation, for the tooltip of its wire."""
        shown = ", ".join(clean(x, NAME_LIMIT) for x in readers[:8])
        more = f" and {len(readers) - 8} more" if len(readers) > 8 else ""
        return f"{clean(producer, NAME_LIMIT)} → {shown}{more}: {self.wire_bytes(producer)}"

    def description(self) -> str:
        """The whole picture in words, for those who do not see it."""
        stages = [
            "; ".join(" · ".join(line) for line in self.header(p)) for p in range(self.panels)
        ]
        counts = Counter(self.panel_of.values())
        layers = [f"{text}; {counts[p]} layers" for p, text in enumerate(stages)]
        summary = ", ".join([*self.summary, *self.origin])
        lines = [f"A layer graph in pipeline stages: {summary}.", *(f"{x}." for x in layers)]
        return "\n".join([*lines, self.warning] if self.warning else lines)
