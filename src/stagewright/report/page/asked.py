"""What was asked: the network, the cluster, the cost model, options and demands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stagewright.model.costs import is_proportional
from stagewright.model.rule_names import rules_in_words
from stagewright.report.labels import clean, figure, size
from stagewright.report.page.facts import Facts, count_words, time_words

MODELS = {
    "topology": "any servers and GPU types; bandwidth and latency by where the replicas are",
    "pipedream": "one server of like GPUs, as PipeDream's planner assumes",
    "sparsepipe": "one server of mixed GPUs, as SparsePipe's planner assumes",
    "max-load": "one device a stage, which computes and transfers by turns",
}
MOST_SERVERS = 8

Row = tuple[str, tuple[str, ...]]


def asked_rows(facts: Facts) -> list[Row]:
    """Return headings with their sentences, in the order to be read."""
    rules = [clean(x, 800) for x in rules_in_words(facts.instance.rules, facts.cluster)]
    return [
        ("Network", tuple(_network(facts))),
        ("Cluster", tuple(_cluster(facts))),
        ("Cost model", tuple(_cost_model(facts))),
        ("Memory", tuple(_memory(facts))),
        ("Demands", tuple(rules) or ("None: GPUs may stay idle, stages may be replicated.",)),
        *([("Notes", facts.instance.notes)] if facts.instance.notes else []),
    ]


def _network(facts: Facts) -> Iterator[str]:
    instance, graph = facts.instance, facts.instance.graph
    free = len(graph.layers) - len(instance.nodes)
    others = f" ({count_words(free, 'input or unused output', 'inputs or unused outputs')} besides)"
    parts = [
        f"{facts.name}: {count_words(len(instance.nodes), 'layer')}{others if free else ''}",
        count_words(len(instance.edges), "connection"),
        f"{size(float(instance.parameter_bytes.sum()))} of parameters",
    ]
    yield ", ".join(parts)
    for gpu in facts.cluster.gpu_types:
        total_s = float(instance.type_time_s[gpu].sum())
        yield f"{clean(gpu, 40)}: {time_words(total_s)} forward and backward, all layers on one"


def _cluster(facts: Facts) -> Iterator[str]:
    cluster = facts.cluster
    gpus, servers = cluster.gpu_count, len(cluster.servers)
    yield f"{count_words(gpus, 'GPU')} in {count_words(servers, 'server')}"
    for server, name in list(enumerate(cluster.servers))[:MOST_SERVERS]:
        parts = []
        for group in cluster.groups:
            if group.server == server:
                memory = "" if group.memory_bytes is None else f" ({size(group.memory_bytes)})"
                parts.append(f"{clean(group.gpu, 40)}×{group.count}{memory}")
        inside = bandwidth_words([cluster.bandwidth_bytes_per_s[server][server]])
        yield f"{clean(name, 40)}: {', '.join(parts)}; {inside} inside"
    if servers > MOST_SERVERS:
        yield f"and {servers - MOST_SERVERS} more servers"
    if servers > 1:
        pairs = [(s, t) for s in range(servers) for t in range(s)]
        slow = bandwidth_words([cluster.bandwidth_bytes_per_s[s][t] for s, t in pairs])
        latency = max(cluster.latency_s[s][t] for s, t in pairs)
        late = f", latency up to {time_words(latency)}" if latency else ""
        yield f"Between servers: {slow}{late}"


def bandwidth_words(values: Sequence[float]) -> str:
    """Bandwidths in bytes/s as one figure or as a range.

    >>> bandwidth_words([1e9, 1.25e9]), bandwidth_words([1e8])
    ('1 GB/s to 1.25 GB/s', '100 MB/s')
    """
    ends = dict.fromkeys(f"{size(x)}/s" for x in (min(values), max(values)))
    return " to ".join(ends)


def _cost_model(facts: Facts) -> Iterator[str]:
    model = facts.cost_model
    yield f"{model.name}, version {model.version}: {MODELS[model.name]}"
    if model.compression_ratio is None:
        yield "Transfers are not charged"
    elif model.compression_ratio == 1:
        yield "Activations cross cuts as they are (compression ratio 1)"
    else:
        ratio = figure(model.compression_ratio, 4)
        yield f"Activations shrink by {ratio} before they cross a cut"
    if model.name != "max-load":
        yield (
            "Computing overlaps transfers"
            if model.overlap
            else "A stage waits for its input: computing does not overlap its transfer"
        )
    if is_proportional(model):
        yield "Minibatches go to the replicas of a stage in proportion to their speed"
    elif not model.one_device:
        yield "The replicas of a stage take turns"


def _memory(facts: Facts) -> Iterator[str]:
    rules = facts.instance.rules
    kept = {
        "stash": "a version of the weights for every minibatch in flight (stash)",
        "2bw": "two versions of the weights (2bw)",
        "flush": "one version of the weights (flush)",
        "once": "sizes of the profile taken once (once)",
    }
    optimizers = {"sgd": "plain SGD", "momentum": "SGD with momentum", "adam": "Adam"}
    yield f"Counted with {kept[rules.memory.versions]}, {optimizers[rules.memory.optimizer]}"
    yield "Every stage had to fit" if rules.use_memory else "Stages did not have to fit"
