"""Opening a page and listening to it: ``from browser import open_page``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Opened:
    """A page in the browser, what it asked for and what it complained about."""

    page: Any
    requests: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def ask(self, expression: str) -> Any:
        return self.page.evaluate(expression)

    def close(self) -> None:
        self.page.context.close()


def open_page(browser: Any, path: Path, **options: Any) -> Opened:
    """Open a file; ``options`` are those of playwright's contexts."""
    settings = {"viewport": {"width": 1280, "height": 900}, **options}
    opened = Opened(browser.new_context(**settings).new_page())
    opened.page.on("request", lambda request: opened.requests.append(request.url))
    opened.page.on("console", lambda message: opened.messages.append(message.text))
    opened.page.on("pageerror", lambda error: opened.messages.append(str(error)))
    opened.page.goto(path.as_uri(), wait_until="load")
    if settings.get("java_script_enabled", True):
        opened.ask("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return opened
