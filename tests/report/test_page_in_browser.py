"""The page in Chromium: quick, silent, alone, accessible, and usable in every way it promises."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browser import Opened, open_page
from report_plans import cells, facts_for, hostile, in_runs

from stagewright.model.profile import read_profile
from stagewright.report.page.build import render_report
from stagewright.report.page.facts import Facts

MOST_SECONDS = 2.0
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The path of a report by the name of its plan, written once."""
    folder = tmp_path_factory.mktemp("reports")
    makers: dict[str, Callable[[], Facts]] = {
        "small": facts_for,
        "hostile": hostile,
        "fifty": lambda: in_runs(cells(4), 3, 3),
        "large": lambda: in_runs(cells(96), 5, 5),
    }

    def path(name: str) -> Path:
        file = folder / f"{name}.html"
        if not file.exists():
            file.write_text(render_report(makers[name]()), encoding="utf-8")
        return file

    return path


def box(opened: Opened) -> list[float]:
    return [
        float(x)
        for x in opened.ask("document.getElementById('graph').getAttribute('viewBox')").split()
    ]


def settled(opened: Opened) -> list[float]:
    opened.ask("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return box(opened)


def opens_quickly(browser: Any, path: Path) -> bool:
    """Whether the best of three, loaded and drawn, is under the limit.

    On a machine that has more to do than it has cores, the browser waits for its turn; then its
    processor time counts.
    """
    for _ in range(3):
        opened = open_page(browser, path)
        wall_s = opened.ask("performance.now()") / 1000
        session = opened.page.context.new_cdp_session(opened.page)
        session.send("Performance.enable")
        metrics = session.send("Performance.getMetrics")["metrics"]
        (cpu_s,) = [x["value"] for x in metrics if x["name"] == "ProcessTime"]
        opened.close()
        assert cpu_s > 0
        busy = os.getloadavg()[0] > (os.cpu_count() or 1)
        if wall_s < MOST_SECONDS or (busy and cpu_s < MOST_SECONDS):
            return True
    return False


@pytest.mark.parametrize("name", ["fifty", "large"])
def test_it_opens_quickly_silently_and_alone(browser, written, name):
    path = written(name)
    opened = open_page(browser, path)
    assert opened.requests == [path.as_uri()]
    assert opened.messages == []
    opened.close()
    assert opens_quickly(browser, path)


@pytest.mark.reference
def test_a_published_network_of_1250_layers_opens_quickly(browser, reference, tmp_path):
    graph = read_profile(reference / "profiles" / "nasnetalarge.txt")
    path = tmp_path / "nasnetalarge.html"
    path.write_text(render_report(in_runs(graph, 5, 5)), encoding="utf-8")
    opened = open_page(browser, path)
    assert opened.requests == [path.as_uri()]
    assert opened.messages == []
    opened.close()
    assert opens_quickly(browser, path)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("options", [{}, PHONE], ids=["wide", "phone"])
def test_no_serious_accessibility_violation(browser, written, scheme, options):
    """Nor any other that axe-core knows; its script needs the page's policy out of the way."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    opened = open_page(browser, written("small"), color_scheme=scheme, bypass_csp=True, **options)
    opened.ask("document.querySelector('details').open = true")
    found = axe.Axe().run(opened.page).response
    assert [(x["id"], x["impact"], x["nodes"][0]["html"]) for x in found["violations"]] == []
    assert len(found["passes"]) > 30
    opened.close()


def test_axe_would_find_something(browser, tmp_path):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    path = tmp_path / "bad.html"
    path.write_text("<title>x</title><img src='data:,'><input>", encoding="utf-8")
    opened = open_page(browser, path)
    found = axe.Axe().run(opened.page).response
    assert {"image-alt", "label"} <= {x["id"] for x in found["violations"]}
    opened.close()


def test_hostile_names_run_nothing_and_fetch_nothing(browser, written):
    path = written("hostile")
    opened = open_page(browser, path)
    opened.page.mouse.move(640, 400)
    opened.page.fill("#find", "onerror")
    opened.ask("document.querySelector('details').open = true")
    assert opened.ask("window.hit") is None
    assert opened.requests == [path.as_uri()]
    assert opened.messages == []
    told = opened.page.text_content("#told")
    assert "<img src=x onerror=window.hit=1>" in told
    opened.close()


def test_the_policy_forbids_requests_and_other_scripts(browser, written):
    opened = open_page(browser, written("small"))
    opened.ask(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.hit = 1";
          document.body.append(script);
          const image = document.createElement("img");
          image.src = "https://example.org/beacon.png";
          document.body.append(image);
        }"""
    )
    opened.page.wait_for_timeout(200)
    assert opened.ask("window.hit") is None
    assert len(opened.messages) >= 2
    assert all("Content Security Policy" in text for text in opened.messages)
    opened.close()


@pytest.mark.parametrize("name", ["small", "hostile", "large"])
def test_nothing_is_wider_than_a_phone(browser, written, name):
    opened = open_page(browser, written(name), **PHONE)
    assert opened.ask("document.documentElement.scrollWidth") <= 390
    opened.close()


def test_the_keyboard_moves_and_zooms_the_graph(browser, written):
    opened = open_page(browser, written("fifty"))
    whole = box(opened)
    opened.page.focus("#view")
    opened.page.keyboard.press("+")
    near = settled(opened)
    assert near[2] < whole[2]
    opened.page.keyboard.press("ArrowRight")
    assert settled(opened)[0] > near[0]
    opened.page.keyboard.press("ArrowDown")
    assert settled(opened)[1] > near[1]
    opened.page.keyboard.press("-")
    assert settled(opened)[2] > near[2]
    opened.page.keyboard.press("0")
    assert settled(opened) == whole
    opened.close()


def test_the_mouse_drags_and_zooms_the_graph(browser, written):
    opened = open_page(browser, written("fifty"))
    whole = box(opened)
    opened.page.locator("#view").scroll_into_view_if_needed()
    opened.page.click('[data-do="in"]')
    near = settled(opened)
    assert near[2] < whole[2]
    bounds = opened.page.locator("#view").bounding_box()
    x, y = bounds["x"] + bounds["width"] / 2, bounds["y"] + bounds["height"] / 2
    opened.page.mouse.move(x, y)
    opened.page.mouse.down()
    opened.page.mouse.move(x - 60, y - 20, steps=3)
    opened.page.mouse.up()
    moved = settled(opened)
    assert moved[0] > near[0]
    assert moved[1] > near[1]
    opened.page.keyboard.down("Control")
    opened.page.mouse.wheel(0, -200)
    opened.page.keyboard.up("Control")
    opened.page.wait_for_timeout(100)
    assert settled(opened)[2] < moved[2]
    opened.close()


def test_the_wheel_alone_scrolls_the_page(browser, written):
    opened = open_page(browser, written("fifty"))
    opened.page.locator("#view").scroll_into_view_if_needed()
    bounds = opened.page.locator("#view").bounding_box()
    before, at = box(opened), opened.ask("scrollY")
    opened.page.mouse.move(bounds["x"] + 100, bounds["y"] + 100)
    opened.page.mouse.wheel(0, 150)
    opened.page.wait_for_timeout(500)
    assert opened.ask("scrollY") > at
    assert settled(opened) == before
    opened.close()


def test_two_fingers_zoom_and_one_scrolls(browser, written):
    opened = open_page(browser, written("fifty"), **PHONE)
    opened.page.locator("#view").scroll_into_view_if_needed()
    bounds = opened.page.locator("#view").bounding_box()
    x, y = bounds["x"] + bounds["width"] / 2, bounds["y"] + bounds["height"] / 2
    touch = opened.page.context.new_cdp_session(opened.page)
    before = box(opened)

    def fingers(kind: str, *apart: float) -> None:
        points = [{"x": x + d, "y": y, "id": i} for i, d in enumerate(apart)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", -20, 20)
    for apart in (30, 45, 60, 80):
        fingers("touchMove", -apart, apart)
    fingers("touchEnd")
    assert settled(opened)[2] < before[2]
    zoomed = box(opened)
    fingers("touchStart", 0)
    fingers("touchMove", 40)
    fingers("touchEnd")
    assert settled(opened) == zoomed
    opened.close()


def test_a_layer_is_found_shown_and_told_about(browser, written):
    opened = open_page(browser, written("large"))
    assert opened.page.locator("#graph.far").count() == 1
    opened.page.fill("#find", "b40.concat")
    opened.page.locator("#graph:not(.far)").wait_for()
    told = opened.page.text_content("#told")
    assert told.startswith("b40.concat: Concat(1)\nStage: 2; TitanV: 0.2 ms; Activation: 16 MB")
    assert told.endswith("Read by b41.0.0, b41.1.0, b41.2.0, b41.3.0")
    first = told
    opened.page.fill("#find", "concat(1)")
    opened.page.press("#find", "Enter")
    assert opened.page.text_content("#told") != first
    opened.page.fill("#find", "no such layer")
    assert opened.page.text_content("#told") == "No layer is called that."
    opened.close()


def test_the_graph_can_be_enlarged_and_escape_goes_back(browser, written):
    opened = open_page(browser, written("fifty"))
    opened.page.click('[data-do="enlarge"]')
    bounds = opened.page.locator("#frame").bounding_box()
    assert (bounds["width"], bounds["height"]) == (1280, 900)
    opened.page.focus("#view")
    opened.page.keyboard.press("Escape")
    assert opened.page.locator("#frame").bounding_box()["width"] < 1280
    assert opened.page.get_attribute('[data-do="enlarge"]', "aria-pressed") == "false"
    opened.close()


def test_everything_is_reached_with_the_tab_key(browser, written):
    opened = open_page(browser, written("small"))
    seen = []
    for _ in range(60):
        opened.page.keyboard.press("Tab")
        seen.append(opened.ask("document.activeElement.id || document.activeElement.textContent"))
        if seen[-1] == "Copy":
            break
    assert seen[0] == "Skip to the report"
    assert [x for x in seen if x in {"view", "find"}] == ["find", "view"]
    assert seen[-1] == "Copy"
    opened.close()


def test_it_is_printed_on_white_without_controls(browser, written):
    opened = open_page(browser, written("small"), color_scheme="dark")
    assert opened.ask("getComputedStyle(document.body).backgroundColor") == "rgb(17, 21, 26)"
    opened.page.emulate_media(media="print")
    assert opened.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for hidden in ("nav", ".tools", ".copy"):
        assert opened.page.locator(hidden).first.is_hidden()
    assert opened.page.locator("#graph").is_visible()
    assert len(opened.page.pdf(format="A4")) > 10_000
    opened.close()


def test_it_can_be_read_without_script(browser, written):
    opened = open_page(browser, written("small"), java_script_enabled=False)
    assert opened.page.locator("#graph").is_visible()
    assert opened.page.locator("#running code").first.is_visible()
    opened.close()
