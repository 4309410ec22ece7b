"""The page: complete, true to the plan, self-contained, and harmless whatever names say."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from report_plans import (
    HOSTILE,
    OTHERS,
    cells,
    document_of,
    facts_for,
    hostile,
    in_runs,
    page_for,
    two_servers,
)

from builders import chain, instance_of, one_server, plan_of
from stagewright.model.costs import MaxLoad, Topology
from stagewright.model.plan import Status
from stagewright.model.plan_schema import ExplanationDocument, LimitDocument, WhatIfDocument
from stagewright.model.rules import MemoryModel, Optimizer, Rules, Versions
from stagewright.report.marks import PALETTE, contrast
from stagewright.report.page.asked import asked_rows
from stagewright.report.page.build import render_report
from stagewright.report.page.certificate import certificate_words, doubt_words
from stagewright.report.page.comparison import THIS, comparison_rows
from stagewright.report.page.facts import facts_of
from stagewright.report.page.layers import layer_rows
from stagewright.report.page.memory import memory_rows, memory_sentence
from stagewright.report.page.period import limit_sentence, period_rows
from stagewright.report.page.running import identifiers, running_steps
from stagewright.report.page.stages import MOST_TILES, server_tiles, stage_rows
from stagewright.report.page.theme import DARK, LIGHT, style_sheet
from stagewright.report.page.timeline import MOST_GPUS, make_timeline


class Reader(HTMLParser):
    """Elements with their attributes, and the text outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._silent = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in {"script", "style"}:
            self._silent = tag

    def handle_endtag(self, tag):
        if tag == self._silent:
            self._silent = ""

    def handle_data(self, data):
        if not self._silent:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_every_section_is_there_and_in_the_navigation():
    page = Reader(page_for())
    sections = [x["id"] for x in page.all("section")]
    assert sections == [
        "asked",
        "proof",
        "stages",
        "period",
        "timeline",
        "memory",
        "layers",
        "comparison",
        "running",
    ]
    linked = [x["href"] for x in page.all("a")]
    assert set(linked) == {f"#{x}" for x in sections} | {"#content"}


def test_the_page_is_the_same_for_the_same_facts():
    instance, plan = two_servers()
    again = render_report(facts_of(document_of(instance, plan), OTHERS, "out/plan.json"))
    assert again == page_for()


def test_the_figures_are_those_of_the_evaluator():
    facts, text = facts_for(), Reader(page_for()).text
    period_ms = 1000 * facts.evaluation.period_s
    assert f"{period_ms:.4g} ms" in text
    assert f"{facts.evaluation.throughput_per_s:,.2f}" in text
    for stage in stage_rows(facts):
        assert stage.time in text
        assert stage.gpus in text
    assert sum(stage.limits for stage in stage_rows(facts)) >= 1


def test_nothing_is_fetched_and_only_our_script_may_run():
    page = Reader(page_for())
    (policy,) = [x["content"] for x in page.all("meta") if "http-equiv" in x]
    assert policy.startswith("default-src 'none'; base-uri 'none'; form-action 'none'; ")
    assert re.search(r"style-src 'sha256-[\w+/]+=*'; script-src 'sha256-[\w+/]+=*'$", policy)
    assert "unsafe" not in policy
    for tag, attributes in page.elements:
        assert tag not in {"img", "link", "iframe", "object", "embed", "base", "form", "style:"}
        assert not {"src", "srcset", "style", "action"} & attributes.keys()
        assert str(attributes.get("href", "#")).startswith("#")
        assert not [name for name in attributes if name.startswith("on")]
    assert "url(" not in page_for().replace("url(#hatch)", "").replace("url(#dense)", "")


def test_hostile_names_are_text():
    facts = hostile()
    source = render_report(facts)
    page, plain = Reader(source), Reader(page_for())
    assert len(page.all("script")) == len(plain.all("script")) == 2
    assert not page.all("img")
    assert {name for name, _ in page.elements} <= {name for name, _ in plain.elements}
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
    for words in HOSTILE[:4]:
        assert " ".join(words.split()) in page.text
    assert "49" not in [x.strip() for x in page.words]
    (data,) = re.findall(r'id="graph-data">(.*?)</script>', source)
    assert json.loads(data).keys() == {"box", "at", "readers"}


def test_commands_hold_nothing_from_a_file_unquoted():
    commands = [c for step in running_steps(hostile()) for c in step.commands]
    assert commands[0] == (
        "stagewright emit 'a b/$(hit);'\"'\"'.json' -n ScriptScriptWindowHit1Script "
        "-a script_script_window_hit_1_script -o models/script_script_window_hit_1_script "
        "--target torch"
    )
    for command in commands[1:]:
        assert not set(command) & set("$`;|&<>()'\"\\\n")


def test_each_server_gets_a_command_of_its_own():
    train = running_steps(facts_for())[-1]
    assert "CUDA_VISIBLE_DEVICES" in train.words
    commands = train.commands
    assert [re.findall(r"--node-rank=(\d+) --nproc-per-node=(\d+)", x) for x in commands] == [
        [("0", "4")],
        [("1", "1")],
    ]


@pytest.mark.parametrize("name", ["", "💥", "a" * 500, "class", "__init__"])
def test_identifiers_are_identifiers(name):
    module, kind = identifiers(name)
    assert module.isidentifier()
    assert kind.isidentifier()
    assert len(module) <= 60


def test_every_gpu_has_a_tile_with_its_stage_and_rank():
    facts = facts_for()
    tiles = [[(x.gpu, x.stage, x.ranks) for x in server.tiles] for server in server_tiles(facts)]
    assert tiles == [
        [
            ("TitanV", 0, "rank 0"),
            ("TitanXP", 1, "rank 1"),
            ("TitanXP", 1, "rank 2"),
            ("TitanV", 2, "rank 3"),
        ],
        [("TitanV", 0, "rank 4"), ("TitanV", None, "")],
    ]
    ranks = [list(stage.ranks) for stage in facts.document.stages]
    assert ranks == [[0, 4], [1, 2], [3]]


def test_in_large_clusters_gpus_share_tiles():
    gpus = MOST_TILES + 10
    instance = instance_of(chain([1.0, 1.0]), one_server(gpus))
    facts = facts_of(document_of(instance, plan_of(("node1", [200]), ("node2", [60]))))
    (server,) = server_tiles(facts)
    assert [(x.gpu, x.ranks) for x in server.tiles] == [
        ("TitanV×200", "ranks 0–199"),
        ("TitanV×60", "ranks 200–259"),
        ("TitanV×6", ""),
    ]


def test_the_parts_of_the_period_add_up():
    facts = facts_for()
    rows = period_rows(facts)
    assert [row.name for row in rows] == [
        "Stage 0",
        "Cut 0 → 1",
        "Stage 1",
        "Cut 1 → 2",
        "Stage 2",
    ]
    stages = facts.evaluation.stages
    for row in rows:
        if not row.is_cut:
            assert row.total_s == pytest.approx(stages[row.stage].time_s)
        else:
            assert row.total_s == stages[row.stage + 1].input_transfer_s
    assert max(row.total_s for row in rows) == pytest.approx(facts.evaluation.period_s)
    (limiting,) = [row for row in rows if row.limits]
    assert limiting.name.lower() in limit_sentence(facts)


def test_without_overlap_waiting_is_a_part_of_a_stage():
    instance, plan = two_servers()
    facts = facts_of(document_of(instance, plan, Topology(overlap=False)))
    row = next(row for row in period_rows(facts) if row.name == "Stage 1")
    parts = dict(row.parts)
    assert parts["wait"] == pytest.approx(facts.evaluation.stages[1].input_transfer_s)
    assert "computing does not overlap" in Reader(render_report(facts)).text


def test_memory_is_set_against_what_each_gpu_has():
    facts = facts_for()
    rows = memory_rows(facts)
    assert [(row.stage, row.gpu) for row in rows] == [
        (0, "TitanV×1 @Server0"),
        (0, "TitanV×1 @Server1"),
        (1, "TitanXP×2 @Server0"),
        (2, "TitanV×1 @Server0"),
    ]
    for row in rows:
        assert row.total_bytes == pytest.approx(facts.evaluation.stages[row.stage].memory_bytes)
        assert row.fits
    assert memory_sentence(facts).startswith("Everything fits.")


def test_too_much_memory_is_said():
    instance = instance_of(chain([1.0], 3e9, 1e9), one_server(1, memory_bytes=4e9))
    facts = facts_of(document_of(instance, plan_of(("node1", [1]))))
    assert memory_sentence(facts) == (
        "Too much for stage 0 on TitanV×1: plan again with --use-memory-constraint."
    )
    assert 'class="over"' in render_report(facts)


@pytest.mark.parametrize(
    ("status", "bound_s", "verdict", "proven"),
    [
        (Status.OPTIMAL, 0.0085, "Proven optimal", True),
        (Status.FEASIBLE, 0.0085, "Within 5.6 % of the best", False),
        (Status.FEASIBLE, None, "Not proven", False),
    ],
)
def test_the_certificate_in_plain_words(status, bound_s, verdict, proven):
    instance, plan = two_servers()
    document = document_of(instance, plan, bound_s=bound_s, status=status)
    words = certificate_words(facts_of(document))
    assert document.period_s == pytest.approx(0.009, rel=0.01)
    assert (words.verdict, words.proven) == (verdict, proven)
    assert "1.5 s" in words.sentences[0]


def test_the_planners_are_in_order_and_the_bound_leads():
    instance, plan = two_servers()
    facts = facts_of(document_of(instance, plan, bound_s=0.008), OTHERS)
    rows = comparison_rows(facts)
    assert [row.name for row in rows] == [
        "proven bound",
        "this plan (by-hand)",
        "linear-dp",
        "sparsepipe-dp",
        "pipedream-dp",
        "single-gpu",
        "data-parallel",
    ]
    assert [row.period_s for row in rows if row.kind == THIS] == [facts.evaluation.period_s]
    text = Reader(render_report(facts)).text
    assert "no plan" in text
    assert "it plans for one GPU type" in text


def test_what_was_asked_names_options_and_demands():
    instance, plan = two_servers()
    rules = Rules(
        use_memory=True, memory=MemoryModel(Versions.TWO_BW, Optimizer.ADAM), max_stages=3
    )
    facts = facts_of(document_of(instance.with_rules(rules), plan))
    rows = dict(asked_rows(facts))
    assert rows["Demands"] == (
        "--use-memory-constraint, at most 1 GB per GPU",
        "--max-stages 3",
    )
    assert rows["Memory"] == (
        "Counted with two versions of the weights (2bw), Adam",
        "Every stage had to fit",
    )
    assert rows["Cluster"] == (
        "6 GPUs in 2 servers",
        "Server0: TitanV×2 (1 GB), TitanXP×2 (1 GB); 10 GB/s inside",
        "Server1: TitanV×2 (1 GB); 10 GB/s inside",
        "Between servers: 1 GB/s, latency up to 0.1 ms",
    )


def test_an_explanation_is_shown():
    told = ExplanationDocument(
        limits=[LimitDocument(kind="compute", stage=0, text="Stage 0 computes <long>.")],
        what_if=[
            WhatIfDocument(
                kind="gpu", text="one more", period_s=0.004, gain=0.5, status="optimal", gap=0.0
            ),
            WhatIfDocument(
                kind="gpu", text="none", period_s=None, gain=0.0, status="infeasible", gap=None
            ),
        ],
        complete=True,
    )
    document = facts_for().document.model_copy(update={"explanation": told})
    text = Reader(render_report(facts_of(document))).text
    assert "Stage 0 computes <long>." in text
    assert "one more 4 ms 50 % proven optimal" in text
    assert "none no plan proven" in text


def test_the_timeline_covers_the_first_minibatches_of_every_gpu():
    facts = facts_for()
    assert not isinstance(facts.simulation, str)
    timeline = make_timeline(facts.simulation)
    assert [row.gpu.stage for row in timeline.rows] == [0, 0, 1, 1, 2]
    assert timeline.left_out == 0
    for row in timeline.rows:
        assert row.blocks
        assert max(block.end_s for block in row.blocks) <= timeline.end_s
        work = sorted(
            (block.start_s, block.end_s) for block in row.blocks if not block.work.is_transfer
        )
        assert all(a[1] <= b[0] + 1e-9 for a, b in pairwise(work))


def test_many_replicas_are_left_out_of_the_timeline_and_counted():
    instance = instance_of(chain([8.0, 1.0]), one_server(33))
    facts = facts_of(document_of(instance, plan_of(("node1", [32]), ("node2", [1]))))
    assert not isinstance(facts.simulation, str)
    timeline = make_timeline(facts.simulation)
    assert len(timeline.rows) <= MOST_GPUS
    assert {row.gpu.stage for row in timeline.rows} == {0, 1}
    assert len(timeline.rows) + timeline.left_out == 33
    assert f"{timeline.left_out} more replicas" in Reader(render_report(facts)).text


def test_a_plan_that_cannot_run_in_time_says_why():
    instance = instance_of(chain([1.0, 1.0], 1e6), one_server(2))
    facts = facts_of(document_of(instance, plan_of(("node1", [1]), ("node2", [1])), MaxLoad()))
    text = Reader(render_report(facts)).text
    assert "The plan was not run in time: a plan under cost model 'max-load'" in text
    assert doubt_words(facts) == ""
    assert all(not row.is_cut for row in period_rows(facts))


def test_a_simulation_that_contradicts_the_prediction_is_no_secret():
    """Transfers as long as the work, and one minibatch in flight more than there are stages."""
    instance = instance_of(chain([10.0, 10.0], 5e6), one_server(2))
    facts = facts_of(document_of(instance, plan_of(("node1", [1]), ("node2", [1]))))
    assert not isinstance(facts.simulation, str)
    assert facts.simulation.period_s > 1.01 * facts.evaluation.period_s
    text = Reader(render_report(facts)).text
    assert "more than predicted" in text
    assert "With more minibatches in flight" in text


def test_layers_are_listed_in_file_order_with_their_stage():
    facts = in_runs(cells(2), 2, 2)
    rows = layer_rows(facts)
    assert [row.node for row in rows] == [x.id for x in facts.instance.graph.layers]
    assert rows[0].stage == "0 (input)"
    assert rows[0].times == ("free",)
    assert rows[-1].stage == "1"


def test_a_large_graph_is_drawn_in_few_elements():
    facts = in_runs(cells(96), 5, 5)
    assert len(facts.instance.graph.layers) == 1249
    page = render_report(facts)
    drawing = page[page.index('<svg id="graph"') : page.index("</svg>", page.index('id="graph"'))]
    assert drawing.count("<path") < 60
    assert len(re.findall(r"<[a-z]", drawing)) < 3000
    assert 'class="far"' in drawing
    assert len(page) < 1_500_000


def test_stage_colours_can_be_seen_on_both_grounds():
    for ground in (LIGHT, DARK):
        for words in (ground.ink, ground.muted, ground.link, ground.good, ground.warn):
            assert contrast(words, ground.paper) >= 4.5
            assert contrast(words, ground.card) >= 4.5
    found = re.findall(r"--(strong|deep|box)(\d): (#\w{6})", style_sheet())
    assert len(found) == 2 * 3 * (len(PALETTE) + 1)
    for i, (kind, _, colour) in enumerate(found):
        ground = LIGHT if i < len(found) // 2 else DARK
        least = {"strong": 3.0, "deep": 4.5}.get(kind)
        if least is not None:
            assert contrast(colour, ground.paper) >= least
        else:
            assert contrast(ground.ink, colour) >= 4.5
            assert contrast(ground.muted, colour) >= 4.5
