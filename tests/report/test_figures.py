"""Figures for papers: complete, the same each time, and drawn from the same rows as the page."""

from __future__ import annotations

import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest
from report_plans import cells, facts_for, hostile, in_runs

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from stagewright.report.figures.build import draw_figures
from stagewright.report.page.memory import memory_rows
from stagewright.report.page.period import period_rows

NAMES = ("gpus", "layers", "period", "memory", "planners", "timeline", "memory-over-time")
SVG = "{http://www.w3.org/2000/svg}"


def words(svg: bytes) -> list[str]:
    root = ET.fromstring(svg)  # noqa: S314 (our own output)
    return ["".join(x.itertext()).strip() for x in root.iter(f"{SVG}text")]


@pytest.fixture(scope="module")
def drawn() -> dict[str, bytes]:
    return draw_figures(facts_for())


def test_every_figure_comes_in_both_forms(drawn):
    assert set(drawn) == {f"{name}.{kind}" for name in NAMES for kind in ("png", "svg")}
    for name in NAMES:
        assert drawn[f"{name}.png"].startswith(b"\x89PNG")
        assert ET.fromstring(drawn[f"{name}.svg"]).tag == f"{SVG}svg"  # noqa: S314


def test_the_figures_are_the_same_each_time(drawn):
    assert draw_figures(facts_for()) == drawn


def test_the_rows_are_those_of_the_page(drawn):
    facts = facts_for()
    labels = words(drawn["period.svg"])
    for row in period_rows(facts):
        assert any(text.startswith(f"{row.name}: ") for text in labels)
    labels = words(drawn["memory.svg"])
    for row in memory_rows(facts):
        assert f"stage {row.stage}: {row.gpu}" in labels
    labels = words(drawn["planners.svg"])
    assert {"this plan (by-hand)", "linear-dp", "sparsepipe-dp"} <= set(labels)


def test_names_are_plain_text_in_figures():
    """Dollars start no formula, and a name that no font has is no error."""
    figures = draw_figures(hostile())
    assert any("$x^2$" in text for text in words(figures["layers.svg"]))
    assert b"<script" not in b"".join(x for name, x in figures.items() if name.endswith("svg"))


def test_a_large_graph_is_drawn_without_names():
    facts = in_runs(cells(96), 5, 5)
    labels = words(draw_figures(facts)["layers.svg"])
    assert labels == ["0", "1", "2", "3", "4"]


def test_the_page_needs_no_matplotlib():
    code = (
        "import sys, stagewright.report.page.build, stagewright.cli.report;"
        "print([x for x in sys.modules if x.partition('.')[0] == 'matplotlib'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
