"""How far predicted profiles are from measured ones, and what that costs a plan.

``python -m stagewright.scenarios.transfer_accuracy --reference DIR`` carries every measured
profile of MinkVGG16-BN over to the other two GPU types and sets the prediction beside what was
measured there; then it plans for every cluster of the published heterogeneous planner with
predictions in place of measurements, and evaluates these plans under the measurements.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from stagewright.formulation.problem import Problem, Settings
from stagewright.formulation.run import run_planner
from stagewright.model.cluster import Cluster, GpuGroup, uniform_links
from stagewright.model.costs import SparsePipe
from stagewright.model.evaluate import evaluate
from stagewright.model.graph import LayerGraph
from stagewright.model.instance import build_instance
from stagewright.model.profile import read_profile
from stagewright.profile.devices import known_device
from stagewright.profile.transfer import ATTAINABLE, Transfer, carry_over
from stagewright.profile.work import estimate_work
from stagewright.scenarios.suites import BANDWIDTHS, SPELLED, mixed

FILES = dict(SPELLED.values())
"""GPU type to how the profiles' file names spell it."""

BATCHES = ("b64", "b128")
PLANNER = "exact-dp"

SAME_SOFTWARE = {"TitanV": "TitanXP", "TitanXP": "TitanV"}
"""Measured by one software; the third type's convolutions and hash tables are another's."""


OUTLIER = "minkvgg_b128_tv", "node19", "node22"
"""A profile, and two equal layers on tensors of equal size in it whose backward times differ
2.6-fold: 284 and 109 ms. ``--mend`` gives the first the second's."""


@dataclass(frozen=True, slots=True)
class Errors:
    """A prediction beside the truth; factors are at least 1.

    Attributes
    ----------
    median, p90
        Factor by which the time of a layer (forward and backward) is off: half of the layers,
        and nine in ten, are off by no more.
    total
        Predicted time of the whole network over the measured one.
    total_per_byte
        The same for equal minibatches: the times of each layer divided by its activation bytes.
    """

    median: float
    p90: float
    total: float
    total_per_byte: float


def predict(measured: LayerGraph, source: str, target: str, attainable: float) -> LayerGraph:
    """Carry a profile over from one of the three GPU types to another."""
    transfer = Transfer(known_device(source), known_device(target), attainable=attainable)
    return carry_over(measured, estimate_work(measured), transfer)


def errors(predicted: LayerGraph, measured: LayerGraph) -> Errors:
    """Compare two profiles of a network, layer by layer; what feeds data in is left out."""
    pairs = [
        (predicted.by_id[x.id], x)
        for x in measured.layers
        if x.id not in measured.inputs and x.total_ms > 0
    ]
    off = sorted(abs(math.log(p.total_ms / m.total_ms)) for p, m in pairs)
    equal = sum(
        p.total_ms * (m.activation_bytes / p.activation_bytes if p.activation_bytes else 1)
        for p, m in pairs
    )
    truth = sum(m.total_ms for _, m in pairs)
    return Errors(
        median=math.exp(statistics.median(off)),
        p90=math.exp(off[math.ceil(0.9 * len(off)) - 1]),
        total=sum(p.total_ms for p, _ in pairs) / truth,
        total_per_byte=equal / truth,
    )


def mend(graph: LayerGraph) -> LayerGraph:
    """Return the profile without its outlier, if it is the one that has it."""
    profile, node, equal = OUTLIER
    if graph.name != profile:
        return graph
    backward_ms = graph.by_id[equal].backward_ms
    layers = (
        dataclasses.replace(x, backward_ms=backward_ms) if x.id == node else x for x in graph.layers
    )
    return dataclasses.replace(graph, layers=tuple(layers))


def for_rows_of(graph: LayerGraph, other: LayerGraph) -> LayerGraph:
    """Return ``graph`` with its times as for the minibatch of ``other``, in proportion.

    Features decide; coordinates that one of them carries beside do not.
    """
    layers = []
    for x in graph.layers:
        own_bytes = x.activation_parts_bytes[0]
        rows = other.by_id[x.id].activation_parts_bytes[0] / own_bytes if own_bytes else 1.0
        forward_ms, backward_ms = rows * x.forward_ms, rows * x.backward_ms
        layers.append(dataclasses.replace(x, forward_ms=forward_ms, backward_ms=backward_ms))
    return dataclasses.replace(graph, layers=tuple(layers))


def transfers(
    reference: Path, attainable: float = ATTAINABLE
) -> Iterator[tuple[str, str, str, Errors]]:
    """Yield (batch, source, target, errors) for every ordered pair of measured GPU types."""
    for batch in BATCHES:
        graphs = {
            gpu: read_profile(reference / "profiles" / f"minkvgg_{batch}_{short}.txt")
            for gpu, short in FILES.items()
        }
        for (source, known), (target, truth) in itertools.permutations(graphs.items(), 2):
            yield batch, source, target, errors(predict(known, source, target, attainable), truth)


@dataclass(frozen=True, slots=True)
class Loss:
    """A plan made with predictions, evaluated under measurements.

    Attributes
    ----------
    cluster
        As the goldens spell it, with its bandwidths.
    measured
        GPU types that were measured; the others were predicted.
    optimum_s
        Period of the best plan, in seconds per minibatch.
    ratio
        Period of the plan over :attr:`optimum_s`.
    """

    cluster: str
    measured: tuple[str, ...]
    optimum_s: float
    ratio: float


def planning_losses(
    reference: Path, attainable: float = ATTAINABLE, *, mended: bool = False
) -> Iterator[Loss]:
    """Yield the loss for every golden cluster and every way to measure a part of its types.

    Parameters
    ----------
    reference
        Folder of the reference data.
    attainable
        As :class:`~stagewright.profile.transfer.Transfer` has it.
    mended
        Whether to leave the outlier out of the measured profiles.
    """
    problems = list(_examples(reference))
    problems += [(case.name, case.problem()) for case in mixed(reference)]
    for name, given in problems:
        truth = {
            gpu: mend(graph) if mended else graph for gpu, graph in given.instance.profiles.items()
        }
        problem = _with_profiles(given, truth)
        batch = name.partition("_")[0]
        optimum_s = _period_s(problem, problem)
        for measured in _ways(tuple(truth)):
            known = {gpu: _measured(reference, truth, batch, gpu) for gpu in measured}
            guess = {
                gpu: known[gpu] if gpu in known else predict(known[source], source, gpu, attainable)
                for gpu in truth
                for source in (_source(gpu, measured),)
            }
            instance = build_instance(guess, problem.instance.cluster)
            period_s = _period_s(dataclasses.replace(problem, instance=instance), problem)
            yield Loss(name, measured, optimum_s, period_s / optimum_s)


def outlier_losses(reference: Path) -> Iterator[Loss]:
    """Yield what a prediction loses that is exact but for the outlier, which it does not foresee.

    No rule that carries profiles over can do better: equal layers get equal times from it.
    """
    for case in mixed(reference):
        problem = case.problem()
        truth = problem.instance.profiles
        if any(mend(graph) is not graph for graph in truth.values()):
            guess = _with_profiles(problem, {gpu: mend(graph) for gpu, graph in truth.items()})
            optimum_s = _period_s(problem, problem)
            ratio = _period_s(guess, problem) / optimum_s
            yield Loss(case.name, ("all but one layer",), optimum_s, ratio)


def _examples(reference: Path) -> Iterator[tuple[str, Problem]]:
    """The example of the published server file: one TitanV and three TitanXP."""
    counts = {"TitanV": 1, "TitanXP": 3}
    graphs = {
        gpu: read_profile(reference / "profiles" / f"example_{FILES[gpu]}.txt") for gpu in counts
    }
    groups = tuple(GpuGroup(0, gpu, n) for gpu, n in counts.items())
    for bandwidth in BANDWIDTHS:
        cluster = Cluster(("Server0",), groups, *uniform_links([bandwidth], bandwidth))
        problem = Problem(build_instance(graphs, cluster), SparsePipe())
        yield f"example {bandwidth:.0e}", problem


def _ways(types: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Which of a cluster's types are measured: each alone, then all but one of like software.

    Where there is one type only, it is predicted from each of the others.
    """
    alone = types if len(types) > 1 else tuple(gpu for gpu in FILES if gpu not in types)
    yield from ((gpu,) for gpu in alone)
    if len(types) > 2:
        for left_out in SAME_SOFTWARE.values():
            yield tuple(x for x in types if x != left_out)


def _source(gpu: str, measured: tuple[str, ...]) -> str:
    twin = SAME_SOFTWARE.get(gpu, "")
    return twin if twin in measured else measured[0]


def _measured(reference: Path, truth: Mapping[str, LayerGraph], batch: str, gpu: str) -> LayerGraph:
    if gpu in truth:
        return truth[gpu]
    return read_profile(reference / "profiles" / f"minkvgg_{batch}_{FILES[gpu]}.txt")


def _with_profiles(problem: Problem, profiles: Mapping[str, LayerGraph]) -> Problem:
    instance = build_instance(profiles, problem.instance.cluster)
    return dataclasses.replace(problem, instance=instance)


def _period_s(planned_with: Problem, truth: Problem) -> float:
    """Return the period that the best plan for one problem has in another."""
    plan = run_planner(PLANNER, planned_with, Settings(workers=1)).plan
    return evaluate(truth.instance, plan, truth.cost_model).period_s


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--reference",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with the measured profiles (profiles/) and the published answers (goldens/).",
)
@click.option(
    "--attainable",
    type=click.FloatRange(min=0.01, max=1.0),
    default=ATTAINABLE,
    show_default=True,
    help="Share of a datasheet's rate that well-written kernels reach.",
)
@click.option("--plans/--no-plans", default=True, help="Plan for the golden clusters too.")
@click.option(
    "--mend", "mended", is_flag=True, help="Leave the one known outlier out of the profiles."
)
@click.option(
    "--outlier",
    is_flag=True,
    help="What a prediction loses that is exact everywhere but there; do nothing else.",
)
@click.option(
    "--compare",
    "compared",
    nargs=2,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="PREDICTED MEASURED",
    help="Set one profile beside another of the same network, and do nothing else.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(
    reference: Path | None,
    attainable: float,
    plans: bool,
    mended: bool,
    outlier: bool,
    compared: tuple[Path, Path] | None,
    as_json: bool,
) -> None:
    """Set predicted profiles beside measured ones, and plans beside the best ones."""
    if compared is not None:
        predicted, measured = (read_profile(path) for path in compared)
        found = errors(for_rows_of(predicted, measured), measured)
        click.echo(f"median {found.median:.2f}, p90 {found.p90:.2f}, total {found.total:.2f}")
        return
    if reference is None:
        raise click.UsageError("name the folder of the reference data with --reference")
    if outlier:
        Console(width=100, highlight=False).print(_loss_table(list(outlier_losses(reference))))
        return
    rows = list(transfers(reference, attainable))
    losses = list(planning_losses(reference, attainable, mended=mended)) if plans else []
    if as_json:
        data = {
            "attainable": attainable,
            "transfers": [
                {"batch": b, "source": s, "target": t, **dataclasses.asdict(e)}
                for b, s, t, e in rows
            ],
            "losses": [dataclasses.asdict(loss) for loss in losses],
        }
        click.echo(json.dumps(data, indent=1))
        return
    console = Console(width=100, highlight=False)
    console.print(_transfer_table(rows))
    if plans:
        console.print(_loss_table(losses))


def _transfer_table(rows: list[tuple[str, str, str, Errors]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("batch", "measured on", "predicted for"):
        table.add_column(heading)
    for heading in ("median layer", "p90 layer", "total", "total per byte"):
        table.add_column(heading, justify="right")
    for batch, source, target, e in rows:
        figures = (e.median, e.p90, e.total, e.total_per_byte)
        table.add_row(batch, source, target, *(f"{x:.2f}" for x in figures))
    return table


def _loss_table(losses: list[Loss]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("cluster, bytes/s")
    table.add_column("optimum ms", justify="right")
    table.add_column("measured types: period of the plan / optimum")
    for (name, optimum_s), found in itertools.groupby(losses, lambda x: (x.cluster, x.optimum_s)):
        cells = (f"{'+'.join(x.measured)} {x.ratio:.3f}" for x in found)
        table.add_row(name, f"{1e3 * optimum_s:.2f}", "  ".join(cells))
    return table


if __name__ == "__main__":
    main()
