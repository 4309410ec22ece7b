"""What a report is made of: the plan and what others say beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stagewright.model.cluster import Cluster
from stagewright.model.costs import CostModel
from stagewright.model.document import open_document
from stagewright.model.errors import DoesNotApply, InputError
from stagewright.model.evaluate import Evaluation, evaluate
from stagewright.model.instance import Instance
from stagewright.model.plan import Plan
from stagewright.model.plan_schema import PlanDocument
from stagewright.report.labels import clean, milliseconds
from stagewright.simulation import Simulation, conditions_of, simulate

NAME_LIMIT = 80


@dataclass(frozen=True)
class OtherPlan:
    """What another planner made of the same problem.

    Attributes
    ----------
    planner
        Its name.
    period_s
        Under the evaluator of this plan; ``None`` if it has no plan.
    claimed_period_s
        What the planner itself believes, if it says so.
    gpus
        GPUs of its stages, in words, or why it has no plan.
    valid
        Whether its plan keeps every demand.
    """

    planner: str
    period_s: float | None
    claimed_period_s: float | None
    gpus: str
    valid: bool = True


@dataclass(frozen=True)
class Facts:
    """Everything that a report is made of.

    Attributes
    ----------
    document
        The plan document: who planned, and what is proven.
    instance, plan, cost_model, evaluation
        What the document speaks of, opened and evaluated.
    others
        Plans of other planners, made for the same problem.
    simulation
        The plan run in time, or why it cannot be.
    plan_path
        How to name the plan document in commands.
    """

    document: PlanDocument
    instance: Instance
    plan: Plan
    cost_model: CostModel
    evaluation: Evaluation
    others: tuple[OtherPlan, ...] = ()
    simulation: Simulation | str = "it was not asked for"
    plan_path: str = "plan.json"

    @property
    def cluster(self) -> Cluster:
        """The GPUs that there are."""
        return self.instance.cluster

    @property
    def name(self) -> str:
        """Name of the network."""
        return clean(self.document.name, NAME_LIMIT) or "layer graph"


def facts_of(
    document: PlanDocument, others: Sequence[OtherPlan] = (), plan_path: str = "plan.json"
) -> Facts:
    """Open, evaluate and simulate a plan document.

    Raises
    ------
    InputError, DoesNotApply
        If the document contradicts itself.
    """
    instance, plan, cost_model = open_document(document)
    evaluation = evaluate(instance, plan, cost_model)
    return Facts(
        document,
        instance,
        plan,
        cost_model,
        evaluation,
        tuple(others),
        _simulation(instance, plan, cost_model),
        plan_path,
    )


def _simulation(instance: Instance, plan: Plan, cost_model: CostModel) -> Simulation | str:
    """Run the plan, if its cost model speaks of a pipeline and it is not too large."""
    try:
        return simulate(instance, plan, conditions_of(cost_model))
    except (DoesNotApply, InputError) as error:
        return str(error)


def time_words(seconds: float) -> str:
    """Seconds as people read them.

    >>> time_words(0.04368), time_words(0.0)
    ('43.68 ms', '0 ms')
    """
    return milliseconds(1000 * seconds)


def percent_words(fraction: float) -> str:
    """A fraction as a percentage; what is not nothing is not called 0 %.

    >>> [percent_words(x) for x in (1.0, 0.953, 0.0004, 0.0)]
    ['100 %', '95.3 %', 'under 0.1 %', '0 %']
    """
    if 0 < fraction < 0.0005:
        return "under 0.1 %"
    return f"{100 * fraction:.1f}".removesuffix(".0") + " %"


def count_words(number: int, one: str, many: str = "") -> str:
    """A number and its noun.

    >>> count_words(1, "stage"), count_words(1250, "layer")
    ('1 stage', '1,250 layers')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def gpu_words(cluster: Cluster, replicas: Sequence[int]) -> str:
    """GPUs of a stage, with servers where there are several.

    >>> from stagewright.model.cluster import level_cluster
    >>> gpu_words(level_cluster("V100", [4, 2], [1e9, 1e8]), (2, 1))
    'V100×2 @Server0 + V100×1 @Server1'
    """
    several = len(cluster.servers) > 1
    return " + ".join(
        f"{clean(g.gpu, 40)}×{n}" + (f" @{clean(cluster.servers[g.server], 40)}" if several else "")
        for g, n in zip(cluster.groups, replicas, strict=True)
        if n > 0
    )
