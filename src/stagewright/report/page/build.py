"""The page itself: one HTML document that needs nothing and nobody else."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from stagewright.report.page.asked import asked_rows
from stagewright.report.page.certificate import certificate_words, doubt_words
from stagewright.report.page.changes import changed_rows
from stagewright.report.page.comparison import drawn_comparison_rows, speed_words
from stagewright.report.page.facts import Facts, count_words, time_words
from stagewright.report.page.graph import draw_graph
from stagewright.report.page.layers import layer_rows, timed_types
from stagewright.report.page.memory import drawn_memory_rows, memory_sentence
from stagewright.report.page.period import drawn_period_rows, limit_sentence
from stagewright.report.page.running import running_steps
from stagewright.report.page.stages import server_tiles, stage_rows
from stagewright.report.page.theme import style_sheet
from stagewright.report.page.timeline import timeline_of

TEMPLATES = resources.files("stagewright.report.page") / "templates"


def render_report(facts: Facts) -> str:
    """Return the report as one HTML document, the same for the same facts.

    Everything from files is text: the template escapes it, and the page's own policy lets
    nothing run but its one script and asks no other host for anything.
    """
    style = style_sheet() + _template_text("page.css")
    script = _template_text("page.js")
    return _template().render(
        facts=facts,
        policy=_policy(style, script),
        style=Markup(style),  # noqa: S704 - our own files
        script=Markup(script),  # noqa: S704 - our own files
        **_sections(facts),
    )


def _sections(facts: Facts) -> dict[str, Any]:
    """What the template shows, section by section."""
    graph = draw_graph(facts)
    return {
        "headline": _headline(facts),
        "asked": asked_rows(facts),
        "certificate": certificate_words(facts),
        "doubt": doubt_words(facts),
        "stages": stage_rows(facts),
        "servers": server_tiles(facts),
        "recomputes": any(stage.recompute for stage in facts.plan.stages),
        "limit": limit_sentence(facts),
        "period": drawn_period_rows(facts),
        "changes": changed_rows(facts),
        "timeline": timeline_of(facts),
        "memory_words": memory_sentence(facts),
        "memory": drawn_memory_rows(facts),
        "graph": Markup(graph.svg),  # noqa: S704 - escaped where it is drawn
        "graph_data": Markup(graph.data),  # noqa: S704 - JSON without '<'
        "layers": layer_rows(facts),
        "types": timed_types(facts),
        "comparison": drawn_comparison_rows(facts),
        "steps": running_steps(facts),
    }


def _headline(facts: Facts) -> dict[str, Any]:
    """The figures at the top."""
    evaluation, cluster = facts.evaluation, facts.cluster
    used, there = facts.plan.gpu_count, cluster.gpu_count
    finite = evaluation.period_s > 0
    return {
        "period": time_words(evaluation.period_s),
        "throughput": f"{evaluation.throughput_per_s:,.2f}" if finite else "any number of",
        "speeds": speed_words(facts),
        "gpus": f"{used:,}" if used == there else f"{used:,} of {there:,}",
        "layers": count_words(len(facts.instance.nodes), "layer"),
        "stages": count_words(len(facts.plan.stages), "stage"),
    }


def _policy(style: str, script: str) -> str:
    """Return a Content Security Policy under which only these two texts count."""
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"style-src {_digest(style)}; script-src {_digest(script)}"
    )


def _digest(text: str) -> str:
    found = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(found).decode()}'"


def _template_text(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(_template_text),
    )
    return environment.get_template("page.html")
