"""``gpus=N.txt``: the profile text with a stage for each layer, as the published tools read it."""

from __future__ import annotations

from stagewright.model.instance import Instance
from stagewright.model.plan import Plan
from stagewright.model.profile import format_profile


def partition_text(instance: Instance, plan: Plan) -> str:
    """Return the layer graph as profile text with ``stage_id`` on every node.

    Times are those of the first GPU type, sizes the largest of all types. Outputs that nobody
    uses are left out, as the published planners do.
    """
    return format_profile(instance.graph.with_stages(plan.stage_of))
