"""The scenarios that come with the package."""

from __future__ import annotations

import pytest

from builders import error_text
from stagewright.scenarios.named import scenario_file, scenario_names
from stagewright.scenarios.sweep.cells import make_sweep
from stagewright.scenarios.sweep.expect import check_expectations, unmet
from stagewright.scenarios.sweep.outcome import solve
from stagewright.scenarios.sweep.results import answered
from stagewright.scenarios.sweep.run import Run
from stagewright.scenarios.sweep.tables import read_sweep


@pytest.mark.parametrize("name", scenario_names())
def test_a_scenario_is_read_from_the_package_alone(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep = make_sweep(scenario_file(name), read_sweep(scenario_file(name)))
    check_expectations(sweep)
    assert sweep.table.expect
    assert sweep.table.options.workers == 1
    assert sweep.table.title[-1] not in "."


@pytest.mark.slow
@pytest.mark.parametrize("name", scenario_names())
def test_what_a_scenario_expects_comes_out(name):
    sweep = make_sweep(scenario_file(name), read_sweep(scenario_file(name)))
    run = Run(sweep.cells, {cell.key: solve(cell.job) for cell in sweep.cells})
    assert run.failed == 0
    assert unmet(sweep, answered(run)) == []


def test_an_unknown_scenario_is_refused():
    assert "there is no scenario 'x'; expected gnmt-straight," in error_text(
        lambda: scenario_file("x")
    )
