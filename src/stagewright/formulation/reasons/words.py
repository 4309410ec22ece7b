"""Reasons as sentences. Names come from files: they are made printable, and kept short."""

from __future__ import annotations

from collections.abc import Sequence

from stagewright.formulation.problem import Problem
from stagewright.formulation.reasons.changes import Change, ChangeKind
from stagewright.formulation.reasons.demands import KEPT, LIMITS, TOGETHER, limit_of
from stagewright.formulation.reasons.infeasible import Infeasibility, Need
from stagewright.formulation.reasons.limits import Cause, CutLimit, MemoryLimit, StageLimit
from stagewright.model.errors import printable
from stagewright.model.plan import Plan

NAME_LIMIT = 40
DESCRIPTION_LIMIT = 30
FEW = 3
WHOLE = 0.9995


def size_words(n_bytes: float) -> str:
    """Bytes in the unit that keeps them short.

    >>> size_words(21.44e9), size_words(5e6), size_words(12.0)
    ('21.4 GB', '5 MB', '12 bytes')
    """
    if n_bytes >= 1e9:
        return f"{n_bytes / 1e9:.1f} GB"
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.0f} {unit}"
    return f"{n_bytes:.0f} bytes"


def time_words(seconds: float) -> str:
    """Milliseconds with four significant digits.

    >>> time_words(0.1527520), time_words(12.3456), time_words(0)
    ('152.8 ms', '12,346 ms', '0 ms')
    """
    value = seconds * 1000
    return (
        f"{value:,.0f} ms" if value == 0 or value >= 1000 else f"{value:#.4g}".rstrip(".") + " ms"
    )


def layer_words(problem: Problem, node: str) -> str:
    """Name of a layer, and what it is: ``node31 (Conv2d)``."""
    description = problem.instance.graph.by_id[node].description.partition("(")[0].strip()
    kind = f" ({printable(description, DESCRIPTION_LIMIT)})" if description else ""
    return f"{printable(node, NAME_LIMIT)}{kind}"


def stage_words(problem: Problem, plan: Plan, k: int) -> str:
    """Number, layers and GPUs of a stage: ``stage 0 (19 layers, node2 … node20; TitanXP×2)``."""
    instance, stage = problem.instance, plan.stages[k]
    nodes = [printable(node, NAME_LIMIT) for node in stage.nodes if node in instance.index]
    held = nodes[0] if len(nodes) == 1 else f"{len(nodes)} layers, {nodes[0]} … {nodes[-1]}"
    cluster = instance.cluster
    several = len(cluster.servers) > 1
    gpus = " + ".join(
        f"{printable(group.gpu, NAME_LIMIT)}×{n}"
        + (f" @{printable(cluster.servers[group.server], NAME_LIMIT)}" if several else "")
        for group, n in zip(cluster.groups, stage.replicas, strict=True)
        if n > 0
    )
    return f"stage {k} ({held}; {gpus})"


def stage_sentence(problem: Problem, plan: Plan, limit: StageLimit) -> str:
    """Say how a stage spends the period."""
    parts = [f"{time_words(limit.compute_s)} of computing"]
    if limit.sync_s > 0:
        parts.append(f"{time_words(limit.sync_s)} of all-reduce")
    if limit.waiting_s > 0:
        parts.append(f"{time_words(limit.waiting_s)} of waiting for its input")
    name = stage_words(problem, plan, limit.stage)
    text = f"S{name[1:]} takes the whole period: {_listed(parts)}."
    if limit.cause == Cause.ALL_REDUCE:
        replicas = plan.stages[limit.stage].replica_count
        text += (
            f" Most of it is the all-reduce of {size_words(limit.parameter_bytes)} of parameters "
            f"between {replicas} replicas."
        )
    elif limit.cause == Cause.WAITING:
        text += " Most of it is waiting, as nothing overlaps (--no-overlap)."
    elif limit.cause == Cause.LAYER:
        share = limit.heaviest_share
        part = "all" if share >= WHOLE else f"{share:.0%}".replace("%", " %")
        text += (
            f" {layer_words(problem, limit.heaviest)} alone takes {part} of the computing, and a "
            "layer cannot be split: only more or faster replicas help."
        )
    if limit.pace is not None:
        (slowest, longest), *others = limit.type_s
        rest = _listed([f"{printable(gpu, NAME_LIMIT)} {time_words(t)}" for gpu, t in others])
        text += (
            f" {printable(slowest, NAME_LIMIT)} sets the pace: it needs {time_words(longest)} "
            f"for one minibatch, {rest}."
        )
    return text


def cut_sentence(problem: Problem, limit: CutLimit) -> str:
    """Say what crosses a cut, and where."""
    here, there = limit.stage, limit.stage + 1
    what = layer_words(problem, limit.layers[0]) if limit.layers else "no layer"
    if len(limit.layers) > 1:
        what = f"{len(limit.layers)} layers, most of it of {what},"
    servers = [printable(name, NAME_LIMIT) for name in limit.servers]
    where = f"inside {servers[0]}" if len(servers) == 1 else f"between {_listed(servers)}"
    return (
        f"The transfer from stage {here} to stage {there} takes the whole period: "
        f"{time_words(limit.transfer_s)} for {size_words(limit.cut_bytes)} of activations of "
        f"{what} and as much back, {where}."
    )


def memory_sentence(limit: MemoryLimit) -> str:
    """Say how full a GPU is."""
    return (
        f"Memory binds: stage {limit.stage} needs {size_words(limit.needed_bytes)} of the "
        f"{size_words(limit.memory_bytes)} of a {printable(limit.gpu, NAME_LIMIT)}."
    )


def change_words(problem: Problem, change: Change) -> str:
    """Name a change, as part of a sentence; ``problem`` is what it was before."""
    subject, value = change.subject, change.value or 0.0
    if change.kind == ChangeKind.WITHOUT:
        return f"without the demand that {demand_words(problem, subject)}"
    if change.kind == ChangeKind.LIMIT:
        return _limit_words(subject, value)
    if change.kind == ChangeKind.MEMORY:
        return _more_memory(change)
    if change.kind == ChangeKind.GPU:
        several = len(problem.instance.cluster.servers) > 1
        where = f" in {printable(change.server, NAME_LIMIT)}" if several else ""
        return f"one more {printable(subject, NAME_LIMIT)}{where}"
    if change.kind == ChangeKind.BANDWIDTH:
        return "twice the bandwidth" if value == 2 else f"{value:g} times the bandwidth"
    return {
        ChangeKind.MEMORY_LIFTED: "memory without limit",
        ChangeKind.RECOMPUTE: "stages that may recompute (--recompute auto)",
        ChangeKind.VERSIONS: f"fewer versions of the weights (--versions {subject})",
    }[change.kind]


def _more_memory(change: Change) -> str:
    by_size: dict[float, list[str]] = {}
    for gpu, n_bytes in change.memory_bytes:
        by_size.setdefault(n_bytes, []).append(f"each {printable(gpu, NAME_LIMIT)}")
    parts = [f"{size_words(size)} of memory on {_listed(x)}" for size, x in by_size.items()]
    return _listed(parts)


def _limit_words(demand: str, value: float) -> str:
    return {
        "max-stages": f"at most {_count(value, 'stage')} (--max-stages {value:.0f})",
        "max-replicas": f"at most {_count(value, 'replica')} of a stage "
        f"(--max-replicas {value:.0f})",
        "max-gpus": f"at most {_count(value, 'GPU')} (--max-gpus {value:.0f})",
        "max-price": f"a price of at most {value:.2f} per hour (--max-price {value:.2f})",
        KEPT: f"at most {_count(value, 'layer')} in another stage (--max-moved {value:.0f})",
    }[demand]


def _count(number: float, noun: str) -> str:
    return f"{number:.0f} {noun}{'' if number == 1 else 's'}"


def demand_words(problem: Problem, demand: str) -> str:
    """Return a demand, by its name, as a clause."""
    limit = limit_of(problem, demand) if demand in LIMITS else 0.0
    clauses = {
        "memory": "every stage fits the memory of its GPUs (--use-memory-constraint)",
        "use-all": "every GPU is used (--use-all)",
        "straight-pipeline": "no stage is replicated (--straight-pipeline)",
        "max-stages": f"there may be at most {_count(limit, 'stage')} (--max-stages)",
        "max-replicas": f"a stage may have at most {_count(limit, 'replica')} (--max-replicas)",
        "max-gpus": f"at most {_count(limit, 'GPU')} may be used (--max-gpus)",
        "max-price": f"the GPUs may cost at most {limit:g} per hour (--max-price)",
        KEPT: f"at most {_count(limit, 'layer')} may move to another stage (--max-moved)",
    }
    return clauses.get(demand) or _placement_words(problem, demand)


def _placement_words(problem: Problem, demand: str) -> str:
    placement, cluster = problem.instance.rules.placement, problem.instance.cluster
    family, _, node = demand.partition(":")
    if family == TOGETHER:
        nodes = next(x for x in placement.together if node in x)
        shown = [printable(x, NAME_LIMIT) for x in nodes[:FEW]]
        rest = [f"{len(nodes) - FEW} more"] if len(nodes) > FEW else []
        return f"{_listed([*shown, *rest])} share a stage"
    if family == "pin":
        return f"{layer_words(problem, node)} lies in stage {dict(placement.stage)[node]}"
    groups = [cluster.groups[g] for x, banned in placement.forbidden if x == node for g in banned]
    several = len(cluster.servers) > 1
    names = [
        printable(g.gpu, NAME_LIMIT)
        + (f" in {printable(cluster.servers[g.server], NAME_LIMIT)}" if several else "")
        for g in groups
    ]
    return f"{layer_words(problem, node)} is not on {_listed(names, 'or')}"


def need_sentence(problem: Problem, need: Need) -> str:
    """Say which stage is too large for which GPU, and what fills it."""
    among = "Even the plan" if need.proven else "Of the plans found in time, even the one"
    stage = stage_words(problem, need.plan, need.stage)
    copies = size_words(need.copies * need.parameter_bytes)
    flying = f"{need.in_flight} minibatch{'es' if need.in_flight > 1 else ''} in flight"
    held = f"activations {size_words(need.in_flight * need.activation_bytes)} ({flying})"
    if need.plan.stages[need.stage].recompute:
        held = (
            f"inputs {size_words(need.in_flight * need.input_bytes)} ({flying}), activations "
            f"{size_words(need.activation_bytes)} (computed again)"
        )
    return (
        f"{among} that needs the least memory does not fit: {stage} needs "
        f"{size_words(need.needed_bytes)} on {printable(need.gpu, NAME_LIMIT)} "
        f"({size_words(need.memory_bytes)}): parameters {copies} ({need.copies} copies), {held}."
    )


def infeasible_sentences(problem: Problem, reasons: Infeasibility) -> tuple[str, ...]:
    """Say why there is no plan, and which single changes lead to one; one entry is one line."""
    one = len(reasons.demands) == 1
    lines = ["No plan meets this demand:" if one else "No plan meets these demands together:"]
    if not reasons.minimal:
        lines = ["No plan meets these demands together, and perhaps not even some of them:"]
    lines += [f"- {demand_words(problem, demand)}" for demand in reasons.demands]
    if reasons.need is not None:
        lines.append(need_sentence(problem, reasons.need))
    lines += _changes(problem, "There is a plan with any one of these changes:", reasons.helps)
    if not reasons.helps:
        lines.append("No single change that was tried leads to a plan.")
    lines += _changes(problem, "Proven not to help alone:", reasons.fails)
    lines += _changes(problem, "Not decided in time:", reasons.untried)
    return tuple(lines)


def _changes(problem: Problem, heading: str, changes: Sequence[Change]) -> list[str]:
    texts = [f"- {change_words(problem, change)}" for change in changes]
    return [heading, *texts] if texts else []


def _listed(parts: Sequence[str], word: str = "and") -> str:
    """Join with commas and a last word.

    >>> _listed(["a", "b", "c"])
    'a, b and c'
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {word} {parts[-1]}"
