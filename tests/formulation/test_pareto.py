"""The front of period against GPUs or price, with a planner that chooses from a list."""

from __future__ import annotations

import dataclasses
import time

import pytest

from builders import chain, instance_of, one_server, plan_of
from menu_planner import MenuPlanner
from stagewright.formulation import run
from stagewright.formulation.pareto import By, End, pareto_front
from stagewright.formulation.problem import Problem, Settings
from stagewright.model.costs import Topology
from stagewright.model.errors import (
    InfeasibleError,
    InputError,
    NoPlanFound,
    StagewrightError,
)
from stagewright.model.plan import Status
from stagewright.model.rules import Rules

# Four layers of 1 ms each, nothing to send; V is as fast as XP and costs more.
GRAPH = chain([1.0, 1.0, 1.0, 1.0])
ON_FOUR = plan_of(("node1", [1, 0]), ("node2", [1, 0]), ("node3", [0, 1]), ("node4", [0, 1]))
ON_THREE = plan_of(("node1 node2", [1, 0]), ("node3", [1, 0]), ("node4", [0, 1]))
ON_TWO = plan_of(("node1 node2", [1, 0]), ("node3 node4", [1, 0]))
ON_TWO_CHEAP = plan_of(("node1 node2", [0, 1]), ("node3 node4", [0, 1]))
ON_ONE = plan_of(("node1 node2 node3 node4", [1, 0]))
MENU = (ON_FOUR, ON_THREE, ON_TWO, ON_TWO_CHEAP, ON_ONE)


def problem(rules=None, prices=(2.0, 0.5)):
    cluster = one_server({"V": 2, "XP": 2})
    groups = zip(cluster.groups, prices, strict=True)
    cluster = dataclasses.replace(
        cluster, groups=tuple(dataclasses.replace(g, price_per_hour=p) for g, p in groups)
    )
    return Problem(instance_of(GRAPH, cluster, rules), Topology())


@pytest.fixture
def menu(monkeypatch):
    """Put a planner with this menu in the place of every planner."""

    def install(*plans, **options):
        planner = MenuPlanner(plans or MENU, **options)
        monkeypatch.setattr(run, "get_planner", lambda _: planner)
        return planner

    return install


def shape(front, *keys):
    return [tuple(getattr(point, key) for key in keys) for point in front.points]


def test_every_point_uses_fewer_gpus_and_takes_longer(menu):
    menu()
    front = pareto_front("menu", problem(), Settings())
    assert shape(front, "gpus", "period_s") == [(4, 0.001), (2, 0.002), (1, 0.004)]
    assert (front.end, front.proven) == (End.LEAST, True)


def test_a_point_knows_its_limit_and_its_price(menu):
    menu()
    front = pareto_front("menu", problem(), Settings())
    assert shape(front, "limit", "price_per_hour") == [(None, 5.0), (2, 4.0), (1, 2.0)]
    assert [x.planned.problem.instance.rules.max_gpus for x in front.points] == [None, 2, 1]


def test_a_plan_that_uses_more_than_it_needs_is_left_out(menu):
    """Three GPUs take as long as two: the planner was free to answer with three."""
    planner = menu(ON_THREE, ON_TWO, ON_ONE)
    told = []
    front = pareto_front("menu", problem(), Settings(), on_point=told.append)
    assert shape(front, "gpus") == [(2,), (1,)]
    assert [point.gpus for point in told] == [3, 2, 1]
    assert planner.runs == 3


def test_a_slow_plan_gives_way_to_a_later_one_that_is_fast(menu):
    """A planner that proves nothing may find the better plan only when pressed."""
    slow = plan_of(("node1 node2 node3", [1, 0]), ("node4", [0, 2]))
    planner = menu(slow, status=Status.FEASIBLE)

    def then_the_others(_):
        planner.menu = MENU[1:] if planner.runs > 1 else planner.menu

    planner.before = then_the_others
    front = pareto_front("menu", problem(), Settings())
    assert shape(front, "gpus", "period_s") == [(2, 0.002), (1, 0.004)]


def test_the_price_is_traded_too(menu):
    menu()
    front = pareto_front("menu", problem(), Settings(), By.PRICE)
    assert shape(front, "price_per_hour", "period_s") == [(5.0, 0.001), (1.0, 0.002)]
    assert (front.end, front.proven) == (End.INFEASIBLE, True)


def test_nothing_is_cheaper_than_free(menu):
    menu()
    front = pareto_front("menu", problem(prices=(2.0, 0.0)), Settings(), By.PRICE)
    assert shape(front, "price_per_hour") == [(4.0,), (0.0,)]
    assert front.end is End.LEAST


def test_a_price_needs_prices(menu):
    menu()
    with pytest.raises(InputError, match="needs a price for every GPU group"):
        pareto_front("menu", problem(prices=(2.0, None)), Settings(), By.PRICE)
    front = pareto_front("menu", problem(prices=(2.0, None)), Settings())
    assert shape(front, "price_per_hour") == [(None,), (4.0,), (2.0,)]


def test_the_users_own_limit_is_where_it_begins(menu):
    menu()
    front = pareto_front("menu", problem(Rules(max_gpus=3)), Settings())
    assert shape(front, "gpus") == [(2,), (1,)]


# --- how it ends ---------------------------------------------------------------------------------


def test_where_no_plan_exists_the_front_ends_with_proof(menu):
    menu(ON_FOUR, ON_TWO)
    front = pareto_front("menu", problem(), Settings())
    assert shape(front, "gpus") == [(4,), (2,)]
    assert (front.end, front.proven) == (End.INFEASIBLE, True)


def test_where_none_is_found_nothing_is_proven(menu):
    menu(ON_FOUR, ON_TWO, status=Status.FEASIBLE)
    front = pareto_front("menu", problem(), Settings())
    assert (front.end, front.proven) == (End.NO_PLAN, False)
    assert [point.planned.certificate.gap for point in front.points] == [0.5, 0.5]


def test_without_a_first_point_there_is_no_front(menu):
    rules = Rules(max_stages=1, straight_pipeline=True, max_gpus=1)
    menu(ON_FOUR)
    with pytest.raises(InfeasibleError):
        pareto_front("menu", problem(rules), Settings())
    menu(ON_FOUR, status=Status.FEASIBLE)
    with pytest.raises(NoPlanFound):
        pareto_front("menu", problem(rules), Settings())


def test_a_planner_that_does_not_know_the_rule_is_an_error(monkeypatch):
    planner = MenuPlanner([ON_FOUR])
    monkeypatch.setattr(run, "get_planner", lambda _: planner)
    relaxed = problem()
    solve = planner.solve
    monkeypatch.setattr(planner, "solve", lambda _, settings: solve(relaxed, settings))
    with pytest.raises(StagewrightError, match="breaks a rule: 4 GPUs, though at most 3"):
        pareto_front("menu", relaxed, Settings())


def test_stop_gives_the_points_so_far(menu):
    planner = menu()

    def stop_in_the_second(settings):
        if planner.runs == 2:
            settings.stop.set()

    planner.before = stop_in_the_second
    front = pareto_front("menu", problem(), Settings())
    assert shape(front, "gpus") == [(4,), (3,)]
    assert (front.end, front.proven) == (End.STOPPED, False)


def test_stop_before_a_plan_is_found_is_no_proof(menu):
    planner = menu(ON_FOUR, status=Status.FEASIBLE)
    planner.before = lambda settings: settings.stop.set() if planner.runs == 2 else None
    assert pareto_front("menu", problem(), Settings()).end is End.STOPPED


def test_the_total_time_limit_is_shared_by_the_points(menu):
    given = []

    def take_time(settings):
        given.append(settings.time_limit_s)
        time.sleep(0.06)

    menu(before=take_time)
    front = pareto_front("menu", problem(), Settings(time_limit_s=0.08), total_time_limit_s=0.1)
    assert shape(front, "gpus") == [(4,), (3,)]
    assert front.end is End.TIME
    assert given[0] == 0.08
    assert given[1] < 0.05
