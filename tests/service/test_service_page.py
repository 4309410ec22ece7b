"""The page in a real browser: upload, watch, report, download."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from hostile_bodies import SCRIPT
from live_server import LiveServer
from service_requests import HARD, SAMPLES, SMALL, chain_text, changed

PATIENCE_MS = 120_000


@pytest.fixture
def page(browser, server: LiveServer):
    """The service's page; nothing may go wrong on it, and nothing may leave it."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE_MS)
    wrong: list[str] = []
    opened.on("console", lambda x: wrong.append(x.text) if is_wrong(x) else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("request", lambda x: x.url.startswith(server.url) or wrong.append(x.url))
    opened.goto(server.url)
    yield opened
    context.close()
    assert wrong == []


def is_wrong(message) -> bool:
    """Whether the console shows an error; the browser also logs each refusal of the service."""
    return (
        message.type == "error" and "the server responded with a status of 422" not in message.text
    )


def tells(page, selector: str, text: str) -> None:
    page.locator(selector, has_text=text).wait_for()


def upload(page, cluster: Path, profiles: list[Path]) -> None:
    page.set_input_files("#profile-files", [str(x) for x in profiles])
    page.set_input_files("#cluster-file", str(cluster))


def test_the_main_way(page, server, tmp_path):
    upload(page, SAMPLES / "test_server.txt", sorted((SAMPLES / "profiles").glob("*_titan*.txt")))
    page.fill("#bandwidth", "1e8")
    page.click("#plan")
    tells(page, "#state", "Proven optimal")
    assert page.inner_text("#state").startswith("minkvgg: 52 layers on 4 GPUs, cpsat.")
    assert page.inner_text("#period") == "139.1 ms"
    assert "%" in page.inner_text("#gap")
    assert page.locator("#curve path.period").count() == 1
    report = page.frame_locator("#shown iframe")
    assert report.locator("h1").inner_text()
    with page.expect_download() as download:
        page.click("#get-package")
    target = tmp_path / "stages.zip"
    download.value.save_as(target)
    with zipfile.ZipFile(target) as archive:
        names = archive.namelist()
        assert {"partitioned/stage0.py", "partitioned/stage1.py"} <= set(names)
    with page.expect_download() as download:
        page.click("#get-plan")
    download.value.save_as(tmp_path / "plan.json")
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["schema"] == "stagewright.plan/1"
    page.reload()
    tells(page, "#period", "139.1 ms")


def test_the_example_is_planned_by_keyboard(page):
    page.focus("#example")
    page.keyboard.press("Enter")
    page.locator("#profiles li").nth(1).wait_for()
    page.focus("#plan")
    page.keyboard.press("Enter")
    tells(page, "#state", "Proven optimal")
    assert page.evaluate("document.activeElement.id") == "result"


def test_a_search_is_stopped_and_its_plan_kept(page, server):
    job_id = server.queue(HARD)
    page.goto(f"{server.url}/#{job_id}")
    page.reload()
    tells(page, "#period", " ms")
    page.click("#cancel")
    tells(page, "#state", "Stopped")
    assert page.is_visible("#get-plan")
    assert not page.is_visible("#cancel")


def test_what_is_wrong_is_told_where_one_looks(page):
    page.click("#plan")
    assert page.inner_text("#ask-error") == "Add a profile first."
    page.click("#add-profile")
    page.fill("#profiles input", "a.txt")
    page.fill("#profiles textarea", chain_text([1, 2]))
    page.fill("#cluster", "Server0\n    A 1 b.txt\n")
    page.click("#plan")
    page.wait_for_selector("#ask-error:visible")
    assert "the profile 'b.txt' of 'A' does not exist" in page.inner_text("#ask-error")


def test_script_in_names_is_text(page, server):
    name = f"{SCRIPT}.txt"
    text = chain_text([1, 2], SCRIPT)
    cluster = f"Server0\n    {SCRIPT.replace(' ', '_')} 1 {name}\n"
    job_id = server.queue(changed(SMALL, profiles={name: text}, cluster=cluster))
    server.wait(job_id)
    page.goto(f"{server.url}/#{job_id}")
    page.reload()
    tells(page, "#period", " ms")
    report = page.frame_locator("#shown iframe")
    report.locator("h1").wait_for()
    assert "<img src=x" in page.inner_text("#jobs") + page.inner_text("#state")
    assert page.title() == "Stagewright"
    assert report.locator("img[src=x]").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_has_names_for_everything(browser, server, scheme):
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector("#main:visible")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(page).response["violations"]
    serious = [x["id"] for x in found if x["impact"] in {"serious", "critical"}]
    assert serious == []
    context.close()
