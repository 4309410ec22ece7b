"""Where the best plan changes shape, and the pictures of it."""

from __future__ import annotations

import itertools

import pytest

from stagewright.scenarios.sweep.changes import bandwidth, series
from stagewright.scenarios.sweep.outcome import Outcome, solve
from stagewright.scenarios.sweep.plots import draw, period_figure, shape_figure
from stagewright.scenarios.sweep.results import answered
from stagewright.scenarios.sweep.run import Run
from sweep_cells import SMALL, small_sweep

pytest.importorskip("matplotlib")

PLANNERS = SMALL.replace('"linear-dp", "exact-dp", "cpsat"', '"linear-dp", "data-parallel"')
"""40 cells."""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The answers of all cells."""
    sweep = small_sweep(tmp_path_factory.mktemp("sweep"), PLANNERS, layers=8)
    return answered(Run(sweep.cells, {cell.key: solve(cell.job) for cell in sweep.cells}))


def test_a_series_is_all_but_planner_and_bandwidth(found):
    lines = series(found)
    assert [line.name for line in lines] == [
        "even, alike",
        "even, mixed",
        "steep, alike",
        "steep, mixed",
    ]
    for line in lines:
        assert set(line.by_planner) == {"linear-dp", "data-parallel"}
        assert [bandwidth(x) for x in line.best] == [1e7, 3e7, 1e8, 3e8, 1e9]
        for each in line.best:
            rivals = [
                x.outcome.period_s
                for answers in line.by_planner.values()
                for x in answers
                if bandwidth(x) == bandwidth(each)
            ]
            assert each.outcome.period_s == min(rivals)
            assert each.row.ratio == 1


def test_changes_are_where_neighbours_differ(found):
    for line in series(found):
        shapes = [x.outcome.shape for x in line.best]
        differ = sum(a != b for a, b in itertools.pairwise(shapes))
        assert len(line.changes) == differ
    assert any(line.changes for line in series(found))


def test_a_plan_that_breaks_a_rule_is_no_best_plan(found):
    spoiled = [
        type(x)(x.cell, x.outcome.model_copy(update={"valid": False}), x.row) for x in found[:1]
    ]
    assert series(spoiled) == ()


def test_the_period_figure_has_a_line_for_each_planner_and_a_panel_for_each_series(found):
    lines = series(found)
    figure = period_figure(lines)
    assert [panel.get_title() for panel in figure.axes] == [line.name for line in lines]
    for panel, line in zip(figure.axes, lines, strict=True):
        drawn = {x.get_label(): list(x.get_ydata()) for x in panel.lines}
        for planner, answers in line.by_planner.items():
            assert drawn[planner] == [x.outcome.period_s * 1000 for x in answers]


def test_the_shape_figure_has_a_column_of_stages_for_each_bandwidth(found):
    lines = series(found)
    for panel, line in zip(shape_figure(lines).axes, lines, strict=True):
        stages = [stage for x in line.best for stage in x.outcome.stages]
        assert len(panel.patches) == len(stages)
        heights = sum(patch.get_height() for patch in panel.patches)
        assert heights == pytest.approx(len(line.best))
        assert len(panel.lines) == len(line.changes)


def test_equal_results_are_equal_files(found):
    first, second = draw(series(found)[:1]), draw(series(found)[:1])
    assert set(first) == {"period.png", "period.svg", "shape.png", "shape.svg"}
    assert first == second


def test_one_bandwidth_makes_no_picture(found):
    assert draw(series([x for x in found if bandwidth(x) == 1e9])) == {}


def test_names_from_a_file_are_text_in_a_picture(found):
    line = series(found)[0]
    odd = type(line)("a $\\frac{1}$ <b>&", line.by_planner)
    assert b"<b>" not in draw([odd])["period.svg"]


def test_no_answers_are_no_series():
    assert series([]) == ()
    assert Outcome(status="infeasible").shape == ""
