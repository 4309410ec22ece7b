"""A branching graph on two GPU types, and a plan for it that is worked out by hand."""

from __future__ import annotations

from builders import graph_of, instance_of, layer, one_server, plan_of
from stagewright.model.graph import LayerGraph
from stagewright.model.instance import Instance
from stagewright.model.rules import Rules


def branching() -> LayerGraph:
    r"""A graph that branches at ``a``, joins at ``d``, and has a skip from ``a`` to ``e``.

    ::

        x -> a -> b -> d -> e        x is an input, u an unused output
              \-> c ->/    /
              \-----------/
    """
    return graph_of(
        [
            layer("x", 50.0, 50.0, 77e6, 77e6, "Input0"),
            layer("a", 1.0, 2.0, 1e6, 4e6),
            layer("b", 2.0, 2.0, 2e6, 0.0),
            layer("c", 1.0, 1.0, 3e6, 2e6),
            layer("d", 3.0, 3.0, 4e6, 6e6),
            layer("e", 1.0, 0.0, 5e6, 0.0),
            layer("u", 50.0, 50.0, 77e6, 77e6, "__getitem__(1)"),
        ],
        "x->a a->b a->c b->d c->d c->d d->e a->e x->e e->u",
    )


def branching_instance(rules: Rules | None = None) -> Instance:
    """Two TitanV and two TitanXP, half as fast, on one server at 1 GB/s."""
    cluster = one_server({"TitanV": 2, "TitanXP": 2}, 1e9)
    return instance_of(branching(), cluster, rules, slower={"TitanXP": 2.0})


# Stage 0: a on one TitanV. Stage 1: b, c on one of each. Stage 2: d, e on one TitanXP.
PLAN = plan_of(("x a", [1, 0]), ("b c", [1, 1]), ("d e", [0, 1]))
